"""Trains a student on soft targets of teachers (runs or learnwares), beside the same student on labels alone.

Both are runs like any other, with the same recipe, folds and seed. Their networks are stopped where they do best on the
pictures that they are judged on, as on every strategy; that flatters both alike, and the difference is what counts.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.config import HEADS, SCRATCH_STRATEGIES, Competition, Recipe, RunOptions, select_folds
from pipeline.distillation import model_cost, report, teachers
from pipeline.distillation.teachers import Teacher
from pipeline.errors import StarshiftError, require
from pipeline.files import hash_json
from pipeline.models.base import list_networks
from pipeline.output import print_lines
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.training.cross_validation import list_cached_views
from pipeline.training.soft_targets import TARGETS_FILE, DistillationConfig, SoftTargets
from pipeline.workflow import finish
from pipeline.workflow import run as flow
from pipeline.workflow.context import Dataset, RunContext, log_stage
from pipeline.workflow.finish import find_finished_run
from pipeline.workflow.run import prepare_dataset
from pipeline.workflow.train import open_exporter, select_networks

log = logging.getLogger(__name__)


def run_distillation(
    competition: Competition, config: DistillationConfig, options: RunOptions, seeds: int = 1
) -> list[Path]:
    """Trains students with and without teachers and compares them. Returns the report's files.

    Args:
        competition: its recipe is the student's.
        config: teachers, temperature, weight.
        options: from the command line; `folds` trains some only.
        seeds: how many, from the recipe's on.
    """
    recipe = competition.recipe
    able = [name for name, info in HEADS.items() if info.takes_soft_targets]
    require(recipe.head in able, "This head has no use for soft targets.", expected=f"--head {' or '.join(able)}",
            received=recipe.head)  # fmt: skip
    views = list_required_views(recipe, patient=config.patient)
    teacher_list = teachers.find_teachers(competition, config.teachers)
    nested = config.nested and bool(teachers.list_run_folders(teacher_list))
    config = replace(config, teachers=tuple(one.name for one in teacher_list), nested=nested)
    seeing = [base for one in teacher_list for base in one.list_bases()] if config.patient or config.nested else []
    data = prepare_dataset(competition, [list_networks(recipe)[0], *seeing], options)
    competition = data.competition
    recipe = competition.recipe
    for one in teacher_list:
        one.check_data(data)
    with log_stage("teachers") as notes:
        targets = teachers.build_soft_targets(config, teacher_list, data, views, options.engine)
        notes.append(f"{', '.join(config.teachers)}: {len(data.labels):,} pictures in {len(targets.views) or 1} views")
    if recipe.strategy == "features" and recipe.head == "linear" and seeds > 1:
        log.info("seeds     a linear head has nothing random in it: one seed says all")
        seeds = 1
    alone, distilled = [], []
    for seed in range(recipe.seed, recipe.seed + seeds):
        own = replace(competition, recipe=replace(recipe, seed=seed))
        student = f"student   {list_networks(recipe)[0]}, {recipe.strategy}, seed {seed}"
        print_lines([f"{student}, labels alone"])
        alone.append(train_on_labels(own, options))
        print_lines([f"{student}, distilled"])
        distilled.append(train_on_soft_targets(own, config, targets, teacher_list, data, options))
    return evaluate_students(competition, config, teacher_list, data, (alone, distilled), options)


def list_required_views(recipe: Recipe, *, patient: bool) -> tuple[str, ...]:
    """Lists the views that a patient teacher has to predict.

    Raises:
        StarshiftError: it would have to, for views that are drawn anew in every epoch.
    """
    training = recipe.resolved_training
    fresh = recipe.strategy in SCRATCH_STRATEGIES or (
        recipe.strategy != "features"
        and (training.end_to_end or training.sizes or training.polish or len(list_cached_views(training)) < 2)
    )
    if patient and fresh:
        raise StarshiftError(
            "A patient teacher answers for cached views, and this student is shown fresh ones.",
            expected="--strategy features, frozen or finetune with cached views, without end_to_end, sizes and polish",
            received=f"--strategy {recipe.strategy}",
            remedy="leave --patient away, or train from cached views",
        )
    own = () if recipe.strategy == "features" else list_cached_views(training)
    return tuple(dict.fromkeys((*recipe.training_views, *own)))


def train_on_labels(competition: Competition, options: RunOptions) -> Path:
    """Trains the student on labels alone, unless that run exists."""
    plain = replace(options, skip_submission=True, force=False)
    done = find_finished_run(competition, plain)
    if done is not None:
        log.info("          %s is done already", done.name)
    return done or flow.run(competition, plain)


def train_on_soft_targets(
    competition: Competition,
    config: DistillationConfig,
    targets: SoftTargets,
    teacher_list: Sequence[Teacher],
    data: Dataset,
    options: RunOptions,
) -> Path:
    """Trains the student on soft targets; an interrupted run is continued, a finished one returned."""
    started, strategy = time.perf_counter(), competition.recipe.strategy
    folds = select_folds(competition.recipe, options)
    decides = finish.build_run_config(competition, options, folds)
    decides["competition"]["recipe"]["strategy"] = "distill"
    decides["distillation"] = {
        **asdict(config), "strategy": strategy, "teacher_records": [one.record for one in teacher_list],
        "targets": targets.info().digest,
    }  # fmt: skip
    fingerprint = hash_json(decides)
    if (done := runs.find_run(competition.name, fingerprint)) is not None:
        log.info("          %s is done already", done.name)
        return done
    folder = runs.create_run_folder(competition.name, "distill", decides, fingerprint)
    run = RunContext(competition=competition, options=options, data=data, folder=folder, folds=folds, started=started)
    with open_exporter(competition.recipe) as exporter:
        if exporter is None:  # the student's pictures may have another size than its teachers'
            run = replace(run, data=prepare_dataset(competition, select_networks(competition.recipe), options))
        flow.train_and_finish(run, exporter, targets)
    (folder / TARGETS_FILE).unlink(missing_ok=True)  # large, and made again from the teachers
    return folder


def evaluate_students(
    competition: Competition,
    config: DistillationConfig,
    teacher_list: Sequence[Teacher],
    data: Dataset,
    students: tuple[Sequence[Path], Sequence[Path]],
    options: RunOptions,
) -> list[Path]:
    """Returns measures, prints and writes the report."""
    alone, distilled = ([load.load_run(folder) for folder in each] for each in students)
    train, classes = data.pictures.train, data.pictures.classes
    rows = train["id"].isin(alone[0].held_ids).to_numpy()
    ids = list(train["id"][rows])
    judged = report.DistillationEvaluation(
        metric=competition.metric,
        positive=data.positive,
        truth=data.labels[rows],
        fold_of=train["fold"].to_numpy()[rows],
        teacher=np.mean([one.predict(data) for one in teacher_list], axis=0)[rows],
        before=np.stack([one.align(ids, classes) for one in alone]),
        after=np.stack([one.align(ids, classes) for one in distilled]),
        validation_share=1 / competition.recipe.folds if competition.recipe.folds > 1 else competition.recipe.holdout,
        group_of=data.group_of[rows],
    )
    with log_stage("costs"):
        costs = [
            teachers.measure_teacher_cost(teacher_list, data, options.engine),
            *(model_cost.measure_cost(each[:1], data, options.engine) for each in students),
        ]
    finding = report.DistillationSummary(
        competition=competition.name,
        student=str(list_networks(competition.recipe)[0]),
        strategy=competition.recipe.strategy,
        asked={**asdict(config), "teachers": list(config.teachers)},
        runs={"labels alone": [one.name for one in students[0]], "distilled": [one.name for one in students[1]]},
        sides=[
            replace(side, cost=asdict(cost)) for side, cost in zip(report.score_sides(judged), costs, strict=True)
        ],
        gains=report.compute_gains(judged),
        metric=competition.metric,
        flattered=not config.nested and bool(teachers.list_run_folders(teacher_list)),
    )  # fmt: skip
    return report.write_distillation_report(finding, paths.reports_folder(competition.name))
