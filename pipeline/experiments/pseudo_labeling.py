"""Trains a run on features with pseudo-labels of confident test predictions, and writes it only if that helps."""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Competition, Recipe, RunOptions
from pipeline.errors import require
from pipeline.evaluation.intervals import estimate_difference
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.features.extractor import Extractor
from pipeline.figures.step_table import StepResult, format_step_table, format_total_gain
from pipeline.files import hash_json
from pipeline.models.base import list_networks
from pipeline.output import print_results
from pipeline.runs import folder as runs
from pipeline.terminal import open_bar, paint_verdict
from pipeline.training import export, linear_probe
from pipeline.training.pseudo_labels import PseudoLabelData, PseudoLabelFold, PseudoLabelRule, PseudoLabelTrainer
from pipeline.workflow import finish
from pipeline.workflow.context import Dataset, RunContext, log_stage
from pipeline.workflow.run import prepare_dataset
from pipeline.workflow.train import export_model, extract_features

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PseudoLabelHeads:
    """Heads before and after, and what they say.

    Args:
        students: one a fold.
        before: as `linear_probe.train_heads` gives it, of the heads before.
        after: of the heads after.
        l2: of the L2, the one that the run without pseudo-labels chose.
    """

    students: list[PseudoLabelFold]
    before: linear_probe.CVResult
    after: linear_probe.CVResult
    l2: float


def run_pseudo_labels(competition: Competition, rule: PseudoLabelRule, options: RunOptions) -> Path | None:
    """Trains with pseudo-labels beside training without. Returns the run's folder; None where it does not help.

    Args:
        competition: its recipe's strategy is `features`, its head linear.
        rule: which test pictures are learned from.
        options: from the command line.
    """
    recipe, started = competition.recipe, time.perf_counter()
    for name, value, wanted in (("strategy", recipe.strategy, "features"), ("head", recipe.head, "linear")):
        require(value == wanted, f"Pseudo-labels need the {name} {wanted}.", expected=wanted, received=value)
    require(recipe.folds > 2, "Pseudo-labels need three folds.", expected="folds=3 or more", received=recipe.folds)
    assembly = export.ModelExporter()
    try:
        data = prepare_dataset(competition, list_networks(recipe), options)
        competition = data.competition
        recipe = competition.recipe
        bases = list_networks(recipe)
        assembly.begin(bases)
        require(data.test_readable.any(), "There are no test pictures to learn from.", expected="some", received=0)
        extractors = [Extractor(base, data.files, wanted=options.engine) for base in bases]
        with log_stage("features") as notes:
            views = tuple(dict.fromkeys((*recipe.training_views, *recipe.views)))
            train = extract_features(extractors, data.train_digests, views, notes)
            test = extract_features(extractors, data.test_digests, views, notes)
        trained = train_heads(recipe, rule, data, train, test)
        if not evaluate_gain(competition, data, trained, rule):
            return None
        folder = write_run(competition, options, data, trained, rule, (assembly, extractors), started)
        print_results({"made": folder.name})
        return folder
    finally:
        assembly.stop()


