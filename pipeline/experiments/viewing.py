"""Which views a run should be averaged over, and how: measured on its held-out predictions, fold by fold."""

import io
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import paths, runs
from pipeline.composing.finishing import judged
from pipeline.errors import StarshiftError
from pipeline.files import write_text
from pipeline.ledger import reading
from pipeline.naming import called
from pipeline.predict import views
from pipeline.predict.blends import Blend
from pipeline.predict.held import Held, Part
from pipeline.predict.intervals import plus_minus
from pipeline.predict.metrics import higher_is_better
from pipeline.predict.nested import Plain
from pipeline.report.steps import Step, table
from pipeline.report.table import lines

log = logging.getLogger(__name__)


def look(comp: str, wanted: str | None = None) -> Mapping[str, float]:
    """Tells what each view of a run is worth and how to average them. Returns the weights by view.

    Args:
        comp: name of the competition.
        wanted: a run's name or its beginning; None takes the best that was predicted in several views.
    """
    folder = reading.found(wanted, comp) if wanted else best(comp)
    run = reading.opened(folder)
    names, held = held_views(run)
    log.info("%s: %d views of %s pictures, %s", folder.name, len(names), f"{len(held.labels):,}", held.metric)
    found = views.worths(held, names)
    log.info("")
    for line in told(found, held.metric):
        log.info("%s", line)
    tried, weights = choose(held, names)
    log.info("")
    for line in table(tried, held.metric):
        log.info("%s", line)
    log.info("")
    for line in conclusions(tried, weights, found):
        log.info("%s", line)
    path = paths.reports_folder(folder.parent.name) / f"views-{folder.name}.csv"
    text = io.StringIO()
    pd.DataFrame([step.record() for step in tried]).to_csv(text, index=False)
    write_text(path, text.getvalue())
    log.info("wrote %s", paths.shown(path))
    return weights


def best(comp: str) -> Path:
    """The best finished run that was predicted in several views and folds, of those of most folds.

    Scores on other pictures, labels or folds mean something else: only those on the newest run's are held together.

    Raises:
        StarshiftError: there is none.
    """
    found = [
        (len(results["folds"]), results["score"] * (1 if higher_is_better(results["metric"]) else -1), folder)
        for folder, results in runs.listed(comp)
        if len(results.get("views", ())) > 1 and len(results.get("folds", ())) > 1 and "-debug" not in folder.name
    ]
    if found:
        full = [each for each in found if each[0] == max(found)[0]]
        split = runs.split_of(max(folder for *_, folder in full))
        return max(each for each in full if runs.split_of(each[-1]) == split)[-1]
    raise StarshiftError(
        f"{comp} has no run that was predicted in several views and folds.",
        expected='views=("plain", "flip") in its recipe, or more',
        remedy=f"invoke run --comp {called(comp)}",
    )


def held_views(run: reading.Run) -> tuple[list[str], Held]:
    """The views of a run, the plain one first, and what it predicts for held-out pictures in each.

    Raises:
        StarshiftError: one view or one fold only.
    """
    values = runs.read_views(run.folder / "oof.npz")
    names = sorted(values, key=lambda name: name != "plain")
    ids, classes, _ = runs.read_predictions(run.folder / "oof.npz")
    known = np.array([name in run.held for name in ids])
    fold_of = np.array([run.fold[name] for name, keep in zip(ids, known, strict=True) if keep])
    if len(names) < 2 or len(np.unique(fold_of)) < 2:
        raise StarshiftError(
            "Weights of views are measured over folds.",
            expected="a run of 2 views and 2 folds, or more",
            received=f"{len(names)} views, {len(np.unique(fold_of))} folds",
            remedy='views=("plain", "flip") in the recipe'
            if len(names) < 2
            else "a run of several folds: folds=5 in the recipe, and no --fold",
        )
    held = Held(
        part=Part(np.stack([values[name][known] for name in names])),
        labels=np.array([classes.index(run.label[name]) for name, keep in zip(ids, known, strict=True) if keep]),
        fold_of=fold_of,
        metric=run.results["metric"],
        positive=run.positive,
    )
    return names, held


def choose(held: Held, names: list[str]) -> tuple[list[Step], dict[str, float]]:
    """Every way to average, judged on folds that it has not seen, and the weights of the one to take.

    Args:
        held: the members are views.
        names: of the views.
    """
    procedures = [Plain(held, name, way) for name, way in views.WAYS.items()]
    steps = [judged("step", procedures[0], None)]
    steps += [judged("step", procedure, procedures[0]) for procedure in procedures[1:]]
    good = [place for place, step in enumerate(steps) if step.helps]
    best = max(good, key=lambda place: steps[place].gain.estimate) if good else 0  # type: ignore[union-attr]
    every = []
    for place, (step, procedure) in enumerate(zip(steps, procedures, strict=True)):
        fitted = procedure.on(held.folds)
        assert isinstance(fitted, Blend)
        every.append(dict(zip(names, map(float, fitted.weights), strict=True)))
        steps[place] = replace(step, kept=place == best, told=words(every[-1]))
    return steps, every[best]


def words(weights: Mapping[str, float]) -> str:
    """Weights in a line; where all are alike it is said so."""
    used = {name: weight for name, weight in weights.items() if weight >= 0.0005}
    if len(used) > 1 and np.ptp(list(used.values())) < 1e-3:
        left_out = [name for name in weights if name not in used]
        return f"all but {', '.join(left_out)}" if left_out else "all"
    return ", ".join(f"{name} {weight:.2f}" for name, weight in used.items())


def told(found: list[views.View], metric: str) -> list[str]:
    """A line a view: alone, and what the mean of all gains by it."""
    rows = []
    for one in found:
        alone = f"{np.mean(one.folds):.5f} ± {np.std(one.folds, ddof=1):.5f}"
        gain = one.gain
        worth = plus_minus(gain, 5) if gain else ""
        verdict = "helps" if gain and gain.is_positive else "hurts" if gain and gain.is_negative else "within noise"
        rows.append([one.name, alone, worth, verdict if gain else ""])
    header = ["view", f"{metric} alone", "gain ± noise (95 %)", ""]
    return lines(header, rows, right=header[1:3])


def conclusions(tried: list[Step], weights: Mapping[str, float], found: list[views.View]) -> list[str]:
    """What to do."""
    kept = next(step for step in tried if step.kept)
    if kept.name == views.EQUAL:
        said = [f"no weights are better than {views.EQUAL}, beyond noise: keep the mean of {len(found)} views"]
    else:
        said = [f"take: {kept.name} ({words(weights)}), {kept.gain.estimate:+.5f} on folds it has not seen"]  # type: ignore[union-attr]
    used = tuple(name for name, weight in weights.items() if weight >= 0.0005)
    return [*said, f"recipe: views={used!r}"]
