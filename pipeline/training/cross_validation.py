"""Cross-validates the strategies that train a network: caches are filled once for all folds, then each fold is a job.

Fine-tuning starts from activations at the cut of the base, cached where the disk has room for them.
"""

import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.config import SCRATCH_STRATEGIES, SYMMETRY_VIEWS, Training
from pipeline.features.cache import open_feature_store
from pipeline.features.extractor import ActivationCapture, Extractor
from pipeline.models import cuts
from pipeline.models.base import Base
from pipeline.models.inference_engines import EngineChoice, find_precision
from pipeline.training import fold_job
from pipeline.training.fold_job import FoldJob
from pipeline.training.linear_probe import CVResult

log = logging.getLogger(__name__)
DISK_MARGIN = 2 << 30
"""Bytes of the disk that activations leave free."""
FORWARDS_PER_STEP = 3.0
"""A training step costs as many forward passes (Kaplan et al. 2020, Scaling Laws, section 2.1: 2N and 4N)."""


@dataclass(frozen=True, kw_only=True)
class CVJob:
    """The folds of a run as jobs, and how their caches are filled.

    Args:
        job: of the first fold; the other folds' jobs differ in their number only.
        folds: to train.
        files: where each picture lies, by digest.
        engine: `auto` or the name of an engine.
        force: compute cached rows again.
        capture_for: of a `finetune` that follows; `frozen` caches the activations that it needs in the same pass.
    """

    job: FoldJob
    folds: Sequence[int]
    files: Mapping[str, Path]
    engine: str = "auto"
    force: bool = False
    capture_for: Training | None = None

    @property
    def train_digests(self) -> list[str]:
        """Digests of the pictures that one of the folds is trained on: all, where there are several folds."""
        pairs = zip(self.job.train, self.job.fold_of, strict=True)
        return [digest for digest, fold in pairs if any(fold != one for one in self.folds)]

    @property
    def predicted_digests(self) -> list[str]:
        """Digests of the pictures that are predicted: validated by one of the folds, and the test pictures."""
        pairs = zip(self.job.train, self.job.fold_of, strict=True)
        return [digest for digest, fold in pairs if fold in self.folds] + list(self.job.test)

    def select_activations(self, training: Training) -> dict[str, list[str]]:
        """Selects the pictures whose activations `finetune` needs; returns their digests by view."""
        digests = dict.fromkeys(self.job.views, self.predicted_digests)
        for view in list_cached_views(training):
            digests[view] = list(dict.fromkeys([*self.train_digests, *digests.get(view, [])]))
        return digests


def list_cached_views(training: Training) -> tuple[str, ...]:
    """Lists the cached views that training draws from: the plain one, or all symmetries; and augmented ones."""
    if not training.warp:
        return SYMMETRY_VIEWS if training.symmetries else SYMMETRY_VIEWS[:2]
    augmented = (f"augment-{number}" for number in range(1, (training.cached_views or 0) + 1))
    return (*(SYMMETRY_VIEWS if training.symmetries else SYMMETRY_VIEWS[:1]), *augmented)


def uses_cached_activations(training: Training) -> bool:
    """Whether `finetune` trains from activations that are cached at the cut, where there is one."""
    return not (training.sizes or training.randaugment or (training.warp and not training.cached_views))


def build_activation_capture(
    base: Base, training: Training | None, digests: Mapping[str, Sequence[str]]
) -> ActivationCapture | None:
    """Builds what an extraction of the whole base captures for a `finetune` that follows; None where it is nothing.

    Args:
        base: the whole one.
        training: of the `finetune` that follows; None where none does.
        digests: from `CVJob.select_activations`.
    """
    if not training or not uses_cached_activations(training):
        return None
    cut = cuts.find_cut(cuts.load_layers(base), str(training.unfreeze))
    if cut is None:
        return None
    lower = replace(base, cut=cut.name, pooling="none")
    if not has_disk_room(cut, lower, "float32", digests):
        return None
    return ActivationCapture(lower, {view: frozenset(one) for view, one in digests.items()})


def has_disk_room(cut: cuts.LayerInfo, lower: Base, precision: str, digests: Mapping[str, Sequence[str]]) -> bool:
    """Logs the size of the activations, and returns whether the disk has room for those that are missing.

    Args:
        cut: its shape gives the bytes of a row.
        lower: the base up to it.
        precision: of the arithmetic.
        digests: from `CVJob.select_activations`.
    """
    each = 2 * math.prod(cut.shape)
    rows = sum(map(len, digests.values()))
    missing = sum(len(open_feature_store(lower, view, precision).missing(one)) for view, one in digests.items())
    price = f"activations of {each / 1e3:,.0f} kB at {cut.name}, {rows:,} of them: {rows * each / 1e6:,.0f} MB"
    folder = paths.cache_folder("features")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if missing * each + DISK_MARGIN > free:
        log.warning("  warning: %s; the disk has %.0f MB, so they are not kept", price, free / 1e6)
        return False
    log.info("          %s, float16, %.0f MB of them new", price, missing * each / 1e6)
    return True


