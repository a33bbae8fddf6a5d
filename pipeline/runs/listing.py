"""Lists the runs of a competition: one table a metric, the best first, with Kaggle's scores where there are any.

Finished, debug and unfinished runs are read from their folders.
"""

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import competitions
from pipeline import paths
from pipeline.config import SCRATCH_STRATEGIES
from pipeline.errors import StarshiftError
from pipeline.evaluation.intervals import estimate_over_seeds, format_interval
from pipeline.evaluation.metrics import find_metric
from pipeline.figures.text_table import format_records
from pipeline.kaggle.leaderboard import SubmissionScores, compute_top_percent, find_leaderboard, read_submission_scores
from pipeline.output import print_results
from pipeline.runs import folder as runs
from pipeline.runs.note import read_note
from pipeline.terminal import paint

DERIVED_STRATEGIES = ("ensemble", "finish")
"""Strategies of runs that were made of others."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run folder.

    Args:
        run: the folder's name.
        handle: the shortest name that finds it: when it started (UTC), where no other run started in that second.
        state: `finished`, `debug` (a few pictures only) or `unfinished` (interrupted, or running now).
        metric: that its score is in.
        score: mean over the folds; None where it is unfinished.
        spread: sample deviation over the folds; None where there is one.
        chance: the metric of the classes' shares alone.
        accuracy: mean over the folds.
        strategy: the way of training.
        bases: as the recipe names them.
        folds: that were trained.
        of_folds: how many there are.
        seconds: of the whole run, caches as they were.
        fingerprint: of everything that decides the result.
        recipe: flat, by dotted name.
        answer: Kaggle's, where the run was submitted.
        top: percent of the final leaderboard's teams that its score would be among.
        split: SHA-256 of which picture lies in which fold; empty where that is not kept.
        continued: the run whose weights it started from, or empty.
        name: that the user gave it, or empty.
        note: of the user, or empty.
    """

    run: str
    handle: str
    state: str
    metric: str
    score: float | None
    spread: float | None
    chance: float | None
    accuracy: float | None
    strategy: str
    bases: tuple[str, ...]
    folds: tuple[int, ...]
    of_folds: int
    seconds: float | None
    fingerprint: str
    recipe: dict[str, Any] = field(default_factory=dict)
    answer: SubmissionScores | None = None
    top: float | None = None
    split: str = ""
    continued: str = ""
    name: str = ""
    note: str = ""


def rank_runs(result: Sequence[RunSummary], metric: str) -> list[RunSummary]:
    """Sorts runs, the best first; debug and unfinished runs, whose scores mean nothing, last."""
    sign, states = find_metric(metric).sign, ("finished", "debug", "unfinished")
    return sorted(result, key=lambda one: (states.index(one.state), -sign * (one.score or 0.0), one.run))


def format_run_tables(name: str, result: Sequence[RunSummary]) -> list[list[str]]:
    """Formats the runs of a competition, one table a metric with its conclusions.

    Args:
        name: of the competition.
        result: from `list_ranked_runs`.
    """
    tables = []
    for metric, chosen in group_by_metric(result).items():
        best = f"the {find_metric(metric).direction.removesuffix('er')}est {metric} first"
        chance = next((f"; chance {one.chance:.5f}" for one in chosen if one.chance is not None), "")
        header = f"{name}, {len(chosen)} runs, {best}{chance}; each is named by its start (UTC)"
        tables.append([header, *format_run_table(chosen), *format_conclusions(chosen)])
    return tables


def format_run_table(result: Sequence[RunSummary]) -> list[str]:
    """Formats one line a run: Kaggle's scores where there are any, and the settings that differ."""
    most = find_common_settings(result)
    ranks = {one.run: str(number) for number, one in enumerate(result, start=1) if one.state == "finished"}
    return format_records(result, {
        "rank": lambda one: ranks.get(one.run, ""),
        "run": lambda one: one.handle,
        "name": lambda one: one.name,
        "score": lambda one: paint(format_score(one), "bold") if one is result[0] else format_score(one),
        "accuracy": lambda one: format_number(one.accuracy, ".1%"),
        "strategy": lambda one: one.strategy,
        "bases": format_bases,
        "folds": format_folds,
        "seconds": lambda one: format_number(one.seconds, ",.0f"),
        "top %": lambda one: format_number(one.top, ".1f"),
        "public": lambda one: format_number(one.answer and one.answer.public, ".5f"),
        "private": lambda one: format_number(one.answer and one.answer.private, ".5f"),
        "state": lambda one: "" if one.state == "finished" else one.state,
        "recipe": lambda one: format_settings(one, most),
        "continues": lambda one: parse_start_time(Path(one.continued)),
        "note": lambda one: one.note,
    })  # fmt: skip


def format_score(one: RunSummary) -> str:
    """Formats the score with its spread over folds, or alone where there is one fold."""
    return format_number(one.score, ".5f") + (f" ± {one.spread:.5f}" if one.spread is not None else "")


def format_number(number: float | None, form: str) -> str:
    """Formats a number, or nothing for None."""
    return "" if number is None else format(number, form)


