"""The sections of a report that rest on out-of-fold predictions: score, classes, confusions, calibration and steps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.evaluation import confusion
from pipeline.evaluation.intervals import Interval, estimate_gain
from pipeline.evaluation.metrics import find_metric
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.evaluation.per_class import score_classes
from pipeline.evaluation.reliability import ReliabilityBin, compute_ece, compute_reliability
from pipeline.kaggle.leaderboard import (
    LeaderboardPosition,
    find_leaderboard,
    format_medals,
    format_position,
    read_submission_scores,
)
from pipeline.run_report.charts import Chart, Series
from pipeline.runs import folder as runs
from pipeline.runs.load import Run
from pipeline.runs.note import read_note

Section = dict[str, Any]
MAX_PAIRS = 25
MAX_WHOLE_MATRIX = 24
"""Classes of the largest matrix that is shown whole; a larger one is shown group by group."""
OVERVIEW_SIDE = 640
"""Side of the overview of the whole matrix, in units of the drawing."""
MIN_VISIBLE_SHARE = 0.25
"""How strongly one picture colours its cell in the overview, at least."""
MEAN_OF_VIEWS = "mean of the views"


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """A run's out-of-fold predictions, joined to the labels.

    Args:
        run: the run.
        ids: of the pictures that a trained fold held out.
        oof: predictions of the run, and of each view where they are kept, in the order of `ids`.
        views: names of the latter.
    """

    run: Run
    ids: Sequence[str]
    oof: OOFPredictions
    views: Sequence[str]

    @classmethod
    def load(cls, run: Run) -> "ValidationResult":
        """Reads the predictions of a finished run."""
        ids = run.held_ids
        stored_ids, stored_classes, _ = runs.read_predictions(run.folder / "oof.npz")
        held = set(ids)
        rows = [place for place, name in enumerate(stored_ids) if name in held]
        columns = [stored_classes.index(name) for name in run.classes]
        views = runs.read_view_predictions(run.folder / "oof.npz")
        oof = OOFPredictions.build(
            [run.align(ids), *(values[np.ix_(rows, columns)] for values in views.values())],
            np.searchsorted(run.classes, [run.label[name] for name in ids]),
            np.array([run.fold[name] for name in ids]),
            str(run.results["metric"]),
            run.positive,
            run.folds.loc[ids, "group"].to_numpy(str),
        )
        return cls(run=run, ids=ids, oof=oof, views=list(views))

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.run.classes

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities (pictures, classes) float32."""
        return np.asarray(self.oof.part.predictions[0])

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each picture, (pictures,) int."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The confusion matrix, rows are true classes."""
        return confusion.compute_confusion(self.oof.labels, self.predicted, len(self.classes))


def build_headline(run: Run) -> Section:
    """Builds the score with its spread, chance, position and medals."""
    results, competition = run.results, run.config["competition"]
    metric, folds = find_metric(results["metric"]), results["folds"]
    board = None if run.config.get("debug") else find_leaderboard(competition.get("slug"), metric.name)
    place, answer = results.get("leaderboard_position"), read_submission_scores(run.folder)
    medals = format_medals(board, results["score"]) if board else ""
    position = LeaderboardPosition(**({"medals": medals} | place)) if place else None
    return {
        "metric": metric.name.replace("_", " "),
        "direction": metric.direction,
        "score": metric.format(results["score"]),
        "spread": metric.format(results["spread"]) if len(folds) > 1 else "",
        "folds": [metric.format(score) for score in folds],
        "interval": [metric.format(end) for end in results.get("interval") or ()],
        "chance": metric.format(results["chance"]) if "chance" in results else "",
        "accuracy": "" if metric.counts_correct else f"{results['accuracy']:.1%}",
        "debug": bool(run.config.get("debug")),
        "position": format_position(position) if position else [],
        "medal": medals.partition(":")[0],
        "answer": answer and {"public": answer.public, "private": answer.private},
        "unreadable": results.get("unreadable", {}),
        "note": asdict(read_note(run.folder)),
    }


def format_interval(result: Interval | None) -> Mapping[str, Any]:
    """Formats a share in percent, with its interval, and as a number to sort by."""
    if result is None:
        return {"text": "–", "ends": "no pictures", "value": -1}
    return {
        "text": f"{100 * result.estimate:.1f}",
        "ends": f"{100 * result.low:.1f}–{100 * result.high:.1f}",
        "value": result.estimate,
    }