def fill_caches(cv: CVJob, lines: list[str]) -> CVJob:
    """Fills the caches that a strategy draws from. Returns the job with the cut and the precisions that came of it.

    Args:
        cv: the folds.
        lines: gets what the stage logs.
    """
    job = cv.job
    if job.strategy in SCRATCH_STRATEGIES:
        return cv
    if job.strategy == "frozen":
        train_views = () if job.training.end_to_end else list_cached_views(job.training)
        capture = None
        if train_views and cv.capture_for:
            capture = build_activation_capture(job.base, cv.capture_for, cv.select_activations(cv.capture_for))
        extractor = _build_extractor(cv, job.base, capture)
        job = replace(job, precision=find_precision(extractor.choose(job.train).engine))
        _fill_features(cv, extractor, train_views, job.views, lines)
        if train_views and (unused := [name for name in ("cutmix", "randaugment") if getattr(job.training, name)]):
            lines.append(f"{' and '.join(unused)} not used: features have no places")
        return replace(cv, job=job)
    extractor = _build_extractor(cv, job.base)
    choice = extractor.choose(job.train)
    engine = choice.engine
    if minutes := estimate_minutes(cv, choice):
        log.info("expected  at most %.0f minutes on this machine: %d folds of %d epochs", minutes, len(cv.folds),
                 job.training.epochs)  # fmt: skip
    _fill_features(cv, extractor, job.training_views, job.views[:1], lines)
    cut = cuts.find_cut(cuts.load_layers(job.base), str(job.training.unfreeze))
    lines.append(f"trained above {cut.name}" if cut else "all of it is trained")
    cv = replace(cv, job=replace(job, precision=find_precision(engine), cut=cut.name if cut else None))
    return _cache_activations(cv, cut, engine, lines) if cut else cv


def estimate_minutes(cv: CVJob, choice: EngineChoice) -> float | None:
    """Estimates an upper bound of a fine-tuning's minutes from the base's benchmark; None where none was made.

    All of the base is counted as trained, all epochs as run, and every row of features as missing.
    """
    keras_rate, rate = (choice.pictures_per_second.get(engine) for engine in ("keras", choice.engine))
    if not keras_rate or not rate:
        return None
    job, predicted = cv.job, len(cv.predicted_digests) * len(cv.job.views)
    extracted = len(cv.train_digests) * len(job.training_views) + len(cv.predicted_digests)
    trained = (job.training.epochs or 0) * sum(len(job.fold_of) - job.fold_of.count(fold) for fold in cv.folds)
    return (extracted / rate + (FORWARDS_PER_STEP * trained + predicted) / keras_rate) / 60


def _build_extractor(cv: CVJob, base: Base, keeping: ActivationCapture | None = None) -> Extractor:
    return Extractor(base, cv.files, wanted=cv.engine, force=cv.force, keeping=keeping)


def _fill_features(
    cv: CVJob, extractor: Extractor, train_views: Sequence[str], predicted_views: Sequence[str], lines: list[str]
) -> None:
    """Computes the rows of the training pictures and of those that are predicted, each in some views."""
    extractor.fill(cv.job.train, "plain")
    for view in dict.fromkeys(train_views):
        if view != "plain":
            extractor.fill(cv.train_digests, view)
    for view in predicted_views:
        extractor.fill(cv.predicted_digests, view)
    cut = f"@{extractor.base.cut}" if extractor.base.pooling == "none" else ""
    lines.append(f"{extractor.base.name}{cut}: {extractor.computed:,} rows computed, the rest cached")


def _cache_activations(cv: CVJob, cut: cuts.LayerInfo, engine: str, lines: list[str]) -> CVJob:
    """Caches activations at the cut where the recipe asks for it and the disk has room.

    The engine that runs the whole base in float32 runs its lower part; for bfloat16 the lower part is measured itself.
    """
    job = cv.job
    if not uses_cached_activations(job.training):
        lines.append("the part below it is computed anew in every epoch, as the recipe asks")
        return cv
    same = find_precision(engine) == "float32"
    lower = replace(job.base, cut=cut.name, pooling="none")
    extractor = _build_extractor(replace(cv, engine=engine) if same else cv, lower)
    precision = find_precision(extractor.choose(job.train).engine)
    if not has_disk_room(cut, lower, precision, cv.select_activations(job.training)):
        lines.append("the part below it is computed anew in every epoch")
        return cv
    _fill_features(cv, extractor, list_cached_views(job.training), job.views, lines)
    return replace(cv, job=replace(job, cached=True, cut_precision=precision))


def cross_validate(cv: CVJob) -> CVResult:
    """Trains every fold, each in a process of its own, and joins their predictions."""
    results, earlier_seconds = {}, 0.0
    for fold in cv.folds:
        started = time.perf_counter()
        results[fold] = fold_job.train_fold(replace(cv.job, fold=fold))
        earlier_seconds += max(0.0, results[fold].facts.get("seconds", 0.0) - (time.perf_counter() - started))
    return CVResult.from_folds(
        cv.job.views,
        np.array(cv.job.fold_of),
        {fold: (result.validation, result.test) for fold, result in results.items()},
        history=[record for result in results.values() for record in result.history],
        facts=[{"fold": fold, **result.facts} for fold, result in results.items()],
        earlier_seconds=earlier_seconds,
    )
