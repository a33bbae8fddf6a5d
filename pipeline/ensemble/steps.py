"""Tries steps one after the other, each scored by nested cross-validation, and keeps those that help.

A choice among predictions is kept where it scores better, a correction only where it is better beyond noise. Which
corrections are tried is in the metric's record.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pipeline.ensemble import calibration, methods, scene_propagation
from pipeline.ensemble.pair_classifier import PairClassifierStep
from pipeline.ensemble.scene_propagation import SceneSteps
from pipeline.evaluation.intervals import estimate_gain
from pipeline.evaluation.metrics import find_metric
from pipeline.evaluation.nested_cv import (
    BetterOfTwo,
    ChainedProcedure,
    FunctionProcedure,
    OOFPredictions,
    Predictor,
    Procedure,
)
from pipeline.figures.step_table import StepResult
from pipeline.terminal import open_bar

log = logging.getLogger(__name__)
RANK_MEAN = "rank mean"
StepFunction = Callable[[OOFPredictions], Predictor]


def evaluate_procedure(kind: str, procedure: Procedure, before: Procedure | None) -> StepResult:
    """Scores a procedure on folds that it was not fitted on, and its gain over another one.

    Args:
        kind: `method` or `step`.
        procedure: what is tried.
        before: what it is compared with; None where it comes first.
    """
    oof = procedure.oof
    after = procedure.out_of(oof.folds)
    step = StepResult(kind=kind, name=procedure.name, folds=oof.by_fold(after))
    if before is None:
        return step
    return replace(step, against=before.name, gain=estimate_gain(oof, before.out_of(oof.folds), after))


class StepwiseSelection:
    """Steps from a first procedure on; what helps is built upon.

    Args:
        first: where it starts.
        note: what the table says of it.
    """

    def __init__(self, first: Procedure, note: str = "") -> None:
        self.first = self.current = first
        self.steps = [evaluate_procedure("step", first, None).taken(True, note)]

    def attempt(self, procedure: Procedure, note: str = "", *, beyond_noise: bool = True) -> bool:
        """Tries a step against the current procedure. Returns whether it was kept.

        Args:
            procedure: the step, with all that comes before it.
            note: what the table says of it.
            beyond_noise: keep it only if it is better beyond noise; else if it is better at all, and then each fold is
                judged by what the other folds would have kept.
        """
        step, either = evaluate_procedure("step", procedure, self.current), BetterOfTwo(self.current, procedure)
        kept = step.helps
        if not beyond_noise and either.is_later(procedure.oof.folds):
            honest = evaluate_procedure("step", either, self.current)
            if honest.better:
                step, procedure, kept = honest, either, True
        self.steps.append(step.taken(kept, note))
        self.current = procedure if kept else self.current
        return kept

    def then(self, name: str, function: StepFunction, format_record: Callable[[dict[str, Any]], str]) -> bool:
        """Tries a step on what the current procedure predicts.

        Args:
            name: of the step.
            function: fits it.
            format_record: puts what was fitted on all folds into words.
        """
        procedure = ChainedProcedure(self.current, name, function)
        record = procedure.on(procedure.oof.folds).record()["step"]
        if "not_tried" in record:
            step = evaluate_procedure("step", procedure, self.current)
            self.steps.append(replace(step, gain=None, note=record["not_tried"]))
            return False
        return self.attempt(procedure, format_record(record))


def try_steps(
    selection: StepwiseSelection, classes: Sequence[str], scenes: SceneSteps | None = None, *, several: bool
) -> None:
    """Tries the steps that fit the metric.

    Args:
        selection: what there is so far; its pictures have features where a specialist is to be tried.
        classes: names.
        scenes: fits the steps for pictures of one scene, which are tried last, for they take the longest.
        several: whether there are several members, which ranks can be averaged of.
    """
    oof = selection.current.oof
    ranked = selection.current.on(oof.folds).record().get("method") == RANK_MEAN
    if oof.scorer.score_ranks and several and not ranked:
        selection.attempt(FunctionProcedure(oof, "rank averaging", methods.METHODS[RANK_MEAN]))
    for name in open_bar(oof.scorer.corrections, desc="corrections", unit="step"):
        selection.then(
            name, calibration.CORRECTIONS[name], lambda record: calibration.format_calibration(record, classes)
        )
    if oof.part.features is not None:
        selection.then(
            "pair specialist", PairClassifierStep(), lambda record: " and ".join(classes[n] for n in record["pair"])
        )
    if scenes is not None:
        selection.then("labels of the scene", scenes.labelled, scene_propagation.format_link_shares)
        selection.then("scenes agree", scenes.agreeing, scene_propagation.format_link_shares)


def needs_features(metric: str, classes: int) -> bool:
    """Returns whether a pair classifier can help."""
    return find_metric(metric).counts_correct and classes > 2