def build_class_scores(result: ValidationResult) -> list[Section]:
    """Builds precision, recall and F1 of each class, the lowest F1 first."""
    scores = score_classes(result.classes, result.matrix)
    scores.sort(key=lambda one: (one.f1.estimate if one.f1 else 0.0, one.name))
    return [
        {"name": one.name, "pictures": one.pictures}
        | {name: format_interval(getattr(one, name)) for name in ("precision", "recall", "f1")}
        for one in scores
    ]


def build_confusions(result: ValidationResult) -> Section:
    """Builds the most confused pairs, the matrix by groups of similar classes, and for many classes an overview."""
    matrix, classes = result.matrix, result.classes
    pairs = confusion.rank_confused_pairs(matrix)
    if len(classes) <= MAX_WHOLE_MATRIX:
        groups = [list(range(len(classes)))]
    else:
        groups = confusion.group_classes(_compute_mean_predictions(result))
    return {
        "total": len(pairs),
        "wrong": int(matrix.sum() - np.trace(matrix)),
        "pairs": [
            {
                "truth": classes[pair.truth], "predicted": classes[pair.predicted], "count": pair.count,
                "reverse": pair.reverse, "share": f"{pair.share:.0%}",
            }
            for pair in pairs[:MAX_PAIRS]
        ],
        "groups": [_build_group(matrix, classes, group, number) for number, group in enumerate(groups, 1)],
        "overview": _build_overview(matrix, classes, groups) if len(groups) > 1 else None,
    }  # fmt: skip


def _compute_mean_predictions(result: ValidationResult) -> np.ndarray:
    """Computes the mean prediction for the pictures of each class, (classes, classes); what is like what."""
    total = np.zeros((len(result.classes),) * 2)
    np.add.at(total, result.oof.labels, result.probabilities)
    return total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12)


def _build_group(matrix: np.ndarray, classes: Sequence[str], group: Sequence[int], number: int) -> Section:
    """Builds the part of the matrix that belongs to some classes; what goes to other classes is one column."""
    counts = matrix.sum(axis=1)
    rows = []
    for truth in group:
        outside = sorted((int(-matrix[truth, other]), other) for other in range(len(classes)) if other not in group)
        others = [f"{-count} {classes[other]}" for count, other in outside if count]
        cells = [
            {"count": int(matrix[truth, other]), "right": truth == other, "predicted": classes[other],
             "percent": round(100 * matrix[truth, other] / max(1, counts[truth]))}
            for other in group
        ]  # fmt: skip
        rows.append({"name": classes[truth], "cells": cells, "others": -sum(n for n, _ in outside), "list": others})
    names = [classes[one] for one in group]
    wrong = int(sum(counts[one] - matrix[one, one] for one in group))
    return {
        "number": number, "names": names, "rows": rows, "wrong": wrong, "pictures": int(counts[list(group)].sum()),
        "whole": len(group) == len(classes),
    }  # fmt: skip


def _build_overview(matrix: np.ndarray, classes: Sequence[str], groups: Sequence[Sequence[int]]) -> Section:
    """Builds the whole matrix in small: a square for each cell that is not empty, and a frame for each group."""
    order = [one for group in groups for one in group]
    place = {one: number for number, one in enumerate(order)}
    step = OVERVIEW_SIDE / len(order)
    counts = np.maximum(1, matrix.sum(axis=1))
    cells = [
        {
            "x": round(place[predicted] * step, 1), "y": round(place[truth] * step, 1),
            "style": "blue" if truth == predicted else "orange",
            "opacity": round(float(max(MIN_VISIBLE_SHARE, matrix[truth, predicted] / counts[truth]) ** 0.7), 2),
            "note": f"{classes[truth]} → {classes[predicted]}: {matrix[truth, predicted]} of {counts[truth]}",
        }
        for truth, predicted in np.argwhere(matrix).tolist()
    ]  # fmt: skip
    starts = np.cumsum([0, *map(len, groups)])
    frames = [
        {"number": number, "start": round(start * step, 1), "side": round(len(group) * step, 1)}
        for number, (start, group) in enumerate(zip(starts, groups, strict=False), 1)
    ]
    return {"side": OVERVIEW_SIDE, "step": round(step, 2), "cells": cells, "frames": frames}


