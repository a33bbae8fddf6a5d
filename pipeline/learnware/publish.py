"""Publishes a finished run as a learnware: its model, a specification of its training pictures, and a probe batch."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Competition, RunOptions, build_dataclass
from pipeline.data import images
from pipeline.data.picture_files import format_unreadable, list_pictures
from pipeline.errors import StarshiftError, require
from pipeline.learnware import archive, cached_predictions, kernel_mean_embedding, probe, safe_loading, store
from pipeline.learnware.archive import BaseSpec, Learnware, ModelSignature, format_card
from pipeline.learnware.specification import fit_specification
from pipeline.learnware.store import Store
from pipeline.learnware.types import ModelMetadata
from pipeline.models import base as bases
from pipeline.models.base import list_networks
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.synthetic import world
from pipeline.workflow.context import log_stage
from pipeline.workflow.run import prepare_dataset

log = logging.getLogger(__name__)
PROBE_PICTURES, PROBE_SEED = 16, 2026
UNSTATED = "not stated"


@dataclass(frozen=True, kw_only=True)
class SourceRun:
    """A run that becomes a learnware.

    Args:
        folder: the run's.
        competition: as it was run, with the strategy that the model was trained by.
        strategy: the strategy that the run is named by; `distill` where it was trained by teachers.
        classes: in the order of the model's outputs.
        parts: its bases, as a contract names them.
        model: the .keras file.
        folds: the model was trained without; empty where every picture was seen by a part of it.
        score: on validation pictures: mean and spread.
    """

    folder: Path
    competition: Competition
    strategy: str
    classes: tuple[str, ...]
    parts: tuple[BaseSpec, ...]
    model: Path
    folds: tuple[int, ...]
    score: tuple[float, float | None]


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """What the run does not know of its learnware.

    Args:
        name: in the store; the competition's and the strategy where not given.
        task: what is told apart, in a few words.
        licence: of the model.
        fold: of a run that trained a network for each of several folds, the one whose model is taken.
        pictures: a folder whose pictures are the probe batch, and are published with it; synthetic ones by default.
        points: of the embedding.
    """

    name: str | None = None
    task: str | None = None
    licence: str = UNSTATED
    fold: int | None = None
    pictures: Path | None = None
    points: int = 50


def load_source_run(folder: Path, fold: int | None = None) -> SourceRun:
    """Reads a run, and finds the one model of it.

    Args:
        folder: of a finished run.
        fold: of a run that trained a network for each of several folds, the one whose model is taken; the first where
            not given.

    Raises:
        StarshiftError: a trial, an ensemble, or no model.
    """
    run = load.load_run(folder)
    require(not run.config.get("debug"), f"{folder.name} is a trial on a few pictures (--debug).",
            expected="a run on all of them", received="--debug")  # fmt: skip
    stored = run.config["competition"]
    recipe = {**stored["recipe"], "strategy": load.read_strategy(run.config)}
    competition = build_dataclass(Competition, {**stored, "recipe": recipe})
    model, folds, score = _select_model(run, competition.recipe.folds, fold)
    return SourceRun(
        folder=folder,
        competition=competition,
        strategy=stored["recipe"]["strategy"],
        classes=tuple(runs.read_predictions(folder / "oof.npz")[1]),
        parts=tuple(build_base_spec(base) for base in list_networks(competition.recipe)),
        model=model,
        folds=folds,
        score=score,
    )


def _select_model(
    run: load.Run, folds: int, fold: int | None
) -> tuple[Path, tuple[int, ...], tuple[float, float | None]]:
    """Returns the run's one model, the folds that it was trained without, and its score: mean and spread."""
    models = {int(path.stem.removeprefix("fold")): path for path in (run.folder / "models").glob("fold*.keras")}
    whole, trained = run.folder / "model.keras", tuple(run.config["folds"] or range(folds))
    if models:
        selected = min(models) if fold is None else fold
        require(selected in models, "There is no model of this fold.",
                expected=f"one of {sorted(models)}", received=fold)  # fmt: skip
        if len(models) > 1:
            log.info("fold      %d of %s: a learnware is one network, and its score is that fold's", selected,
                     sorted(models))  # fmt: skip
        score = dict(zip(trained, run.results["folds"], strict=True))[selected]
        return models[selected], (selected,), (float(score), None)
    if not whole.is_file():
        raise StarshiftError(
            f"The run {run.folder.name} has no model of its own.",
            expected="model.keras, as the strategies write it",
            received="a run made of other runs" if "made_of" in run.config else "none",
            remedy="add one of its members, or teach one network all of them: invoke distill",
        )
    alone = len(trained) == 1  # a run on features of one fold alone; of several, every picture was seen by a part
    unseen = trained if alone and run.config["folds"] else ()
    return whole, unseen, (run.results["score"], None if alone else run.results["spread"])