def format_folds(one: RunSummary) -> str:
    """Formats how many folds of how many, or the number of the only one."""
    if one.of_folds == 1:
        return "held out"
    return f"fold {one.folds[0]}/{one.of_folds}" if len(one.folds) == 1 else f"{len(one.folds)}/{one.of_folds}"


def format_bases(one: RunSummary) -> str:
    """Formats the bases' names; of more than three the first two, and how many more."""
    names = [shorten_base_name(base) for base in one.bases]
    return ", ".join(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])


def shorten_base_name(base: str) -> str:
    """Shortens a base's name: without the path of its weights, and with the beginning of its directions' name."""
    name, _, weights = base.partition("=")
    named = re.sub(r":([0-9a-f]{4})[0-9a-f]{12}$", r":\1", name)
    return f"{named}=file" if "/" in weights else f"{named}={weights}" if weights else named


def find_common_settings(result: Sequence[RunSummary]) -> dict[str, str]:
    """Finds the most common setting of each field of the recipe on which runs differ.

    Of a training field that is the strategy's default, which every strategy has its own of.
    """
    names = {name for one in result for name in one.recipe} - {"strategy", "bases", "folds"}
    lines = {name: Counter(repr(one.recipe[name]) for one in result if name in one.recipe) for name in sorted(names)}
    return {
        name: repr(None) if name.startswith("training.") else counts.most_common(1)[0][0]
        for name, counts in lines.items()
        if len(counts) > 1
    }


def format_settings(one: RunSummary, most: Mapping[str, str]) -> str:
    """Formats the settings that differ from most runs'; of a list of more than two its length.

    Nothing of a run that was made of others: they have their own.
    """
    if one.strategy in DERIVED_STRATEGIES:
        return ""
    lines = []
    for name, common in most.items():
        idle = name.startswith("training.") and one.strategy == "features"  # nothing there is trained in epochs
        if idle or name not in one.recipe or repr(one.recipe[name]) == common:
            continue
        setting = one.recipe[name]
        if isinstance(setting, (list, tuple)):
            setting = f"({len(setting)})" if len(setting) > 2 else "+".join(map(str, setting))
        lines.append(f"{name.rpartition('.')[2]}={'default' if setting is None else setting}")
    return " ".join(lines)


def format_conclusions(result: Sequence[RunSummary]) -> list[str]:
    """Formats cautions about the order, the agreement with Kaggle's scores, and the next command."""
    lines = []
    finished = [one for one in result if one.state == "finished"]
    distinct = list({one.fingerprint: one for one in reversed(finished)}.values())[::-1]
    if len({(one.folds, one.of_folds, one.split) for one in finished}) > 1:
        lines.append(
            "not all were scored on the same folds, pictures and labels: small differences between those mean nothing"
        )
    lines += compare_with_leaderboard(distinct)
    others = [one for one in distinct if one.score != distinct[0].score]
    if others:
        lines.append("the first of many is flattered by having been picked")
        lines.append(f"next: invoke compare {others[0].handle} {distinct[0].handle}: is the difference noise?")
    return lines


def compare_with_leaderboard(result: Sequence[RunSummary]) -> list[str]:
    """Compares cross-validation with the leaderboard, for each of its parts that scored two runs or more.

    Args:
        result: finished runs, each result once, the best first.
    """
    lines = []
    for part in ("public", "private"):
        pairs = [(one.score, score) for one in result if (score := getattr(one.answer, part, None)) is not None]
        if len(pairs) > 1:
            validated, answered = np.array(pairs, dtype=float).T
            lines.append(f"{part} {format_agreement(validated, answered)}")
            lines += format_regression(validated, answered, float(result[0].score or 0))
    return lines


def format_agreement(validated: Sequence[float], answered: Sequence[float]) -> str:
    """Formats how far cross-validation and the leaderboard agree on the order of runs, and their offset.

    The rank correlation is Spearman's (1904, Am. J. Psychol. 15, 72-101): 1 is the same order, -1 the opposite one.
    The offset is leaderboard - cross-validation, the mean over the runs with Student's interval.

    Args:
        validated: cross-validated scores, at least two.
        answered: Kaggle's, in the same order.
    """
    from scipy.stats import spearmanr

    offset = estimate_over_seeds(list(np.subtract(answered, validated)))
    same = len(set(validated)) > 1 and len(set(answered)) > 1
    order = f"rank correlation {spearmanr(validated, answered).statistic:+.2f}" if same else "all the same on one side"
    return (
        f"leaderboard against cross-validation, {len(validated)} runs: {order}, offset {offset.estimate:+.5f}"
        f" (95 % interval {format_interval(offset, '+.5f')})"
    )


