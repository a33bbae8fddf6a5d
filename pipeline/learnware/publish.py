"""A finished run becomes a learnware: its model, a specification of its training pictures, and a proof, in one file.

A run as a learnware is made of it: its one model, what that was trained without, how it is asked, how good it is.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Competition
from pipeline.data import images
from pipeline.data.tables import list_pictures
from pipeline.errors import StarshiftError, require
from pipeline.kernels.job import build_dataclass
from pipeline.learnware import archive, cached_predictions, kernel_mean_embedding, probe, safe_loading, store
from pipeline.learnware.archive import BaseSpec, Learnware, ModelSignature, format_card
from pipeline.learnware.specification import fit_specification
from pipeline.learnware.store import Store
from pipeline.learnware.types import ModelMetadata
from pipeline.models import base as bases
from pipeline.models.small_cnn import list_networks
from pipeline.run_options import RunOptions
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.synthetic import world
from pipeline.workflow.prepare import log_stage, prepare_dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SourceRun:
    """A run as a learnware is made of it.

    Args:
        folder: the run's.
        competition: as it was run, on the rung that the model was trained on.
        called: the rung that the run is named by; `distill` where teachers taught it.
        classes: in the order of the model's outputs.
        parts: its bases, as a contract names them.
        model: the .keras file.
        folds: the model was trained without; empty where every picture was seen by a part of it.
        score: of the held-out pictures: mean and spread.
    """

    folder: Path
    competition: Competition
    called: str
    classes: tuple[str, ...]
    parts: tuple[BaseSpec, ...]
    model: Path
    folds: tuple[int, ...]
    score: tuple[float, float | None]


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
    models = {int(path.stem.removeprefix("fold")): path for path in (folder / "models").glob("fold*.keras")}
    whole = folder / "model.keras"
    if not whole.is_file() and not models:
        raise StarshiftError(
            f"The run {folder.name} has no model of its own.",
            expected="model.keras, as the rungs write it",
            received="a run made of other runs" if "made_of" in run.config else "none",
            remedy="add one of its members, or teach one network all of them: invoke distill",
        )
    stored = run.config["competition"]
    recipe = {**stored["recipe"], "rung": load.read_strategy(run.config)}
    competition, called = build_dataclass(Competition, {**stored, "recipe": recipe}), stored["recipe"]["rung"]
    parts = tuple(build_base_spec(base) for base in list_networks(competition.recipe))
    classes = tuple(runs.read_predictions(folder / "oof.npz")[1])
    each = dict(zip(run.config["folds"] or range(competition.recipe.folds), run.results["folds"], strict=True))
    left_out: tuple[int, ...]
    score: tuple[float, float | None]
    if models:
        chosen = min(models) if fold is None else fold
        require(chosen in models, "There is no model of this fold.", expected=f"one of {sorted(models)}", received=fold)
        if len(models) > 1:
            log.info(
                "fold      %d of %s: a learnware is one network, and its score is that fold's", chosen, sorted(models)
            )
        model, left_out, score = models[chosen], (chosen,), (float(each[chosen]), None)
    else:
        spread = run.results["spread"] if len(each) > 1 else None
        model, left_out, score = whole, _list_unseen_folds(run), (run.results["score"], spread)
    return SourceRun(
        folder=folder,
        competition=competition,
        called=called,
        classes=classes,
        parts=parts,
        model=model,
        folds=left_out,
        score=score,
    )


def _list_unseen_folds(run: load.Run) -> tuple[int, ...]:
    """The folds that no part of the model of a run of the rung features has seen: one, where only one was trained."""
    trained = set(run.config["folds"])
    return tuple(trained) if len(trained) == 1 else ()


def build_signature(source: SourceRun, name: str) -> ModelSignature:
    """How a run's model is asked."""
    recipe = source.competition.recipe
    return ModelSignature(
        name=name,
        sizes=tuple(sorted({part.size for part in source.parts})),
        views=recipe.views,
        classes=source.classes,
        rung=recipe.rung,
        bases=source.parts,
    )


def build_base_spec(base: bases.Base) -> BaseSpec:
    """A base as a contract names it.

    Raises:
        StarshiftError: second moments, whose directions no other machine has.
    """
    require(
        not base.by_moments,
        "A learnware's bases pool by average or maximum.",
        expected="avg | max | both",
        received=str(base),
        remedy="a run without second moments",
    )
    weights = base.weights if base.published else "own"
    return BaseSpec(name=base.name, cut=base.cut, pooling=base.pooling, weights=weights, size=base.size)


def format_base(text: str) -> str:
    """A base's name without the path of a weights file, which says more of a machine than of a model."""
    base = bases.parse_base(text)
    return str(base if base.published else replace(base, weights="own"))


PROBE_PICTURES, PROBE_SEED = 16, 2026


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
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