def build_signature(source: SourceRun, name: str) -> ModelSignature:
    """Returns the contract of a run's model."""
    recipe = source.competition.recipe
    return ModelSignature(
        name=name,
        sizes=tuple(sorted({part.size for part in source.parts})),
        views=recipe.views,
        classes=source.classes,
        strategy=recipe.strategy,
        bases=source.parts,
    )


def build_base_spec(base: bases.Base) -> BaseSpec:
    """Returns a base as a contract names it.

    Raises:
        StarshiftError: second moments, whose directions no other machine has.
    """
    require(
        not base.by_moments,
        "A learnware's bases pool by average or maximum.",
        expected="avg | max | both | cls | cls+avg",
        received=str(base),
        remedy="a run without second moments",
    )
    weights = base.weights if base.published else "own"
    return BaseSpec(name=base.identity, cut=base.cut, pooling=base.pooling, weights=weights, size=base.size)


def format_base(text: str) -> str:
    """Formats a base without the path of a weights file, which depends on the machine."""
    base = bases.parse_base(text)
    return str(replace(base, name=base.identity, weights=base.weights if base.published else "own"))


def combine_licences(licence: str, networks: Sequence[bases.Base]) -> str:
    """Returns the licence of a model with those of the weights that it was made from.

    Raises:
        StarshiftError: weights bind what is made from them to their own terms, and another licence was given.
    """
    published = [base for base in networks if base.published and not base.random and base.entry.licence]
    for base in published:
        require(
            not base.entry.same_terms or licence in (UNSTATED, base.entry.licence),
            f"The weights of {base.name} allow derivatives only under the same terms.",
            expected=base.entry.licence,
            received=licence,
            remedy=f"--licence {base.entry.licence!r}, or none",
        )
        licence = base.entry.licence if base.entry.same_terms else licence
    weights = (f"weights of {name}: {terms}" for name, terms in bases.list_licences(networks).items())
    return "; ".join([licence, *weights])


def _check_name(shelf: Store, name: str) -> None:
    """Raises a StarshiftError where a store has a learnware of this name."""
    if shelf.path(name).exists():
        raise StarshiftError(
            f"There is a learnware {name!r} already.",
            received=paths.format_path(shelf.path(name)),
            remedy=f"--name with another name, or invoke store.remove --learnware {name}",
        )


