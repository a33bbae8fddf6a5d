"""The stages of a run in their order; nothing else knows it. One line a stage: what was done, and how long it took."""

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline import runs, schooling
from pipeline.closing import with_spread
from pipeline.config import Competition
from pipeline.dataset import pixels
from pipeline.features.extract import Extractor
from pipeline.models import choice
from pipeline.models.engines import precision_of
from pipeline.models.scratch import networks_of
from pipeline.options import Options, as_made, folds_asked
from pipeline.preparation import Data, prepare, stage
from pipeline.results import UnderWay, close, finished, measured, run_folder
from pipeline.schooling import find_rate
from pipeline.training import activations, assemble, features
from pipeline.training.handover import CoarseError, positions
from pipeline.training.lessons import Lesson

__all__ = ["Data", "Options", "extract", "find_rate", "finished", "measured", "prepare", "run", "stage"]
log = logging.getLogger(__name__)
CHOSEN_ON_FOLDS = {"linear": "strength", "gaussian": "shrinkage and scale"}
"""What a head asks of the other folds, where there are any."""


def extract(
    extractors: list[Extractor], digests: list[str], views: tuple[str, ...], said: list[str] | None = None
) -> dict[str, np.ndarray]:
    """Features (pictures, width) float32 of all bases, concatenated, for each view."""
    found = {}
    for view in views:
        parts = [extractor.features(digests, view) for extractor in extractors]
        found[view] = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    if said is not None:
        said.append(f"{len(digests):,} x {next(iter(found.values())).shape[1]} in {len(views)} views")
    return found


def of_held(extractors: list[Extractor], data: Data, views: tuple[str, ...], held: np.ndarray) -> dict[str, np.ndarray]:
    """Features (training pictures, width) float32 for each view of the pictures that are `held` (bool), else NaN."""
    rows = extract(extractors, list(data.pictures.train["sha256"][held]), views)
    found = {view: np.full((len(held), values.shape[1]), np.nan, np.float32) for view, values in rows.items()}
    for view, values in rows.items():
        found[view][held] = values
    return found


def run(competition: Competition, options: Options) -> Path:
    """The whole way: from the archive to the submission. Returns the run's folder."""
    started = time.perf_counter()
    competition = as_made(competition, options)
    recipe, folds = competition.recipe, folds_asked(competition.recipe, options)
    choice.known(options.engine)
    if recipe.rung != "features":
        return schooling.run(competition, options, folds, started)
    assembly = assemble.Assembly()
    try:
        data = prepare(competition, networks_of(recipe), options)
        competition = data.competition
        with runs.begun(run_folder(competition, options, folds)) as folder:
            run = UnderWay(
                competition=competition, options=options, data=data, folder=folder, folds=folds, started=started
            )
            return headed(run, assembly)
    finally:
        assembly.stop()


def headed(run: UnderWay, assembly: assemble.Assembly, lesson: Lesson | None = None) -> Path:
    """Heads on cached features, and their run closed. Returns its folder.

    Where bfloat16 was chosen for its speed and turns out too coarse for the heads, all of it is done in float32.

    Args:
        run: that has begun.
        assembly: builds the live model meanwhile.
        lesson: what teachers say of the training pictures.
    """
    try:
        return _headed(run, assembly, lesson)
    except CoarseError as error:
        if run.options.engine != "auto":
            raise
        log.warning("  warning: bfloat16 is too coarse for these heads (%s): once more in float32", error.received)
    again = assemble.Assembly()
    try:
        return _headed(replace(run, options=replace(run.options, engine="openvino")), again, lesson)
    finally:
        again.stop()


def _headed(run: UnderWay, assembly: assemble.Assembly, lesson: Lesson | None) -> Path:
    """The same with the engine that is asked for or chosen."""
    competition, data, recipe = run.competition, run.data, run.competition.recipe
    bases = networks_of(recipe)
    assembly.begin(bases)
    force = run.options.force or run.options.recompute
    extractors = [Extractor(base, data.files, wanted=run.options.engine, force=force) for base in bases]
    train_features, test_features = _seen(run, extractors)
    with stage("heads") as said:
        trained = features.train(
            recipe,
            train_features=train_features,
            test_features=test_features,
            labels=data.labels,
            fold_of=data.pictures.train["fold"].to_numpy(),
            folds=run.folds,
            classes=len(data.pictures.classes),
            lesson=lesson,
        )
        results = measured(competition, data, trained)
        said.append(f"{competition.metric} {with_spread(results)} over {len(run.folds)} folds")
        if len(run.folds) == 1 and recipe.strength is None and (what := CHOSEN_ON_FOLDS.get(recipe.head)):
            said.append(f"one fold alone chooses its {what} on the pictures that score it")
    with stage("model") as said:
        difference = hand_over(assembly, run.folder, extractors, data, trained)
        said.append(f"live and cached predictions differ by at most {difference:.1e}")
    results["hand_over"] = difference
    results["parameters"] = sum(array.size for layer in trained.heads[0].layers for array in layer)
    chosen = {str(one.base): one.choose(()) for one in extractors}
    results["engines"] = {name: asdict(choice) for name, choice in chosen.items()}
    return close(run, trained, results, device=", ".join(choice.engine for choice in chosen.values()))


def _seen(run: UnderWay, extractors: list[Extractor]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the bases see of training and of test pictures, each as `extract` gives it, in the views that are asked for.

    With `keep`, what a later rung will want is kept from the same pass.
    """
    data, recipe, keep = run.data, run.competition.recipe, run.options.keep
    fold_of = data.pictures.train["fold"].to_numpy()
    train, test = list(data.pictures.train["sha256"]), list(data.pictures.test["sha256"][data.test_readable])
    if keep:
        to_train = activations.trained_on(train, fold_of, run.folds)
        to_predict = activations.predicted(train, test, fold_of, run.folds)
        asked = activations.wanted(keep, recipe.views, to_train, to_predict)
        extractors[0].keeping = activations.kept(extractors[0].base, keep, asked)
    with stage("features") as said:
        of_train = extract(extractors, train, recipe.training_views, said)
        only_predicted = tuple(view for view in recipe.views if view not in recipe.training_views)
        of_train |= of_held(extractors, data, only_predicted, np.isin(fold_of, run.folds))
        of_test = extract(extractors, test, recipe.views, said) if test else {v: of_train[v][:0] for v in recipe.views}
        if only_predicted:
            said.append(f"the training ones in {len(only_predicted)} more, to predict them")
        engines = dict.fromkeys(extractor.choose(train).engine for extractor in extractors)
        computed = sum(extractor.computed for extractor in extractors)
        said.append(f"{computed:,} computed by {', '.join(engines)}, the rest cached")
    return of_train, of_test


def hand_over(
    assembly: assemble.Assembly, folder: Path, extractors: list[Extractor], data: Data, trained: features.Trained
) -> float:
    """Puts the heads on the live bases, and holds that model against the cached features on a few pictures."""
    digests = list(data.pictures.train["sha256"].iloc[positions(len(data.pictures.train))])
    cached = extract(extractors, digests, ("plain",))["plain"]
    shown = {e.base.size: pixels.read(e.store, digests, data.files) for e in extractors}
    used = {precision_of(extractor.choose(digests).engine) for extractor in extractors}
    return assembly.finish(folder, trained.heads, shown, cached, "bfloat16" if "bfloat16" in used else "float32")
