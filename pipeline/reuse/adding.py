"""A finished run becomes a learnware: its model, a specification of its training pictures, and a proof, in one file."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Competition
from pipeline.dataset import images
from pipeline.dataset.listing import list_pictures
from pipeline.drawn import world
from pipeline.errors import StarshiftError, require
from pipeline.learnware import archive, asking, harmless, kernel, store
from pipeline.learnware import probe as probes
from pipeline.learnware.archive import Learnware
from pipeline.learnware.card import card
from pipeline.learnware.contract import Contract
from pipeline.learnware.specification import Semantic, specify
from pipeline.learnware.store import Store
from pipeline.options import Options
from pipeline.preparation import prepare, stage
from pipeline.reuse.source import Source, contract_of, published, source_of

log = logging.getLogger(__name__)
PROBE_PICTURES, PROBE_SEED = 16, 2026


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is said of a learnware, beside what its run says itself.

    Args:
        name: in the store; the competition's and the rung where not given.
        task: what is told apart, in a few words.
        licence: of the model.
        fold: of a run that trained a network for each of several folds, the one whose model is taken.
        pictures: a folder whose pictures are the probe batch, and travel along; drawn ones where not given.
        points: of the embedding.
    """

    name: str | None = None
    task: str | None = None
    licence: str = "not stated"
    fold: int | None = None
    pictures: Path | None = None
    points: int = 50


def add(folder: Path, shelf: Store, wanted: Wanted, options: Options | None = None) -> Learnware:
    """Puts a run's model into a store.

    Args:
        folder: of a finished run.
        shelf: the store; written if it is new.
        wanted: what is said of it.
        options: of the preparation of its pictures.

    Raises:
        StarshiftError: the run has no one model; a learnware of that name is there; the pictures are not.
    """
    source = source_of(folder, wanted.fold)
    name = wanted.name or f"{source.competition.name}-{source.called}"
    if shelf.path(name).exists():
        raise StarshiftError(
            f"There is a learnware {name!r} already.",
            received=paths.shown(shelf.path(name)),
            remedy=f"--name with another name, or invoke store.remove --learnware {name}",
        )
    base = probes.base_of(shelf.probe)
    data = prepare(source.competition, [base], options or Options())
    seen = ~data.pictures.train["fold"].isin(source.folds).to_numpy()
    digests = list(data.pictures.train["sha256"][seen])
    require(tuple(data.pictures.classes) == source.classes, "The pictures have other classes than the model.",
            expected=", ".join(source.classes), received=data.pictures.classes)  # fmt: skip
    with stage("probe") as said:
        features = probes.features(base, data.files, digests)
        gamma = shelf.gamma or kernel.median_gamma(features, seed=0)
        said.append(f"{len(features):,} x {features.shape[1]} of {base}, gamma {gamma:.4g}")
    with stage("model") as said:
        model = source.model.read_bytes()
        live = harmless.load(model, source.model.name)
        contract = contract_of(source, name)
        pictures = probe_pictures(max(contract.sizes), wanted.pictures)
        predictions = asking.on_probe(live, contract, pictures)
        words = semantic_of(source, contract, wanted, live, len(digests))
        said.append(f"{words.parameters:,} parameters, {words.pictures_per_second:.0f} pictures/s")
    with stage("embedding") as said:
        labels = data.labels[seen]
        specification = specify(
            features, labels, source.classes, shelf.probe, gamma, words, points=wanted.points, seed=0
        )
        said.append(f"{len(specification.whole.points)} points, {len(specification.by_class)} classes")
    if shelf.gamma is None:
        store.record(replace(shelf, gamma=gamma))
    made = archive.write(
        shelf.path(name),
        model=model,
        specification=specification,
        contract=contract,
        pictures=pictures,
        predictions=predictions,
        card=card(specification, contract, wanted.pictures is None),
    )
    log.info("wrote %s, %.1f MB", paths.shown(made.path), made.path.stat().st_size / 1e6)
    return made


def probe_pictures(side: int, folder: Path | None = None) -> np.ndarray:
    """Pictures to prove a model with, (n, side, side, 3) uint8: drawn, or the first that can be read in a folder.

    Raises:
        StarshiftError: none can be read.
    """
    if folder is None:
        labels = np.linspace(0, len(world.CLASSES) - 1, PROBE_PICTURES).astype(int)
        return np.stack([images.resize(world.picture(int(label), 0, PROBE_SEED), side) for label in labels])
    found: list[np.ndarray] = []
    for path in list_pictures(folder).values():
        if len(found) == PROBE_PICTURES:
            break
        try:
            found.append(images.decode(path.read_bytes(), side))
        except images.Unreadable as error:
            log.warning("  warning: %s cannot be read: %s", path.name, error)
    require(found, "No picture to prove the model with.", expected=f"pictures in {folder}", received=0)
    log.info("          %d pictures of %s travel along in the archive", len(found), paths.shown(folder))
    return np.stack(found)


def semantic_of(source: Source, contract: Contract, wanted: Wanted, live: Any, pictures: int) -> Semantic:
    """What a learnware is for, in words; its speed is measured."""
    recipe, competition = source.competition.recipe, source.competition
    many = len(contract.classes)
    score, spread = source.score
    return Semantic(
        name=contract.name,
        task=wanted.task or f"telling {many} classes of {competition.name} apart",
        competition=competition.name,
        classes=contract.classes,
        metric=competition.metric,
        score=float(score),
        spread=None if spread is None else float(spread),
        base=" + ".join(map(published, recipe.used_bases)) or "a small network",
        rung=source.called,
        data=f"{pictures:,} labelled pictures of {competition.name}" + _from_kaggle(competition),
        pictures=pictures,
        licence=wanted.licence,
        size=max(contract.sizes),
        megabytes=round(source.model.stat().st_size / 1e6, 3),
        pictures_per_second=asking.speed(live, contract),
        parameters=int(live.count_params()),
    )


def _from_kaggle(competition: Competition) -> str:
    """Where the pictures are from."""
    return f" (kaggle.com/c/{competition.slug})" if competition.slug else ""
