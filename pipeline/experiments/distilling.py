"""A student taught by what other runs or learnwares know, beside the same student taught by labels alone.

Both are runs like any other, with the same recipe, folds and seed. Their networks are stopped where they do best on the
pictures that they are judged on, as on every rung; that flatters both alike, and the difference is what counts.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline import flow, paths, results, runs, schooling
from pipeline.config import Competition, Recipe
from pipeline.errors import StarshiftError, require
from pipeline.experiments import judging, sizing, teachers
from pipeline.experiments.teachers import Teacher
from pipeline.files import sha256_of_json
from pipeline.ledger import reading
from pipeline.models.scratch import networks_of
from pipeline.options import Options, folds_asked
from pipeline.preparation import Data, prepare, stage
from pipeline.recipe import FROM_NOTHING
from pipeline.report import distilled as report
from pipeline.training import assemble
from pipeline.training.activations import views_of
from pipeline.training.distilled import Distillation
from pipeline.training.lessons import FILE, Lesson

log = logging.getLogger(__name__)


def distill(competition: Competition, asked: Distillation, options: Options, seeds: int = 1) -> list[Path]:
    """Trains students with and without teachers, and tells what came of it. Returns the report's files.

    Args:
        competition: its recipe is the student's.
        asked: teachers, temperature, weight.
        options: from the command line; `folds` trains some only.
        seeds: how many, from the recipe's on.
    """
    recipe = competition.recipe
    require(recipe.head != "gaussian", "This head has no use for soft targets.", expected="--head linear or dense",
            received=recipe.head)  # fmt: skip
    views = views_needed(recipe, patient=asked.patient)
    known = teachers.found(competition, asked.teachers)
    nested = asked.nested and bool(teachers.runs_of(known))
    asked = replace(asked, teachers=tuple(one.name for one in known), nested=nested)
    seeing = [base for one in known for base in one.looks_through()] if asked.patient or asked.nested else []
    data = prepare(competition, [networks_of(recipe)[0], *seeing], options)
    competition = data.competition
    recipe = competition.recipe
    for one in known:
        one.fitting(data)
    with stage("teachers") as said:
        lesson = teachers.lesson_of(asked, known, data, views, options.engine)
        said.append(f"{', '.join(asked.teachers)}: {len(data.labels):,} pictures in {len(lesson.views) or 1} views")
    if recipe.rung == "features" and recipe.head == "linear" and seeds > 1:
        log.info("seeds     a linear head has nothing random in it: one seed says all")
        seeds = 1
    alone, taught = [], []
    for seed in range(recipe.seed, recipe.seed + seeds):
        own = replace(competition, recipe=replace(recipe, seed=seed))
        log.info("")
        log.info("student   %s, %s, seed %d, labels alone", networks_of(recipe)[0], recipe.rung, seed)
        alone.append(on_labels(own, options))
        log.info("")
        log.info("student   %s, %s, seed %d, distilled", networks_of(recipe)[0], recipe.rung, seed)
        taught.append(on_targets(own, asked, lesson, known, data, options))
    return told(competition, asked, known, data, (alone, taught), options)


def views_needed(recipe: Recipe, *, patient: bool) -> tuple[str, ...]:
    """The views that a patient teacher has to answer for.

    Raises:
        StarshiftError: it would have to, for views that are drawn anew in every epoch.
    """
    regime = recipe.regime
    fresh = recipe.rung in FROM_NOTHING or (
        recipe.rung != "features" and (regime.end_to_end or regime.sizes or regime.polish or len(views_of(regime)) < 2)
    )
    if patient and fresh:
        raise StarshiftError(
            "A patient teacher answers for cached views, and this student is shown fresh ones.",
            expected="--rung features, frozen or finetune with cached views, without end_to_end, sizes and polish",
            received=f"--rung {recipe.rung}",
            remedy="leave --patient away, or train from cached views",
        )
    own = () if recipe.rung == "features" else views_of(regime)
    return tuple(dict.fromkeys((*recipe.training_views, *own)))


def on_labels(competition: Competition, options: Options) -> Path:
    """The run on labels alone, trained where there is none of this recipe and seed."""
    plain = replace(options, practice=True, force=False)
    done = flow.finished(competition, plain)
    if done is not None:
        log.info("          %s is done already", done.name)
    return done or flow.run(competition, plain)


def on_targets(
    competition: Competition,
    asked: Distillation,
    lesson: Lesson,
    known: Sequence[Teacher],
    data: Data,
    options: Options,
) -> Path:
    """The run with teachers; an interrupted one goes on, a finished one is taken as it is."""
    started, rung = time.perf_counter(), competition.recipe.rung
    folds = folds_asked(competition.recipe, options)
    decides = results.decides(competition, options, folds)
    decides["competition"]["recipe"]["rung"] = "distill"
    decides["distillation"] = {
        **asdict(asked), "rung": rung, "taught_by": [one.record for one in known], "targets": lesson.taught().digest,
    }  # fmt: skip
    fingerprint = sha256_of_json(decides)
    if (done := runs.found(competition.name, fingerprint)) is not None:
        log.info("          %s is done already", done.name)
        return done
    folder = runs.create(competition.name, "distill", decides, fingerprint)
    run = results.UnderWay(
        competition=competition, options=options, data=data, folder=folder, folds=folds, started=started
    )
    if rung == "features":
        assembly = assemble.Assembly()
        try:
            flow.headed(run, assembly, lesson)
        finally:
            assembly.stop()
    else:
        data, setting = schooling.setting_of(competition, options, folds, folder)
        schooling.schooled(replace(run, data=data), replace(setting, lesson=lesson))
    (folder / FILE).unlink(missing_ok=True)  # large, and made again from the teachers
    return folder


def told(
    competition: Competition,
    asked: Distillation,
    known: Sequence[Teacher],
    data: Data,
    students: tuple[Sequence[Path], Sequence[Path]],
    options: Options,
) -> list[Path]:
    """Measures, prints and writes the report."""
    alone, taught = ([reading.opened(folder) for folder in each] for each in students)
    row = {name: number for number, name in enumerate(data.pictures.train["id"])}
    ids = [name for name in data.pictures.train["id"] if name in alone[0].held]
    columns = [alone[0].classes.index(name) for name in data.pictures.classes]
    judged = judging.Judged(
        metric=competition.metric,
        positive=results.positive_class(competition, data),
        truth=data.labels[[row[name] for name in ids]],
        fold_of=data.pictures.train["fold"].to_numpy()[[row[name] for name in ids]],
        teacher=np.mean([one.told(data) for one in known], axis=0)[[row[name] for name in ids]],
        before=np.stack([[one.held[name] for name in ids] for one in alone])[:, :, columns],
        after=np.stack([[one.held[name] for name in ids] for one in taught])[:, :, columns],
        held=1 / competition.recipe.folds if competition.recipe.folds > 1 else competition.recipe.holdout,
    )
    with stage("costs"):
        costs = [
            teachers.cost(known, data, options.engine),
            *(sizing.cost(each[:1], data, options.engine) for each in students),
        ]
    finding = report.Finding(
        competition=competition.name,
        student=str(networks_of(competition.recipe)[0]),
        rung=competition.recipe.rung,
        asked={**asdict(asked), "teachers": list(asked.teachers)},
        runs={"labels alone": [one.name for one in students[0]], "distilled": [one.name for one in students[1]]},
        sides=[
            replace(side, cost=asdict(cost)) for side, cost in zip(judging.sides(judged), costs, strict=True)
        ],
        gains=judging.gains(judged),
        metric=competition.metric,
        flattered=not asked.nested and bool(teachers.runs_of(known)),
    )  # fmt: skip
    return report.told(finding, paths.reports_folder(competition.name))
