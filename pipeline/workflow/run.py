"""Runs a competition: the eight stages, from its archive to its submission. No other module knows their order.

data, table, pixels, folds (prepare.py); features, training, model (train.py); finish (finish.py). Each stage logs one
line: what was done, and how long it took.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

from pipeline import paths
from pipeline.config import Competition, RunOptions, apply_options, select_folds
from pipeline.data.pixel_cache import open_pixel_store
from pipeline.errors import StarshiftError
from pipeline.evaluation.metrics import find_metric
from pipeline.models import inference_engines
from pipeline.models.backend import find_backend, require_tensorflow
from pipeline.models.base import Base
from pipeline.runs.folder import is_finished, lock_run
from pipeline.runs.note import check_name, write_note
from pipeline.training.export import ModelExporter, PrecisionError
from pipeline.training.fold_job import run_lr_job
from pipeline.training.soft_targets import SoftTargets
from pipeline.workflow import prepare, train
from pipeline.workflow.context import Dataset, RunContext, log_stage
from pipeline.workflow.continuation import check_continued_pictures, check_continued_run
from pipeline.workflow.final_model import require_network, train_final_model
from pipeline.workflow.finish import find_finished_run, finish_run, open_run_folder

log = logging.getLogger(__name__)


def run(
    competition: Competition,
    options: RunOptions,
    *,
    final: bool = False,
    name: str | None = None,
    note: str | None = None,
) -> Path:
    """Runs a competition from its archive to its submission. Returns the run's folder.

    Args:
        competition: its recipe.
        options: of this run.
        final: train the final model, too; where this very run is finished, nothing but that.
        name: that the user gives the run.
        note: of the user on the run.

    Raises:
        StarshiftError: `final` for a strategy that trains no network; an unusable name; or an error of a stage.
    """
    started = time.perf_counter()
    competition = apply_options(competition, options)
    folds = select_folds(competition.recipe, options)
    inference_engines.check_engine(options.engine)
    _check_backend(options)
    log_home()
    if final:
        require_network(competition.recipe)
    if options.continued:
        check_continued_run(competition, options.continued, folds)
    finished = find_finished_run(competition, options) if final else None
    # An unfinished run may be this one, which is known once the pictures are read.
    check_name(competition.name, name or "", lambda one: one == finished or not is_finished(one))
    with train.open_exporter(competition.recipe) as exporter:
        data = prepare_dataset(competition, train.select_networks(competition.recipe), options)
        if options.continued:
            check_continued_pictures(data, options.continued)
            log.info("continue  from the weights of %s, with a new learning-rate schedule and optimizer",
                     options.continued.name)  # fmt: skip
        with lock_run(finished or open_run_folder(data.competition, options, folds)) as folder:
            write_note(folder, name, note)
            context = RunContext(
                competition=data.competition, options=options, data=data, folder=folder, folds=folds, started=started
            )
            if finished is None:
                train_and_finish(context, exporter)
            else:
                log.info("this run is finished: %s", paths.format_path(folder))
            if final:
                train_final_model(context)
            return folder


def log_home() -> None:
    """Logs the folder that everything is written to, and one that has runs but is not looked at."""
    home = paths.home_folder()
    log.info("home      %s", home)
    if other := paths.find_other_home():
        log.warning("  warning: the runs in %s are not seen from here; STARSHIFT_HOME=%s takes them", other, other)


def _check_backend(options: RunOptions) -> None:
    """Raises a StarshiftError where the backend is missing or lacks what the options ask for, before any download."""
    find_backend()
    if options.tensorboard:
        require_tensorflow("--tensorboard", "leave it out: history.csv in the run's folder has the same numbers")


def prepare_dataset(competition: Competition, bases: list[Base], options: RunOptions) -> Dataset:
    """Runs the first four stages: fetches, checks, decodes and splits a competition's pictures.

    Raises:
        StarshiftError: weights cannot be fetched, or data cannot be used.
    """
    find_metric(competition.metric)  # a misspelt one would show after the training only
    raw = prepare.fetch_data(competition, options)
    prepare.warn_of_synthetic_bases(competition, bases)
    prepare.fetch_weights(bases)
    pictures, sample = prepare.read_pictures(competition, raw, options)
    stores = {base.size: open_pixel_store(base.size) for base in bases}
    files, bad = prepare.decode_pictures(raw, pictures, stores)
    unreadable = prepare.log_unreadable(pictures, bad)
    pictures = prepare.assign_folds(competition, raw, pictures, bad, stores[bases[0].size], options)
    competition = prepare.learn_directions(competition, bases, files)
    return Dataset(
        competition=competition, raw=raw, pictures=pictures, sample=sample, files=files, unreadable=unreadable
    )


def train_and_finish(run: RunContext, exporter: ModelExporter | None, soft_targets: SoftTargets | None = None) -> Path:
    """Runs the last four stages: trains by the recipe's strategy, and writes the run's folder.

    Args:
        run: the run; its pictures are prepared.
        exporter: from `train.open_exporter`.
        soft_targets: of teachers, for the training pictures.
    """
    strategy = train.HeadTraining(run, exporter, soft_targets) if exporter else train.NetworkTraining(run, soft_targets)
    strategy.fill_caches()
    trained, results = strategy.train()
    try:
        results |= strategy.save_model(trained)
    except PrecisionError as error:
        if run.options.engine != "auto":
            raise
        log.warning("  warning: bfloat16 is too coarse for these heads (%s): once more in float32", error.received)
        with train.open_exporter(run.competition.recipe) as second:
            again = replace(run, options=replace(run.options, engine="openvino"))
            return train_and_finish(again, second, soft_targets)
    return finish_run(run, trained, results, strategy.device)


def find_learning_rate(competition: Competition, options: RunOptions) -> float:
    """Runs a range test on the first of the folds, plots it, and returns the learning rate to train with."""
    competition, started = apply_options(competition, options), time.perf_counter()
    recipe = competition.recipe
    if recipe.strategy == "features":
        raise StarshiftError("The strategy features has no learning rate.", expected="--strategy with another strategy")
    folds = select_folds(recipe, options)[:1]
    data = prepare_dataset(competition, train.select_networks(recipe), options)
    folder = paths.reports_folder(competition.name) / f"learning-rate-{recipe.strategy}"
    strategy = train.NetworkTraining(
        RunContext(competition=competition, options=options, data=data, folder=folder, folds=folds, started=started)
    )
    strategy.fill_caches()
    with log_stage("lr finder") as lines:
        job = strategy.cv.job
        suggested = float(run_lr_job(job)["suggested"])
        lines.append(f"{suggested:.1e} is suggested; the strategy's is {recipe.resolved_training.learning_rate:.1e}")
    log.info("wrote %s", paths.format_path(job.stem.with_suffix(".lr.png")))
    log.info("next: --set training.learning_rate=%.1e", suggested)
    return suggested
