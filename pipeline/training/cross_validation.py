"""Activations at the cut: which ones training wants, what they cost, and whether the disk has room for them.

The rungs that train a network: what they need is computed and cached once for all folds, then each fold is a job.
"""

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.config import SCRATCH_STRATEGIES, SYMMETRY_VIEWS, Recipe, Training
from pipeline.features.cache import open_feature_store
from pipeline.features.extractor import ActivationCapture, Extractor
from pipeline.models import cuts
from pipeline.models.base import Base
from pipeline.models.inference_engines import find_precision
from pipeline.training import fold_job
from pipeline.training.fold_job import FoldJob, MetricSpec
from pipeline.training.linear_probe import CVResult
from pipeline.training.soft_targets import SoftTargets

log = logging.getLogger(__name__)
DISK_MARGIN = 2 << 30
"""Bytes of the disk that activations leave free."""


def list_cached_views(regime: Training) -> tuple[str, ...]:
    """The cached views that training draws from: the pictures as they are, or all their symmetries; augmentations."""
    if not regime.warp:
        return SYMMETRY_VIEWS if regime.symmetries else SYMMETRY_VIEWS[:2]
    augmented = (f"augment-{number}" for number in range(1, (regime.cached_views or 0) + 1))
    return (*(SYMMETRY_VIEWS if regime.symmetries else SYMMETRY_VIEWS[:1]), *augmented)


def uses_cached_activations(regime: Training) -> bool:
    """Whether a recipe has `finetune` train from activations that are cached at the cut, where there is one."""
    return not (regime.sizes or regime.randaugment or (regime.warp and not regime.cached_views))


def list_training_digests(train: Sequence[str], fold_of: np.ndarray, folds: Sequence[int]) -> list[str]:
    """Digests of the training pictures that one of these folds is trained on: all, where there are several folds.

    Args:
        train: digests of the training pictures.
        fold_of: (training pictures,) int.
        folds: that are trained.
    """
    return [digest for digest, fold in zip(train, fold_of, strict=True) if any(fold != one for one in folds)]


def list_predicted_digests(
    train: Sequence[str], test: Sequence[str], fold_of: np.ndarray, folds: Sequence[int]
) -> list[str]:
    """Digests of the pictures that are predicted: held out by one of these folds, and the test pictures."""
    held = np.isin(fold_of, folds)
    return [digest for digest, wanted in zip(train, held, strict=True) if wanted] + list(test)


def select_activations(
    regime: Training, views: Sequence[str], trained: Sequence[str], predicted: Sequence[str]
) -> dict[str, list[str]]:
    """Digests of the pictures whose activations `finetune` wants, by view.

    Args:
        regime: nothing left open.
        views: that are predicted.
        trained: from `list_training_digests`.
        predicted: from `list_predicted_digests`.
    """
    found = {view: list(predicted) for view in views}
    for view in list_cached_views(regime):
        found[view] = list(dict.fromkeys([*trained, *found.get(view, [])]))
    return found


def build_activation_capture(
    base: Base, regime: Training | None, asked: Mapping[str, Sequence[str]]
) -> ActivationCapture | None:
    """What an extraction of the whole base keeps for a `finetune` that follows; None where it is nothing.

    Args:
        base: the whole one.
        regime: of the rung that follows; None where none does.
        asked: from `select_activations`.
    """
    cut = (
        cuts.find_cut(cuts.load_layers(base), str(regime.unfreeze))
        if regime and uses_cached_activations(regime)
        else None
    )
    if cut is None:
        return None
    lower = replace(base, cut=cut.name, pooling="none")
    room = has_disk_room(cut, lower, "float32", asked)
    return ActivationCapture(lower, {view: frozenset(ids) for view, ids in asked.items()}) if room else None


def has_disk_room(cut: cuts.LayerInfo, lower: Base, precision: str, asked: Mapping[str, Sequence[str]]) -> bool:
    """Says what activations cost on the disk, and whether it has room for those that are missing.

    Args:
        cut: its shape gives the bytes of a row.
        lower: the base up to it.
        precision: of the arithmetic.
        asked: from `select_activations`.
    """
    each = 2 * math.prod(cut.shape)
    rows = sum(map(len, asked.values()))
    missing = sum(len(open_feature_store(lower, view, precision).missing(ids)) for view, ids in asked.items())
    price = f"activations of {each / 1e3:,.0f} kB at {cut.name}, {rows:,} of them: {rows * each / 1e6:,.0f} MB"
    folder = paths.cache_folder("features")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if missing * each + DISK_MARGIN > free:
        log.warning("  warning: %s; the disk has %.0f MB, so they are not kept", price, free / 1e6)
        return False
    log.info("          %s, float16, %.0f MB of them new", price, missing * each / 1e6)
    return True


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """The pictures and the recipe of a run, as the rungs need them.

    Args:
        folder: of the run.
        recipe: how to train.
        base: the pretrained network, or `small_cnn.build_scratch_base`.
        files: where each picture lies, by digest.
        train: digests of the training pictures.
        test: digests of the test pictures.
        labels: (training pictures,) int.
        fold_of: (training pictures,) int.
        folds: to train.
        classes: how many there are.
        metric: the competition's.
        engine: `auto` or the name of an engine.
        force: compute cached rows again.
        board: write TensorBoard's files.
        lesson: what teachers say of the training pictures.
        keep: of a `finetune` that follows; `frozen` keeps the activations that it will want.
    """

    folder: Path
    recipe: Recipe
    base: Base
    files: Mapping[str, Path]
    train: Sequence[str]
    test: Sequence[str]
    labels: np.ndarray
    fold_of: np.ndarray
    folds: Sequence[int]
    classes: int
    metric: MetricSpec
    engine: str = "auto"
    force: bool = False
    board: bool = False
    lesson: SoftTargets | None = None
    keep: Training | None = None

    @property
    def trained(self) -> list[str]:
        """Digests of the pictures that one of the folds is trained on."""
        return list_training_digests(self.train, self.fold_of, self.folds)

    def wanted(self, regime: Training) -> dict[str, list[str]]:
        """See cross_validation.select_activations."""
        return select_activations(regime, self.recipe.views, self.trained, self.predicted)

    def kept(self) -> ActivationCapture | None:
        """See cross_validation.build_activation_capture."""
        return build_activation_capture(self.base, self.keep, self.wanted(self.keep) if self.keep else {})

    @property
    def predicted(self) -> list[str]:
        """Digests of the pictures that are predicted: held out by one of the folds, and the test pictures."""
        return list_predicted_digests(self.train, self.test, self.fold_of, self.folds)


