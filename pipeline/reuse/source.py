"""A run as a learnware is made of it: its one model, what that was trained without, how it is asked, how good it is."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import runs
from pipeline.config import Competition
from pipeline.errors import StarshiftError, require
from pipeline.learnware.contract import Contract, Part
from pipeline.ledger import reading
from pipeline.models import bases
from pipeline.models.scratch import networks_of
from pipeline.remote.order import rebuilt

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
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
    parts: tuple[Part, ...]
    model: Path
    folds: tuple[int, ...]
    score: tuple[float, float | None]


def source_of(folder: Path, fold: int | None = None) -> Source:
    """Reads a run, and finds the one model of it.

    Args:
        folder: of a finished run.
        fold: of a run that trained a network for each of several folds, the one whose model is taken; the first where
            not given.

    Raises:
        StarshiftError: a trial, an ensemble, or no model.
    """
    run = reading.opened(folder)
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
    recipe = {**stored["recipe"], "rung": reading.rung_of(run.config)}
    competition, called = rebuilt(Competition, {**stored, "recipe": recipe}), stored["recipe"]["rung"]
    parts = tuple(part_of(base) for base in networks_of(competition.recipe))
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
        model, left_out, score = whole, _left_out(run), (run.results["score"], spread)
    return Source(
        folder=folder,
        competition=competition,
        called=called,
        classes=classes,
        parts=parts,
        model=model,
        folds=left_out,
        score=score,
    )


def _left_out(run: reading.Run) -> tuple[int, ...]:
    """The folds that no part of the model of a run of the rung features has seen: one, where only one was trained."""
    trained = set(run.config["folds"])
    return tuple(trained) if len(trained) == 1 else ()


def contract_of(source: Source, name: str) -> Contract:
    """How a run's model is asked."""
    recipe = source.competition.recipe
    return Contract(
        name=name,
        sizes=tuple(sorted({part.size for part in source.parts})),
        views=recipe.views,
        classes=source.classes,
        rung=recipe.rung,
        bases=source.parts,
    )


def part_of(base: bases.Base) -> Part:
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
    return Part(name=base.name, cut=base.cut, pooling=base.pooling, weights=weights, size=base.size)


def published(text: str) -> str:
    """A base's name without the path of a weights file, which says more of a machine than of a model."""
    base = bases.parse(text)
    return str(base if base.published else replace(base, weights="own"))