def train_heads(
    recipe: Recipe, rule: PseudoLabelRule, data: Dataset, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> PseudoLabelHeads:
    """Trains the run's own heads, which choose L2 and scales; then every fold's head before and after."""
    folds, fold_of = tuple(range(recipe.folds)), data.fold_of
    classes = len(data.pictures.classes)
    with log_stage("heads") as notes:
        first = linear_probe.train_heads(
            recipe, train_features=train, test_features=test, labels=data.labels, fold_of=fold_of, folds=folds,
            classes=classes,
        )  # fmt: skip
        chosen = [record for record in first.history if record["chosen"]]
        l2, scales = float(chosen[0]["l2"]), {record["fold"]: record["scale"] for record in chosen}
        notes.append(f"l2 {l2:.1e}")
    with log_stage("pseudo") as notes:
        material = PseudoLabelData(
            train=train, test=test, labels=data.labels, fold_of=fold_of, classes=classes, l2=l2,
            scales=scales,
        )  # fmt: skip
        teacher = PseudoLabelTrainer(recipe, material, rule)
        students = [teacher.teach(fold, folds) for fold in open_bar(folds, desc="pseudo-labels", unit="fold")]
        notes.append(f"{np.mean([len(one.rows) for one in students]):,.0f} test pictures a fold")
    before, after = (
        linear_probe.predict_with_heads(
            recipe, [getattr(one, which) for one in students], first.history, folds, train, test, fold_of
        )
        for which in ("before", "after")
    )
    return PseudoLabelHeads(students=students, before=before, after=after, l2=l2)


def evaluate_gain(competition: Competition, data: Dataset, trained: PseudoLabelHeads, rule: PseudoLabelRule) -> bool:
    """Prints the pseudo-labels of each fold and their gain. Returns whether it helps beyond noise."""
    tests, few = int(data.test_readable.sum()), "no threshold is precise enough"
    for one in trained.students:
        sure = f"{one.threshold:.3f} and more ({one.precision:.1%} right)" if one.threshold is not None else few
        log.info("  fold %d: %d of %d test pictures, %s", one.fold, len(one.rows), tests, sure)
    oof = OOFPredictions.build(
        [trained.before.oof, trained.after.oof], data.labels, data.fold_of,
        competition.metric, data.positive, data.group_of,
    )  # fmt: skip
    before, after = (oof.by_fold(values) for values in oof.part.predictions)
    difference = estimate_difference(oof, *oof.part.predictions)
    gain = difference if oof.higher else -difference
    first = StepResult(kind="step", name="labels alone", folds=before, kept=True)
    step = StepResult(kind="step", name="pseudo-labels", folds=after, against=first.name, gain=gain)
    step = step.taken(step.helps, f"cap {rule.cap:.0%}, weight {rule.weight:g}, precision {rule.precision:.0%}")
    total = format_total_gain([first, step], oof.metric, difference)
    refusal = "pseudo-labels do not help beyond noise: nothing is written"
    print_results(
        {"metric": oof.metric, "folds": build_fold_records(trained), "steps": [one.record() for one in (first, step)],
         "made": None},
        format_step_table([first, step], oof.metric), [paint_verdict(total) if step.kept else refusal],
    )  # fmt: skip
    return step.kept


def build_fold_records(trained: PseudoLabelHeads) -> list[dict[str, Any]]:
    """Builds one record a fold: how many test pictures were learned from, and how sure they are."""
    return [
        {"fold": one.fold, "pictures": len(one.rows), "threshold": one.threshold, "precision": one.precision}
        for one in trained.students
    ]


def write_run(
    competition: Competition,
    options: RunOptions,
    data: Dataset,
    trained: PseudoLabelHeads,
    rule: PseudoLabelRule,
    live: tuple[export.ModelExporter, list[Extractor]],
    started: float,
) -> Path:
    """Writes the run with pseudo-labels, its model with it."""
    decides = finish.build_run_config(competition, options, trained.after.folds)
    decides["competition"]["recipe"]["strategy"] = "pseudo"
    decides["pseudo"] = asdict(rule)
    folder = runs.create_run_folder(competition.name, "pseudo", decides, hash_json(decides))
    assembly, extractors = live
    result = finish.compute_metrics(competition, data, trained.after)
    with log_stage("model") as notes:
        result |= export_model(assembly, folder, extractors, data, trained.after, notes)
    result["before"] = finish.compute_metrics(competition, data, trained.before)["score"]
    result["l2"] = trained.l2
    result["pseudo"] = build_fold_records(trained)
    result["parameters"] = sum(array.size for layer in trained.after.heads[0].layers for array in layer)
    device = ", ".join(one.choose([]).engine for one in extractors)
    run = RunContext(
        competition=competition, options=options, data=data, folder=folder, folds=trained.after.folds, started=started
    )
    return finish.finish_run(run, trained.after, result, device)
