"""Which rungs and folds fit in the hours of a session, from speeds that were measured.

Nothing is guessed: speeds come from earlier sessions on the accelerator, or else from this machine's own measurements,
and the plan says which. A GPU is taken to be at least as fast as this processor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline import paths, runs
from pipeline.config import RUNGS, Competition, Recipe
from pipeline.files import read_json
from pipeline.models import bases, choice
from pipeline.recipe import FROM_NOTHING
from pipeline.remote import pushed
from pipeline.remote.progress import store_name
from pipeline.training.activations import views_of

BACKWARD = 3.0
"""A training step costs as many forward passes (Kaplan et al. 2020, Scaling Laws, section 2.1: 2N and 4N)."""
COLUMNS = (11, 9, 9, 15, 10)


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Pictures a second, and where they were measured.

    Args:
        rates: by progress.store_name.
        epochs: seconds an epoch, by rung.
        source: in words.
    """

    rates: Mapping[str, float]
    epochs: Mapping[str, float]
    source: str

    def features(self, recipe: Recipe) -> float | None:
        """Pictures a second through all of a recipe's bases, one after the other."""
        named = [bases.parse(text, recipe.size) for text in recipe.bases]
        found = [self.rates.get(store_name({"base": b.name, "cut": b.cut, "size": b.size})) for b in named]
        return 1 / sum(1 / rate for rate in found if rate) if all(found) else None


def speeds(competition: Competition, accelerator: str) -> Speeds:
    """What was measured: on this accelerator, or else here."""
    there = [one for one in pushed.listed(competition.name) if one.accelerator == accelerator]
    rates = {name: rate for one in there for name, rate in one.words.get("rates", {}).items()}
    if rates:
        epochs = _epochs(competition, accelerator)
        return Speeds(rates=rates, epochs=epochs, source=f"measured on {accelerator} ({there[-1].date[:10]})")
    for text in competition.recipe.bases:
        base = bases.parse(text, competition.recipe.size)
        path = bases.weights_path(base)
        measured = read_json(choice.folder_of(base) / "engine.json") if path is None or path.exists() else None
        if measured and "keras" in measured["pictures_per_second"]:
            name = store_name({"base": base.name, "cut": base.cut, "size": base.size})
            rates[name] = measured["pictures_per_second"]["keras"]
    cores = choice.machine()["cores"]
    return Speeds(
        rates=rates, epochs=_epochs(competition, ""), source=f"by Keras here, {cores} cores; {accelerator} unmeasured"
    )


def _epochs(competition: Competition, accelerator: str) -> dict[str, float]:
    """Seconds an epoch by rung, from the competition's runs that were made there (here, where it is empty)."""
    found = {}
    for folder, results in runs.listed(competition.name):
        made = (read_json(folder / "kernel.json") or {}).get("accelerator", "")
        recipe = (read_json(folder / "config.json") or {}).get("competition", {}).get("recipe", {})
        if made == accelerator and results.get("seconds_an_epoch"):
            found[str(recipe.get("rung"))] = float(results["seconds_an_epoch"])
    return found


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rung in the plan.

    Args:
        rung: its name.
        before: hours until the first fold.
        fold: hours a fold, at most.
        folds: how many the recipe has.
    """

    rung: str
    before: float
    fold: float
    folds: int

    def fitting(self, hours: float) -> int:
        """How many folds fit."""
        room = hours - self.before
        return 0 if room < 0 else self.folds if self.fold <= 0 else min(self.folds, int(room / self.fold))

    def sessions(self, hours: float) -> int:
        """How many sessions of so many hours all folds take, the part before them once."""
        return max(1, -int(-(self.before + self.fold * self.folds) // hours))


def steps(competition: Competition, counts: tuple[int, int], known: Speeds) -> list[Step]:
    """Hours of each rung whose speed is known; upper bounds, for training may stop early.

    Args:
        competition: its recipe says folds, views and epochs.
        counts: training and test pictures.
        known: what was measured.
    """
    recipe, (train, test) = competition.recipe, counts
    rate, found = known.features(recipe), []
    for rung in RUNGS:
        regime = recipe.training.resolved(rung)
        networked = rung in FROM_NOTHING
        if not networked and rate is None:
            continue
        cached = len(views_of(regime) if rung in ("frozen", "finetune") else recipe.training_views)
        views = max(cached, len(recipe.views))
        seconds = 0.0 if networked or rate is None else (train * views + test * len(recipe.views)) / rate
        epoch = known.epochs.get(rung)
        if epoch is None and rung == "finetune" and rate is not None:
            epoch = train * BACKWARD / rate
        if epoch is None and rung in (*FROM_NOTHING, "frozen"):
            continue
        fold = 0.0 if rung == "features" else float(epoch or 0) * float(regime.epochs or 0)
        found.append(Step(rung=rung, before=seconds / 3600, fold=fold / 3600, folds=recipe.folds))
    return found


def told(competition: Competition, accelerator: str, hours: float) -> list[str]:
    """The plan, line by line.

    Args:
        competition: what is to be run.
        accelerator: where.
        hours: of a session's run.
    """
    summary = read_json(paths.competition_folder(competition.name) / "summary.json")
    known = speeds(competition, accelerator)
    planned = steps(competition, (summary["train"], summary["test"]), known) if summary else []
    if not planned:
        reason = "speeds" if summary else "numbers of pictures"
        return [f"plan      unknown {reason}; one run here or there, --debug too, measures them"]
    rows = [["rung", "before", "a fold", f"in {hours:.1f} h", "sessions"]]
    rows += [_row(step, hours, competition.recipe.rung) for step in planned]
    return [f"plan      {known.source}; at most:"] + ["          " + _columns(row) for row in rows]


def _row(step: Step, hours: float, chosen: str) -> list[str]:
    fitting = f"{step.fitting(hours)} of {step.folds} folds"
    mark = " <" if step.rung == chosen else ""
    return [step.rung, f"{step.before:.2f} h", f"{step.fold:.2f} h", fitting, f"{step.sessions(hours)}{mark}"]


def _columns(row: Sequence[str]) -> str:
    return "".join(text.ljust(width) for text, width in zip(row, COLUMNS, strict=True)).rstrip()
