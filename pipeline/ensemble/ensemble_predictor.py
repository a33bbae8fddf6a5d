"""Predicts new pictures with a run that is made of others: each member predicts, and what was fitted combines them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.ensemble.calibration import ProbabilityClipping
from pipeline.ensemble.log_linear import LogLinear
from pipeline.ensemble.methods import RANK_METHODS, RankAverage, WeightedAverage
from pipeline.errors import StarshiftError
from pipeline.evaluation.nested_cv import EstimatorChain, MemberPredictions, Predictor
from pipeline.runs import folder as runs
from pipeline.runs import load, predictor
from pipeline.runs.predictor import RunPredictor

LOG_LINEAR_METHODS = (
    "geometric mean", "best single, calibrated", "geometric weights", "signed weights", "stacked linear",
)  # fmt: skip
"""Methods that combine logarithms of probabilities."""


@dataclass(frozen=True, kw_only=True)
class EnsemblePredictor(RunPredictor):
    """A run made of others, ready to predict; the first member that is used knows the training pictures.

    Args:
        members: in the order of the weights; None for one without weight.
        fitted: combines their predictions.
    """

    members: Sequence[RunPredictor | None]
    fitted: Predictor

    def predict(
        self,
        pixels: Mapping[int, np.ndarray],
        digests: Sequence[str],
        extracted: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> np.ndarray:
        """See RunPredictor."""
        used = [one for one in self.members if one is not None]
        answers = iter([one.predict(pixels, digests, extracted if one is used[0] else None) for one in used])
        unused = np.full((len(digests), len(self.classes)), 1 / len(self.classes), np.float32)
        parts = [unused if one is None else next(answers) for one in self.members]
        return self.fitted.predict(MemberPredictions(np.stack(parts))).astype(np.float32)


def is_ensemble(folder: Path) -> bool:
    """Returns whether a run is made of others, and says what was fitted on them."""
    config = runs.read_config(folder)
    return bool(config.get("made_of")) and "fitted" in config


def can_predict(folder: Path) -> bool:
    """Returns whether a run can be asked: it has a model, or is made of others."""
    return predictor.has_model(folder) or is_ensemble(folder)


def load_any_predictor(folder: Path) -> RunPredictor:
    """Loads a finished run of either kind.

    Raises:
        StarshiftError: see `load_predictor` and `load_ensemble_predictor`.
    """
    return load_ensemble_predictor(folder) if is_ensemble(folder) else predictor.load_predictor(folder)


def load_ensemble_predictor(folder: Path) -> EnsemblePredictor:
    """Loads the members that have a weight, and what was fitted.

    Raises:
        StarshiftError: a member is gone or has no model, or a step compares pictures with each other.
    """
    run = load.load_run(folder)
    members = [folder.parent / one["run"] for one in run.config["made_of"]]
    fitted = read_fitted(run.config["fitted"], members, run.classes)
    weighed = find_weighed(run.config["fitted"], len(members))
    loaded = [_load_member(one) if used else None for one, used in zip(members, weighed, strict=True)]
    first = next(one for one in loaded if one is not None)
    return EnsemblePredictor(
        classes=tuple(run.classes),
        sizes=tuple(sorted({size for one in loaded if one for size in one.sizes})),
        views=first.views,
        extract=first.extract,
        classify=first.classify,
        neighbours=first.neighbours,
        members=loaded,
        fitted=fitted,
    )


def _load_member(folder: Path) -> RunPredictor:
    if not folder.is_dir():
        raise StarshiftError(f"The member {folder.name} is gone.", expected="the folders of all members",
                             received=f"no {folder.name}", remedy="make that run again")  # fmt: skip
    return load_any_predictor(folder)


def read_fitted(record: Mapping[str, Any], members: Sequence[Path], classes: Sequence[str]) -> Predictor:
    """Reads a fitted combination, as `record` of a Predictor wrote it.

    Args:
        record: from config.json.
        members: folders of the runs that it combines, whose ranks it may need.
        classes: in the order of the columns.

    Raises:
        StarshiftError: a step needs more of a picture than the members' predictions.
    """
    if "step" in record:
        return EstimatorChain(read_fitted(record["first"], members, classes), read_fitted(record["step"], [], classes))
    if "least" in record:
        return ProbabilityClipping(record["least"])
    if record.get("method") in RANK_METHODS or "ranked_among" in record:
        return RankAverage(_sort_oof(members, classes))
    weights = record.get("weights")
    if weights is None or (members and len(weights) != len(members)):
        raise StarshiftError(
            "This run has a step that new pictures cannot take alone.",
            expected="weights of its members, ranks, temperatures, class priors or clipping",
            received=", ".join(record),
            remedy="invoke predict with the run that it started from, or invoke ensemble --no-finish",
        )
    slopes, bias = (np.array(record[name]) if name in record else None for name in ("slopes", "bias"))
    in_logs = record.get("method") in LOG_LINEAR_METHODS or slopes is not None or bias is not None
    # One weight without a method is a temperature.
    if in_logs or (len(weights) == 1 and "method" not in record):
        return LogLinear(np.array(weights), slopes, bias)
    return WeightedAverage(np.array(weights))


def _sort_oof(members: Sequence[Path], classes: Sequence[str]) -> np.ndarray:
    """Sorts the members' out-of-fold probabilities: (members, classes, pictures)."""
    loaded = [load.load_run(folder) for folder in members]
    predictions = np.stack([run.align(loaded[0].held_ids, classes) for run in loaded])
    return np.sort(predictions, axis=1).transpose(0, 2, 1)


def find_weighed(record: Mapping[str, Any], count: int) -> list[bool]:
    """Returns for each member whether the combination uses it."""
    while "first" in record:
        record = record["first"]
    if "weights" not in record:
        return [True] * count
    slopes = np.array(record.get("slopes", np.zeros((count, 1))))
    return [bool(weight or np.any(slope)) for weight, slope in zip(record["weights"], slopes, strict=True)]