def build_calibration(result: ValidationResult) -> Section:
    """Builds the reliability diagram, the ECE and the histogram of confidences."""
    bins = compute_reliability(result.oof.labels, result.probabilities)
    confidence, accuracy = result.probabilities.max(axis=1).mean(), (result.predicted == result.oof.labels).mean()
    mood = "too sure" if confidence > accuracy else "not sure enough"
    return {
        "ece": f"{compute_ece(bins):.4f}",
        "bins": len(bins),
        "summary": f"mean confidence {confidence:.1%}, accuracy {accuracy:.1%}: {mood} by "
        f"{100 * abs(confidence - accuracy):.1f} points on average",
        "diagram": _plot_reliability(bins),
        "histogram": _plot_confidences(bins, len(result.ids)),
    }


def _plot_reliability(bins: Sequence[ReliabilityBin]) -> Chart:
    """Plots accuracy against confidence, with Wilson's intervals."""
    notes = [
        f"{one.pictures:,} pictures: confidence {one.confidence:.1%}, accuracy {one.accuracy.estimate:.1%}"
        for one in bins
    ]
    intervals = [
        Series(name="", style="grey", points=[(one.confidence, one.accuracy.low), (one.confidence, one.accuracy.high)])
        for one in bins
    ]
    points = [(one.confidence, one.accuracy.estimate) for one in bins]
    return Chart(
        title="Reliability diagram: accuracy against confidence",
        x_label="confidence",
        y_label="accuracy",
        series=[
            Series(name="perfect calibration", style="grey dashed", points=[(0, 0), (1, 1)]),
            *intervals,
            Series(name="this run, with 95 % intervals", style="blue", points=points, kind="dots", notes=notes),
        ],
        x_range=(0, 1),
        y_range=(0, 1),
    )


def _plot_confidences(bins: Sequence[ReliabilityBin], total: int) -> Chart:
    """Plots how many pictures lie in each bin."""
    points = [((one.low + one.high) / 2, one.pictures / total) for one in bins]
    notes = [f"{one.low:.2f} to {one.high:.2f}: {one.pictures:,} pictures" for one in bins]
    return Chart(
        title="Histogram of confidences",
        x_label="confidence",
        y_label="share of pictures",
        series=[Series(name="", style="blue", points=points, kind="bars", notes=notes)],
        x_range=(0, 1),
        y_range=(0, 1.05 * max(share for _, share in points)),
    )


def build_steps(result: ValidationResult) -> list[Section]:
    """Builds what each step brought: those of an ensemble as it recorded them; of a run the views and their mean."""
    steps = result.run.results.get("steps") or _score_views(result)
    metric = result.oof.scorer
    return [
        {
            **step,
            **split_verdict(step),
            "score": metric.format(step["score"], step["spread"]),
            "gain": _format_gain(step["gain"]) if step["against"] else "",
            "ends": f"{_format_gain(step['gain_low'])} to {_format_gain(step['gain_high'])}"
            if step["against"] and step["gain_low"] is not None
            else "",
        }
        for step in steps
    ]


def split_verdict(step: Mapping[str, Any]) -> dict[str, str]:
    """Returns the verdict of the nested folds and what the final fit does; older runs have one phrase for both."""
    verdict, _, decision = step["verdict"].partition(", ")
    if verdict in ("the start", "not tried"):
        verdict, decision = "", verdict
    verdict = "within noise" if verdict == "no change" else verdict
    return {"verdict": verdict, "final_fit": step.get("final_fit", decision.replace("dropped", "left out"))}


def _format_gain(gain: float) -> str:
    """Formats a gain with its sign; zero is +0, whatever its sign was."""
    return f"{round(gain, 5) + 0.0:+.5f}"


def _score_views(result: ValidationResult) -> list[Section]:
    """Scores each view and their mean, and its gain over the first."""
    oof, names = result.oof, [f"view {name}" for name in result.views]
    if len(names) < 2:
        return []
    mean, *views = oof.part.predictions
    gain = estimate_gain(oof, views[0], mean)
    rows = [
        {"name": name, **_score_step(oof, values), "against": "", "verdict": ""}
        for name, values in zip(names, views, strict=True)
    ]
    record = gain.record()
    compared = {"gain": record["estimate"], "gain_low": record["low"], "gain_high": record["high"]}
    last = {"name": MEAN_OF_VIEWS, **_score_step(oof, mean), "against": names[0], "verdict": gain.verdict}
    return [*rows, last | compared]