def publish_run(folder: Path, shelf: Store, wanted: PublishRequest, options: RunOptions | None = None) -> Learnware:
    """Puts a run's model into a store.

    Args:
        folder: of a finished run.
        shelf: the store; written if it is new.
        wanted: what is said of it.
        options: of the preparation of its pictures.

    Raises:
        StarshiftError: the run has no one model; a learnware of that name is there; the pictures are not.
    """
    source = load_source_run(folder, wanted.fold)
    name = wanted.name or f"{source.competition.name}-{source.called}"
    if shelf.path(name).exists():
        raise StarshiftError(
            f"There is a learnware {name!r} already.",
            received=paths.format_path(shelf.path(name)),
            remedy=f"--name with another name, or invoke store.remove --learnware {name}",
        )
    base = probe.load_probe_base(shelf.probe)
    data = prepare_dataset(source.competition, [base], options or RunOptions())
    seen = ~data.pictures.train["fold"].isin(source.folds).to_numpy()
    digests = list(data.pictures.train["sha256"][seen])
    require(tuple(data.pictures.classes) == source.classes, "The pictures have other classes than the model.",
            expected=", ".join(source.classes), received=data.pictures.classes)  # fmt: skip
    with log_stage("probe") as said:
        features = probe.extract_features(base, data.files, digests)
        gamma = shelf.gamma or kernel_mean_embedding.estimate_gamma(features, seed=0)
        said.append(f"{len(features):,} x {features.shape[1]} of {base}, gamma {gamma:.4g}")
    with log_stage("model") as said:
        model = source.model.read_bytes()
        live = safe_loading.load_model(model, source.model.name)
        contract = build_signature(source, name)
        pictures = load_probe_pictures(max(contract.sizes), wanted.pictures)
        predictions = cached_predictions.predict_probe(live, contract, pictures)
        words = build_metadata(source, contract, wanted, live, len(digests))
        said.append(f"{words.parameters:,} parameters, {words.pictures_per_second:.0f} pictures/s")
    with log_stage("embedding") as said:
        labels = data.labels[seen]
        specification = fit_specification(
            features, labels, source.classes, shelf.probe, gamma, words, points=wanted.points, seed=0
        )
        said.append(f"{len(specification.whole.points)} points, {len(specification.by_class)} classes")
    if shelf.gamma is None:
        store.write_store(replace(shelf, gamma=gamma))
    made = archive.write_archive(
        shelf.path(name),
        model=model,
        specification=specification,
        contract=contract,
        pictures=pictures,
        predictions=predictions,
        card=format_card(specification, contract, wanted.pictures is None),
    )
    log.info("wrote %s, %.1f MB", paths.format_path(made.path), made.path.stat().st_size / 1e6)
    return made


def load_probe_pictures(side: int, folder: Path | None = None) -> np.ndarray:
    """Pictures to prove a model with, (n, side, side, 3) uint8: drawn, or the first that can be read in a folder.

    Raises:
        StarshiftError: none can be read.
    """
    if folder is None:
        labels = np.linspace(0, len(world.CLASSES) - 1, PROBE_PICTURES).astype(int)
        return np.stack([images.resize(world.draw_picture(int(label), 0, PROBE_SEED), side) for label in labels])
    found: list[np.ndarray] = []
    for path in list_pictures(folder).values():
        if len(found) == PROBE_PICTURES:
            break
        try:
            found.append(images.decode(path.read_bytes(), side))
        except images.UnreadableImageError as error:
            log.warning("  warning: %s cannot be read: %s", path.name, error)
    require(found, "No picture to prove the model with.", expected=f"pictures in {folder}", received=0)
    log.info("          %d pictures of %s travel along in the archive", len(found), paths.format_path(folder))
    return np.stack(found)


def build_metadata(
    source: SourceRun, contract: ModelSignature, wanted: PublishRequest, live: Any, pictures: int
) -> ModelMetadata:
    """What a learnware is for, in words; its speed is measured."""
    recipe, competition = source.competition.recipe, source.competition
    many = len(contract.classes)
    score, spread = source.score
    return ModelMetadata(
        name=contract.name,
        task=wanted.task or f"telling {many} classes of {competition.name} apart",
        competition=competition.name,
        classes=contract.classes,
        metric=competition.metric,
        score=float(score),
        spread=None if spread is None else float(spread),
        base=" + ".join(map(format_base, recipe.used_bases)) or "a small network",
        rung=source.called,
        data=f"{pictures:,} labelled pictures of {competition.name}" + _format_origin(competition),
        pictures=pictures,
        licence=wanted.licence,
        size=max(contract.sizes),
        megabytes=round(source.model.stat().st_size / 1e6, 3),
        pictures_per_second=cached_predictions.measure_speed(live, contract),
        parameters=int(live.count_params()),
    )


def _format_origin(competition: Competition) -> str:
    """Where the pictures are from."""
    return f" (kaggle.com/c/{competition.slug})" if competition.slug else ""
