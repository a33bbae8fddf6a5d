"""Test-time augmentation: which views a run should be averaged over, and how, by its out-of-fold predictions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import find_comp_argument
from pipeline.ensemble import methods
from pipeline.ensemble.methods import WeightedAverage, build_objective
from pipeline.ensemble.steps import evaluate_procedure
from pipeline.errors import StarshiftError
from pipeline.evaluation.intervals import Interval, build_difference_record, estimate_gain, format_plus_minus
from pipeline.evaluation.metrics import find_metric
from pipeline.evaluation.nested_cv import FunctionProcedure, OOFPredictions
from pipeline.figures.step_table import StepResult, format_step_table
from pipeline.figures.text_table import format_records
from pipeline.output import print_results
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.terminal import paint_verdict

SHARE_GRID = tuple(float(share) for share in np.linspace(0, 1, 21))


def fit_first_against_rest(oof: OOFPredictions) -> WeightedAverage:
    """Fits one weight for the first view, the rest shared by the others, on a grid, by the metric itself.

    Where several do as well it is the one that is nearest to counting all alike.
    """
    views = len(oof.part.predictions)
    worth = build_objective(oof)
    gains = [worth(_build_weights(share, views)) for share in SHARE_GRID]
    places = np.flatnonzero(np.isclose(gains, max(gains), rtol=0, atol=1e-12))
    share = min((SHARE_GRID[place] for place in places), key=lambda one: abs(one - 1 / views))
    return WeightedAverage(_build_weights(share, views))


def _build_weights(share: float, views: int) -> np.ndarray:
    """Builds a weight for the first view, the rest of it shared by the others, (views,) float64."""
    return np.array([share, *[(1 - share) / (views - 1)] * (views - 1)])


def fit_without_worst(oof: OOFPredictions) -> WeightedAverage:
    """Averages some views: drops, again and again, the view without which the mean is best."""
    views, worth = len(oof.part.predictions), build_objective(oof)
    kept = np.ones(views)
    best = worth(kept / views)
    while kept.sum() > 1:
        fewer = [kept - np.eye(views)[view] for view in np.flatnonzero(kept)]
        gains = [worth(some / some.sum()) for some in fewer]
        if max(gains) <= best + 1e-12:
            break
        best, kept = max(gains), fewer[int(np.argmax(gains))]
    return WeightedAverage(kept / kept.sum())


EQUAL_WEIGHTS = "all alike"
WEIGHTINGS: dict[str, Callable[[OOFPredictions], WeightedAverage]] = {
    EQUAL_WEIGHTS: methods.fit_mean,
    "plain alone": methods.build_single(0),
    "plain against the rest": fit_first_against_rest,
    "without the worst": fit_without_worst,
    "a weight each": methods.fit_weighted_mean,
}
"""The first is what a run does by itself; another one has to be better beyond noise, on folds that it has not seen."""


@dataclass(frozen=True)
class ViewScore:
    """What a view is worth.

    Args:
        name: of the view.
        folds: the metric of its predictions alone, on each fold.
        gain: of the mean of all views over the mean of all others, positive where it is better; None for an only view.
    """

    name: str
    folds: list[float]
    gain: Interval | None


def score_views(oof: OOFPredictions, names: Sequence[str]) -> list[ViewScore]:
    """Scores each view alone, and the gain of the mean of all by it; nothing is fitted, so nothing is nested.

    Args:
        oof: the members are views.
        names: of the views, in the members' order.
    """
    predictions = oof.part.predictions
    everything = predictions.mean(axis=0, dtype=np.float64)
    result = []
    for place, name in enumerate(names):
        gain = None
        if len(names) > 1:
            without = np.delete(predictions, place, axis=0).mean(axis=0, dtype=np.float64)
            gain = estimate_gain(oof, without, everything)
        result.append(ViewScore(name, oof.by_fold(predictions[place]), gain))
    return result


log = logging.getLogger(__name__)


def run_view_weighting(comp: str, requested: str | None = None) -> Mapping[str, float]:
    """Tells what each view of a run is worth and how to average them. Returns the weights by view.

    Args:
        comp: name of the competition.
        requested: a run's name or its beginning; None takes the best that was predicted in several views.
    """
    folder = load.find_run_folder(requested, comp) if requested else find_best_run(comp)
    run = load.load_run(folder)
    names, oof = load_oof_views(run)
    log.info("%s: %d views of %s pictures, %s", folder.name, len(names), f"{len(oof.labels):,}", oof.metric)
    result = score_views(oof, names)
    tried, weights = select_weighting(oof, names)
    views = build_view_records(result)
    steps = [step.record() for step in tried]
    record = {"run": folder.name, "metric": oof.metric, "views": views, "weightings": steps, "weights": weights}
    tables = (format_view_scores(views, oof.metric), format_step_table(tried, oof.metric))
    print_results(record, *tables, format_conclusions(tried, weights, result))
    path = paths.reports_folder(folder.parent.name) / f"views-{folder.name}.csv"
    runs.write_table(path, steps)
    log.info("wrote %s", paths.format_path(path))
    return weights


def find_best_run(comp: str) -> Path:
    """Finds the best finished run that was predicted in several views, of those of most folds.

    Scores on other pictures, labels or folds mean something else: only those on the newest run's are held together.

    Raises:
        StarshiftError: there is none.
    """
    result = [
        (len(results["folds"]), results["score"] * find_metric(results["metric"]).sign, folder)
        for folder, results in runs.list_finished_runs(comp)
        if len(results.get("views", ())) > 1 and len(results.get("folds", ())) > 1 and "-debug" not in folder.name
    ]
    if result:
        full = [each for each in result if each[0] == max(result)[0]]
        split = runs.compute_split_digest(max(folder for *_, folder in full))
        return max(each for each in full if runs.compute_split_digest(each[-1]) == split)[-1]
    raise StarshiftError(
        f"{comp} has no run that was predicted in several views and folds.",
        expected='views=("plain", "flip") in its recipe, or more',
        remedy=f"invoke run --comp {find_comp_argument(comp)}",
    )


def load_oof_views(run: load.Run) -> tuple[list[str], OOFPredictions]:
    """Loads a run's views, the plain one first, and its out-of-fold predictions in each.

    Raises:
        StarshiftError: one view or one fold only.
    """
    values = runs.read_view_predictions(run.folder / "oof.npz")
    names = sorted(values, key=lambda name: name != "plain")
    ids, classes, _ = runs.read_predictions(run.folder / "oof.npz")
    known = np.isin(ids, run.held_ids)
    table = run.folds.loc[run.held_ids]
    fold_of = table["fold"].to_numpy()
    if len(names) < 2 or len(np.unique(fold_of)) < 2:
        raise StarshiftError(
            "Weights of views are measured over folds.",
            expected="a run of 2 views and 2 folds, or more",
            received=f"{len(names)} views, {len(np.unique(fold_of))} folds",
            remedy="--set views=plain,flip"
            if len(names) < 2
            else "a run of several folds: --set folds=5, and no --fold",
        )
    labels = np.array([classes.index(label) for label in table["label"]])
    oof = OOFPredictions.build(
        [values[name][known] for name in names], labels, fold_of, run.results["metric"], run.positive,
        table["group"].to_numpy(str),
    )  # fmt: skip
    return names, oof


def select_weighting(oof: OOFPredictions, names: list[str]) -> tuple[list[StepResult], dict[str, float]]:
    """Scores every weighting on folds that it was not fitted on, and selects one.

    Args:
        oof: the members are views.
        names: of the views.
    """
    procedures = [FunctionProcedure(oof, name, way) for name, way in WEIGHTINGS.items()]
    steps = [evaluate_procedure("step", procedures[0], None)]
    steps += [evaluate_procedure("step", procedure, procedures[0]) for procedure in procedures[1:]]
    good = [place for place, step in enumerate(steps) if step.helps]
    best = max(good, key=lambda place: steps[place].gain.estimate) if good else 0  # type: ignore[union-attr]
    every = []
    for place, (step, procedure) in enumerate(zip(steps, procedures, strict=True)):
        fitted = procedure.on(oof.folds)
        assert isinstance(fitted, WeightedAverage)
        every.append(dict(zip(names, map(float, fitted.weights), strict=True)))
        steps[place] = replace(step, kept=place == best, note=format_weights(every[-1]))
    return steps, every[best]


def format_weights(weights: Mapping[str, float]) -> str:
    """Weights in a line; where all are alike it is said so."""
    used = {name: weight for name, weight in weights.items() if weight >= 0.0005}
    if len(used) > 1 and np.ptp(list(used.values())) < 1e-3:
        left_out = [name for name in weights if name not in used]
        return f"all but {', '.join(left_out)}" if left_out else "all"
    return ", ".join(f"{name} {weight:.2f}" for name, weight in used.items())


def build_view_records(result: list[ViewScore]) -> list[dict[str, Any]]:
    """Builds one record a view: its own score, and the gain of the mean of all by it."""
    return [
        {
            "view": one.name, "score": float(np.mean(one.folds)), "spread": float(np.std(one.folds, ddof=1)),
            "gain": one.gain and build_difference_record(one.gain),
            "worth": one.gain and format_plus_minus(one.gain, 5),
        }
        for one in result
    ]  # fmt: skip


def format_view_scores(records: list[dict[str, Any]], metric: str) -> list[str]:
    """Formats one line a view."""
    return format_records(records, {
        "view": "{view}",
        f"{metric} alone": lambda record: find_metric(metric).format(record["score"], record["spread"]),
        "gain ± noise (95 %)": "{worth}",
        "verdict": lambda record: paint_verdict(record["gain"]["verdict"] if record["gain"] else ""),
    })  # fmt: skip


def format_conclusions(tried: list[StepResult], weights: Mapping[str, float], result: list[ViewScore]) -> list[str]:
    """Formats the weighting to take, and the recipe's views."""
    kept = next(step for step in tried if step.kept)
    if kept.name == EQUAL_WEIGHTS:
        lines = [f"no weights are better than {EQUAL_WEIGHTS}, beyond noise: keep the mean of {len(result)} views"]
    else:
        lines = [f"take: {kept.name} ({format_weights(weights)}), {kept.gain.estimate:+.5f} on folds it has not seen"]  # type: ignore[union-attr]
    used = tuple(name for name, weight in weights.items() if weight >= 0.0005)
    return [*lines, f"recipe: views={used!r}"]