def format_regression(validated: Sequence[float], answered: Sequence[float], score: float) -> list[str]:
    """Formats the least-squares line through one's own submissions, and where it puts a score; from three runs on.

    The interval is that of one more submission (Draper and Smith 1998, Applied Regression Analysis, section 3.1).

    Args:
        validated: cross-validated scores.
        answered: Kaggle's, in the same order.
        score: a cross-validated one.
    """
    from scipy.stats import linregress, t

    count, spread = len(validated), np.ptp(validated)
    if count < 3 or not spread:
        return []
    line = linregress(validated, answered)
    center, squares = np.mean(validated), np.var(validated) * count
    rest = np.subtract(answered, line.intercept + line.slope * np.asarray(validated))
    deviation = np.sqrt(np.sum(rest**2) / (count - 2))
    expected = line.intercept + line.slope * score
    margin = t.ppf(0.975, count - 2) * deviation * np.sqrt(1 + 1 / count + (score - center) ** 2 / squares)
    return [
        f"  regression: leaderboard = {line.intercept:+.5f} {line.slope:+.3f} x cross-validation; the first run's "
        f"{score:.5f} is expected at {expected:.5f} (95 % interval {expected - margin:.5f} to {expected + margin:.5f})"
    ]


def list_competitions() -> list[str]:
    """Lists the competitions that have runs."""
    return sorted({folder.parent.name for folder in paths.runs_folder("x").parent.glob("*/*/") if runs.is_run(folder)})


def find_competition_name(comp: str) -> str:
    """Finds the competition's name: of the repository's, of a file's, or of a folder below data/runs (a ladder's)."""
    return comp if comp in list_competitions() else competitions.find(comp).name


def list_runs(name: str) -> list[RunSummary]:
    """Lists the runs of a competition, the oldest first."""
    folders = runs.list_run_folders(name)
    starts = Counter(parse_start_time(folder) for folder in folders)
    return [
        load_summary(folder, parse_start_time(folder) if starts[parse_start_time(folder)] == 1 else folder.name)
        for folder in folders
    ]


def parse_start_time(folder: Path) -> str:
    """Returns the start time in a folder's name: `20261124-203219`, or `20261124-203219.2`."""
    return "-".join(folder.name.split("-")[:2])


def load_summary(folder: Path, handle: str) -> RunSummary:
    """Loads the summary of a run's folder."""
    config, results, note = runs.read_config(folder), runs.read_metrics(folder), read_note(folder)
    competition = config.get("competition", {})
    recipe = competition.get("recipe", {})
    debug = bool(config.get("debug"))
    folds = tuple(config.get("folds", ()))
    board = find_leaderboard(competition.get("slug"), results.get("metric", "")) if not debug else None
    return RunSummary(
        run=folder.name,
        handle=handle,
        state="unfinished" if not results else "debug" if debug else "finished",
        metric=results.get("metric", competition.get("metric", "log_loss")),
        score=results.get("score"),
        spread=results.get("spread") if len(folds) > 1 else None,
        chance=results.get("chance"),
        accuracy=results.get("accuracy"),
        strategy=recipe.get("strategy", ""),
        bases=() if recipe.get("strategy") in SCRATCH_STRATEGIES else tuple(recipe.get("bases", ())),
        folds=folds,
        of_folds=recipe.get("folds", len(folds)),
        seconds=results.get("seconds"),
        fingerprint=config.get("fingerprint", ""),
        recipe=runs.flatten_mapping(recipe),
        answer=read_submission_scores(folder),
        top=compute_top_percent(board, results["score"]) if board else None,
        split=runs.compute_split_digest(folder),
        continued=config.get("continued", {}).get("run", ""),
        name=note.name,
        note=note.note,
    )


def print_all_runs(comp: str | None) -> dict[str, list[RunSummary]]:
    """Prints the runs of a competition, or of every one that has any, and returns them by competition.

    Args:
        comp: a competition's name, or the path of its file; None is all.
    """
    result = {name: list_ranked_runs(name) for name in ([find_competition_name(comp)] if comp else list_competitions())}
    if not any(result.values()):
        raise StarshiftError(
            f"There is no run{' of ' + comp if comp else ''} yet.",
            expected=f"a folder in {paths.format_path(paths.runs_folder(find_competition_name(comp) if comp else ''))}",
            remedy=f"invoke run --comp {shlex.quote(comp or 'NAME')}",
        )
    for number, (name, each) in enumerate(result.items()):
        records = [build_record(name, one) for one in each]
        print_results({name: records}, *format_run_tables(name, each), apart=number > 0)
    return result


def list_ranked_runs(name: str) -> list[RunSummary]:
    """Lists the runs of a competition by metric, its own first, then the best first."""
    own = competitions.find(name).metric if name in competitions.names() else None
    found = list_runs(name)
    names = sorted({one.metric for one in found}, key=lambda metric: (metric != own, metric))
    return [one for metric in names for one in rank_runs([each for each in found if each.metric == metric], metric)]


def group_by_metric(result: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """Groups runs by metric, in their order."""
    return {
        metric: [one for one in result if one.metric == metric] for metric in dict.fromkeys(r.metric for r in result)
    }


def build_record(name: str, one: RunSummary) -> dict[str, Any]:
    """Builds a run as plain JSON values, with its folder."""
    return {**asdict(one), "folder": str(paths.runs_folder(name) / one.run)}