def publish_run(folder: Path, shelf: Store, request: PublishRequest, options: RunOptions | None = None) -> Learnware:
    """Puts a run's model into a store.

    Args:
        folder: of a finished run.
        shelf: the store; written if it is new.
        request: what the run does not know of its learnware.
        options: of the preparation of its pictures.

    Raises:
        StarshiftError: the run has no one model; a learnware of that name is there; the pictures are not.
    """
    source = load_source_run(folder, request.fold)
    name = request.name or f"{source.competition.name}-{source.strategy}"
    _check_name(shelf, name)
    base = probe.load_probe_base(shelf.probe)
    data = prepare_dataset(source.competition, [base], options or RunOptions())
    trained = ~data.pictures.train["fold"].isin(source.folds).to_numpy()
    digests = list(data.pictures.train["sha256"][trained])
    require(tuple(data.pictures.classes) == source.classes, "The pictures have other classes than the model.",
            expected=", ".join(source.classes), received=data.pictures.classes)  # fmt: skip
    with log_stage("probe") as messages:
        features = probe.extract_features(base, data.files, digests)
        gamma = shelf.gamma or kernel_mean_embedding.estimate_gamma(features, seed=0)
        messages.append(f"{len(features):,} x {features.shape[1]} of {base}, gamma {gamma:.4g}")
    with log_stage("model") as messages:
        model = source.model.read_bytes()
        live = safe_loading.load_model(model, source.model.name)
        contract = replace(build_signature(source, name), sizes=tuple(one.shape[1] for one in live.inputs))
        pictures = load_probe_pictures(max(contract.sizes), request.pictures)
        predictions = cached_predictions.predict_probe(live, contract, pictures)
        about = build_metadata(source, contract, request, live, len(digests))
        messages.append(f"{about.parameters:,} parameters, {about.pictures_per_second:.0f} pictures/s")
    with log_stage("embedding") as messages:
        labels = data.labels[trained]
        specification = fit_specification(
            features, labels, source.classes, shelf.probe, gamma, about, points=request.points, seed=0
        )
        messages.append(f"{len(specification.whole.points)} points, {len(specification.by_class)} classes")
    if shelf.gamma is None:
        store.write_store(replace(shelf, gamma=gamma))
    learnware = archive.write_archive(
        shelf.path(name),
        model=model,
        specification=specification,
        contract=contract,
        pictures=pictures,
        predictions=predictions,
        card=format_card(specification, contract, request.pictures is None),
    )
    log.info("wrote %s, %.1f MB", paths.format_path(learnware.path), learnware.path.stat().st_size / 1e6)
    return learnware


def load_probe_pictures(side: int, folder: Path | None = None) -> np.ndarray:
    """Returns a probe batch, (n, side, side, 3) uint8: synthetic pictures, or the first readable ones of a folder.

    Raises:
        StarshiftError: none can be read.
    """
    if folder is None:
        labels = np.linspace(0, len(world.CLASSES) - 1, PROBE_PICTURES).astype(int)
        return np.stack([images.resize(world.draw_picture(int(label), 0, PROBE_SEED), side) for label in labels])
    pictures, bad = list[np.ndarray](), dict[str, str]()
    for path in list_pictures(folder).values():
        if len(pictures) == PROBE_PICTURES:
            break
        try:
            pictures.append(images.decode(path.read_bytes(), side))
        except images.UnreadableImageError as error:
            bad[path.name] = str(error)
    for line in format_unreadable(bad):
        log.warning("  warning: %s", line)
    require(pictures, "No picture to prove the model with.", expected=f"pictures in {folder}", received=0)
    log.info("          %d pictures of %s travel along in the archive", len(pictures), paths.format_path(folder))
    return np.stack(pictures)


def build_metadata(
    source: SourceRun, contract: ModelSignature, request: PublishRequest, live: Any, pictures: int
) -> ModelMetadata:
    """Returns what a learnware is for; its speed is measured."""
    competition, (score, spread) = source.competition, source.score
    origin = f" (kaggle.com/c/{competition.slug})" if competition.slug else ""
    return ModelMetadata(
        name=contract.name,
        task=request.task or f"telling {len(contract.classes)} classes of {competition.name} apart",
        competition=competition.name,
        classes=contract.classes,
        metric=competition.metric,
        score=float(score),
        spread=None if spread is None else float(spread),
        base=" + ".join(map(format_base, competition.recipe.used_bases)) or "a small network",
        strategy=source.strategy,
        data=f"{pictures:,} labelled pictures of {competition.name}{origin}",
        pictures=pictures,
        licence=combine_licences(request.licence, list_networks(competition.recipe)),
        size=max(contract.sizes),
        megabytes=round(source.model.stat().st_size / 1e6, 3),
        pictures_per_second=cached_predictions.measure_speed(live, contract),
        parameters=int(live.count_params()),
    )
