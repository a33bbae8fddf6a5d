"""The rungs that train a network: what they need is computed and cached once for all folds, then each fold is a job."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.config import Recipe
from pipeline.features.extract import Extractor, Keeping
from pipeline.models import cuts
from pipeline.models.bases import Base
from pipeline.models.engines import precision_of
from pipeline.recipe import FROM_NOTHING
from pipeline.regime import Training
from pipeline.training import activations, processes
from pipeline.training.activations import views_of
from pipeline.training.features import Trained
from pipeline.training.jobs import Job, Metric
from pipeline.training.lessons import Lesson

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The pictures and the recipe of a run, as the rungs need them.

    Args:
        folder: of the run.
        recipe: how to train.
        base: the pretrained network, or `scratch.scratch_base`.
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
    metric: Metric
    engine: str = "auto"
    force: bool = False
    board: bool = False
    lesson: Lesson | None = None
    keep: Training | None = None

    @property
    def trained(self) -> list[str]:
        """Digests of the pictures that one of the folds is trained on."""
        return activations.trained_on(self.train, self.fold_of, self.folds)

    def wanted(self, regime: Training) -> dict[str, list[str]]:
        """See activations.wanted."""
        return activations.wanted(regime, self.recipe.views, self.trained, self.predicted)

    def kept(self) -> Keeping | None:
        """See activations.kept."""
        return activations.kept(self.base, self.keep, self.wanted(self.keep) if self.keep else {})

    @property
    def predicted(self) -> list[str]:
        """Digests of the pictures that are predicted: held out by one of the folds, and the test pictures."""
        return activations.predicted(self.train, self.test, self.fold_of, self.folds)


def prepare(setting: Setting, said: list[str]) -> Job:
    """Fills the caches that a rung draws from, and gives the job of the first fold.

    Args:
        setting: of the run.
        said: what is worth saying is appended.
    """
    recipe = setting.recipe
    job = Job(
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
    if recipe.rung in FROM_NOTHING:
        return job
    if recipe.rung == "frozen":
        trained = () if job.regime.end_to_end else views_of(job.regime)
        extractor = _extractor(setting, setting.base, setting.kept() if trained else None)
        job = replace(job, precision=precision_of(extractor.choose(setting.train).engine))
        _fill(setting, extractor, trained, recipe.views, said)
        if trained and (useless := [name for name in ("cutmix", "randaugment") if getattr(job.regime, name)]):
            said.append(f"{' and '.join(useless)} not used: features have no places")
        return job
    extractor = _extractor(setting, setting.base)
    engine = extractor.choose(setting.train).engine
    _fill(setting, extractor, recipe.training_views, recipe.views[:1], said)
    cut = cuts.resolve(cuts.anatomy(setting.base), str(job.regime.unfreeze))
    said.append(f"trained above {cut.name}" if cut else "all of it is trained")
    job = replace(job, precision=precision_of(engine), cut=cut.name if cut else None)
    return _cached_at(setting, job, cut, engine, said) if cut else job


def _extractor(setting: Setting, base: Base, keeping: Keeping | None = None) -> Extractor:
    """The base at work on the run's pictures."""
    return Extractor(base, setting.files, wanted=setting.engine, force=setting.force, keeping=keeping)


def _fill(
    setting: Setting, extractor: Extractor, trained: Sequence[str], predicted: Sequence[str], said: list[str]
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


def _cached_at(setting: Setting, job: Job, cut: cuts.Layer, engine: str, said: list[str]) -> Job:
    """Caches activations at the cut where the recipe wants it and the disk has room; says what it costs.

    What runs the whole base in float32 runs its lower part; what bfloat16 does to that is measured by itself.
    """
    if not activations.from_cached(job.regime):
        said.append("the part below it is computed anew in every epoch, as the recipe asks")
        return job
    lower = replace(setting.base, cut=cut.name, pooling="none")
    same = precision_of(engine) == "float32"
    extractor = Extractor(lower, setting.files, wanted=engine if same else setting.engine, force=setting.force)
    precision = precision_of(extractor.choose(setting.train).engine)
    if not activations.affordable(cut, lower, precision, setting.wanted(job.regime)):
        said.append("the part below it is computed anew in every epoch")
        return job
    _fill(setting, extractor, views_of(job.regime), setting.recipe.views, said)
    return replace(job, cached=True, cut_precision=precision)


def train(setting: Setting, first: Job) -> Trained:
    """Trains every fold, each in a process of its own, and puts their predictions together."""
    found = {fold: processes.do(replace(first, fold=fold)) for fold in setting.folds}
    views = {view: np.full((len(setting.labels), setting.classes), np.nan, np.float32) for view in setting.recipe.views}
    for fold, result in found.items():
        for view, held in zip(views, result.held, strict=True):
            views[view][setting.fold_of == fold] = held
    tests = np.mean([result.test for result in found.values()], axis=0)
    return Trained(
        folds=tuple(setting.folds),
        history=[record for result in found.values() for record in result.history],
        oof=np.mean(list(views.values()), axis=0),
        oof_views=views,
        test=tests.mean(axis=0),
        test_views=dict(zip(views, tests, strict=True)),
        facts=[{"fold": fold, **result.facts} for fold, result in found.items()],
    )