def _score_step(oof: OOFPredictions, values: np.ndarray) -> Section:
    """Scores predictions: mean over folds, and sample deviation where there are several."""
    folds = oof.by_fold(values)
    spread = float(np.std(folds, ddof=1)) if len(folds) > 1 else None
    return {"score": float(np.mean(folds)), "spread": spread, "note": ""}


def build_curves(run: Run) -> list[Chart]:
    """Builds the learning curves of history.csv: losses and score by epoch, or the loss by a head's setting."""
    if not (run.folder / "history.csv").is_file():
        return []
    records = runs.read_history(run.folder)
    columns = records[0].keys() if records else ()
    if "epoch" in columns:
        return _plot_epochs(records, run.results["metric"])
    setting = next((name for name in ("l2", "shrinkage") if name in columns), None)
    return _plot_setting(records, setting) if setting else []


def _plot_epochs(records: Sequence[Mapping[str, str]], metric: str) -> list[Chart]:
    """Plots training and validation loss, and the score, of every fold; the epochs of its stages follow each other."""
    loss_names = {"loss": ("training loss", "grey dashed"), "val_loss": ("validation loss", "blue"),
                  "inner_val_loss": ("loss of the pictures set aside", "blue")}  # fmt: skip
    losses = [
        series
        for column, (name, style) in loss_names.items()
        if column in records[0] and not (column == "val_loss" and "inner_val_loss" in records[0])
        for series in _list_fold_series(records, column, name, style)
    ]
    charts = [("Loss by epoch", "loss", losses)]
    if "score" in records[0]:
        scores = _list_fold_series(records, "score", "validation score", "blue")
        charts.append(("Validation score by epoch", metric.replace("_", " "), scores))
    return [
        Chart(title=title, x_label="epoch", y_label=label, series=series) for title, label, series in charts if series
    ]


def _list_fold_series(records: Sequence[Mapping[str, str]], column: str, name: str, style: str) -> list[Series]:
    """Lists one line a fold, and a dot at each of its chosen epochs."""
    by_fold = defaultdict[str, list[Mapping[str, str]]](list)
    for record in records:
        by_fold[record["fold"]].append(record)
    series = []
    for fold, rows in by_fold.items():
        points = [(place, float(row[column])) for place, row in enumerate(rows) if row[column] not in ("", "nan")]
        chosen = [point for point in points if rows[point[0]]["chosen"] == "True"] if style == "blue" else []
        notes = [f"fold {fold}, epoch {place}: {value:.5f}, chosen" for place, value in chosen]
        series += [Series(name=name, style=style, points=points)] if points else []
        if chosen:
            series.append(Series(name="chosen epoch", style="orange", points=chosen, kind="dots", notes=notes))
    return series


def _plot_setting(records: Sequence[Mapping[str, str]], setting: str) -> list[Chart]:
    """Plots the validation loss against the setting of a head that the folds choose."""
    rows = [record for record in records if record["val_loss"] not in ("", "nan")]
    if len({record[setting] for record in rows}) < 2:
        return []
    series = []
    for fold in dict.fromkeys(record["fold"] for record in rows):
        own = sorted(
            (float(row[setting]), float(row["val_loss"]), row["chosen"]) for row in rows if row["fold"] == fold
        )
        series.append(Series(name="a fold", style="blue", points=[(value, loss) for value, loss, _ in own]))
        dots = [(value, loss) for value, loss, chosen in own if chosen == "True"]
        notes = [f"fold {fold}: {setting} {value:g}, loss {loss:.5f}, chosen" for value, loss in dots]
        series.append(Series(name=f"chosen {setting}", style="orange", points=dots, kind="dots", notes=notes))
    logarithmic = min(value for one in series for value, _ in one.points) > 0
    title = f"Validation loss by {setting} of the head"
    return [Chart(title=title, x_label=setting, y_label="validation loss", series=series, logarithmic=logarithmic)]