def prepare_fold_job(setting: TrainingContext, said: list[str]) -> FoldJob:
    """Fills the caches that a rung draws from, and gives the job of the first fold.

    Args:
        setting: of the run.
        said: what is worth saying is appended.
    """
    recipe = setting.recipe
    job = FoldJob(
        folder=setting.folder,
        rung=recipe.rung,
        fold=setting.folds[0],
        seed=recipe.seed,
        base=setting.base,
        head=recipe.head,
        regime=recipe.regime,
        classes=setting.classes,
        labels=tuple(int(label) for label in setting.labels),
        fold_of=tuple(int(fold) for fold in setting.fold_of),
        train=tuple(setting.train),
        test=tuple(setting.test),
        views=recipe.views,
        training_views=recipe.training_views,
        metric=setting.metric,
        board=setting.board,
        taught=setting.lesson.write(setting.folder) if setting.lesson else None,
    )
    if recipe.rung in SCRATCH_STRATEGIES:
        return job
    if recipe.rung == "frozen":
        trained = () if job.regime.end_to_end else list_cached_views(job.regime)
        extractor = _build_extractor(setting, setting.base, setting.kept() if trained else None)
        job = replace(job, precision=find_precision(extractor.choose(setting.train).engine))
        _fill_features(setting, extractor, trained, recipe.views, said)
        if trained and (useless := [name for name in ("cutmix", "randaugment") if getattr(job.regime, name)]):
            said.append(f"{' and '.join(useless)} not used: features have no places")
        return job
    extractor = _build_extractor(setting, setting.base)
    engine = extractor.choose(setting.train).engine
    _fill_features(setting, extractor, recipe.training_views, recipe.views[:1], said)
    cut = cuts.find_cut(cuts.load_layers(setting.base), str(job.regime.unfreeze))
    said.append(f"trained above {cut.name}" if cut else "all of it is trained")
    job = replace(job, precision=find_precision(engine), cut=cut.name if cut else None)
    return _cache_activations(setting, job, cut, engine, said) if cut else job


def _build_extractor(setting: TrainingContext, base: Base, keeping: ActivationCapture | None = None) -> Extractor:
    """The base at work on the run's pictures."""
    return Extractor(base, setting.files, wanted=setting.engine, force=setting.force, keeping=keeping)


def _fill_features(
    setting: TrainingContext, extractor: Extractor, trained: Sequence[str], predicted: Sequence[str], said: list[str]
) -> None:
    """Computes what the base gives for the training pictures and for those that are predicted, each in some views."""
    extractor.fill(setting.train, "plain")
    for view in dict.fromkeys(trained):
        if view != "plain":
            extractor.fill(setting.trained, view)
    for view in predicted:
        extractor.fill(setting.predicted, view)
    what = f"@{extractor.base.cut}" if extractor.base.pooling == "none" else ""
    said.append(f"{extractor.base.name}{what}: {extractor.computed:,} rows computed, the rest cached")


def _cache_activations(
    setting: TrainingContext, job: FoldJob, cut: cuts.LayerInfo, engine: str, said: list[str]
) -> FoldJob:
    """Caches activations at the cut where the recipe wants it and the disk has room; says what it costs.

    What runs the whole base in float32 runs its lower part; what bfloat16 does to that is measured by itself.
    """
    if not uses_cached_activations(job.regime):
        said.append("the part below it is computed anew in every epoch, as the recipe asks")
        return job
    lower = replace(setting.base, cut=cut.name, pooling="none")
    same = find_precision(engine) == "float32"
    extractor = Extractor(lower, setting.files, wanted=engine if same else setting.engine, force=setting.force)
    precision = find_precision(extractor.choose(setting.train).engine)
    if not has_disk_room(cut, lower, precision, setting.wanted(job.regime)):
        said.append("the part below it is computed anew in every epoch")
        return job
    _fill_features(setting, extractor, list_cached_views(job.regime), setting.recipe.views, said)
    return replace(job, cached=True, cut_precision=precision)


def cross_validate(setting: TrainingContext, first: FoldJob) -> CVResult:
    """Trains every fold, each in a process of its own, and puts their predictions together."""
    found = {fold: fold_job.train_fold(replace(first, fold=fold)) for fold in setting.folds}
    views = {view: np.full((len(setting.labels), setting.classes), np.nan, np.float32) for view in setting.recipe.views}
    for fold, result in found.items():
        for view, held in zip(views, result.held, strict=True):
            views[view][setting.fold_of == fold] = held
    tests = np.mean([result.test for result in found.values()], axis=0)
    return CVResult(
        folds=tuple(setting.folds),
        history=[record for result in found.values() for record in result.history],
        oof=np.mean(list(views.values()), axis=0),
        oof_views=views,
        test=tests.mean(axis=0),
        test_views=dict(zip(views, tests, strict=True)),
        facts=[{"fold": fold, **result.facts} for fold, result in found.items()],
    )
