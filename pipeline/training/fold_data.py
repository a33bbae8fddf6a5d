"""What a fold's training works with: pixels and cached rows of its pictures, and the metric."""

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Training
from pipeline.data import pixel_cache
from pipeline.data.row_store import MemmapRows
from pipeline.errors import StarshiftError
from pipeline.features.cache import open_feature_store
from pipeline.models.base import Base
from pipeline.training import lr_finder
from pipeline.training import soft_targets as lessons
from pipeline.training.checkpoint import TrainingState
from pipeline.training.cross_validation import list_cached_views
from pipeline.training.data_loader import AugmentedSource, CachedViewSource, PictureSource, Source, TrainSequence
from pipeline.training.fold_job import FoldJob
from pipeline.training.heads import logistic_regression
from pipeline.training.inference import select_positions
from pipeline.training.trainer import Trainer, ValidationSet


class LearningRateFound(Exception):  # noqa: N818 - no error: it ends a rung that was only to find its rate
    """Carries what the range test found."""

    def __init__(self, found: lr_finder.LearningRateCurve) -> None:
        super().__init__()
        self.found = found


class FoldData:
    """A job with its pictures. Positions below the number of training pictures are those; the test pictures follow.

    Args:
        job: the fold's job.
    """

    def __init__(self, job: FoldJob) -> None:
        self.job = job
        self.digests = [*job.train, *job.test]
        self.labels = np.array(job.labels)
        fold_of = np.array(job.fold_of)
        self.trained, self.held = np.flatnonzero(fold_of != job.fold), np.flatnonzero(fold_of == job.fold)
        self.test = np.arange(len(job.train), len(self.digests))

    @property
    def sample(self) -> np.ndarray:
        """Positions of the held-out pictures of the parity check, see `inference.select_positions`."""
        return self.held[select_positions(len(self.held))]

    @cached_property
    def lesson(self) -> lessons.SoftTargets | None:
        """What teachers say of the training pictures."""
        return lessons.read_soft_targets(self.job.folder, self.job.taught) if self.job.taught else None

    def soft_targets(self, source: Source) -> lessons.TargetSource | None:
        """The soft targets that go with the inputs of a source.

        Raises:
            StarshiftError: teachers answered for cached views, and the source draws fresh ones.
        """
        if self.lesson is None:
            return None
        if not self.lesson.views:
            return lessons.TargetSource(self.lesson.of(self.job.fold, ("plain",)))
        if not isinstance(source, CachedViewSource):
            raise StarshiftError(
                "A patient teacher answers for cached views, and these pictures are augmented anew in every epoch.",
                expected="--rung features, frozen or finetune with cached_views, without end_to_end, sizes and polish",
                received=f"--rung {self.job.rung}",
                remedy="leave --patient away, or train from cached views",
            )
        return lessons.TargetSource(self.lesson.of(self.job.fold, list_cached_views(self.job.regime)), source.choice)

    @cached_property
    def pixels(self) -> MemmapRows:
        """Of all pictures, (size, size, 3) uint8."""
        return MemmapRows(pixel_cache.open_pixel_store(self.job.base.size), self.digests)

    def cached(self, base: Base, view: str, *, train_only: bool = False) -> MemmapRows:
        """What a base gives for the pictures in a view, from the cache."""
        digests = self.job.train if train_only else self.digests
        precision = self.job.cut_precision if base.pooling == "none" else self.job.precision
        return MemmapRows(open_feature_store(base, view, precision), digests)

    def seen(self, view: str) -> PictureSource:
        """The pictures' pixels in a view."""
        return PictureSource(self.pixels, view, self.digests)

    def fresh(self, epochs: int, sizes: tuple[int, ...] | None = None) -> AugmentedSource:
        """The pictures' pixels, augmented anew in every epoch, as large as its part of the epochs wants them.

        Args:
            epochs: so many in all.
            sizes: instead of the regime's.
        """
        regime = self.job.regime
        sizes = (regime.sizes or ()) if sizes is None else sizes

        def side_of(epoch: int) -> int:
            return sizes[min(len(sizes) - 1, epoch * len(sizes) // epochs)]

        return AugmentedSource(
            self.pixels,
            self.digests,
            seed=self.job.seed,
            symmetries=bool(regime.symmetries),
            warp=bool(regime.warp),
            side_of=side_of if sizes else None,
        )

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """The competition's metric."""
        metric = self.job.metric
        module, _, name = metric.function.partition(":")
        return float(
            getattr(importlib.import_module(module), name)(metric.name, labels, probabilities, metric.positive)
        )

    def course(
        self,
        model: Any,
        trained: Source,
        held: Source,
        *,
        stage: str,
        regime: Training | None = None,
        factors: dict[str, float] | None = None,
        from_start: bool = False,
    ) -> Trainer:
        """The epochs of a model on this fold.

        Args:
            model: gives probabilities.
            trained: the inputs it is trained on.
            held: the inputs it is scored on.
            stage: names the checkpoint and the history's records.
            regime: instead of the job's.
            factors: of the rate, by variable path.
            from_start: the weights before the first epoch may turn out the best ones.
        """
        job, regime = self.job, regime or self.job.regime
        labels, soft = self.labels[self.trained], self.soft_targets(trained)
        batches = TrainSequence(trained, self.trained, labels, job.classes, regime, seed=job.seed, soft=soft)
        return Trainer(
            name=f"fold {job.fold} {stage}",
            model=model,
            batches=batches,
            held=ValidationSet(
                source=held,
                positions=self.held,
                labels=self.labels[self.held],
                score=self.score,
                higher=job.metric.higher,
            ),
            regime=regime,
            seed=job.seed,
            file=self.checkpoint(stage),
            fingerprint=f"{job.fingerprint()} {stage}",
            record={"fold": job.fold, "stage": stage},
            factors=factors,
            from_start=from_start,
            board=job.folder / "board" / f"fold{job.fold}-{stage}" if job.board else None,
            taught=job.taught,
        )

    def run(self, course: Trainer) -> TrainingState:
        """Trains, or only looks for the rate where that is what the job is for.

        Raises:
            RateFound: the job was to find the rate.
        """
        if self.job.find_rate:
            raise LearningRateFound(lr_finder.run_range_test(course))
        return course.run()

    def checkpoint(self, stage: str) -> Path:
        """The file of a stage's checkpoint."""
        return self.job.stem.with_name(f"{self.job.stem.name}-{stage}.npz")

    def features_of_fold(self) -> logistic_regression.FoldFeatures:
        """The fold as a head on cached features sees it."""
        job = self.job
        views = {view: self.cached(job.base, view) for view in dict.fromkeys((*job.training_views, job.views[0]))}
        return logistic_regression.FoldFeatures(
            number=job.fold,
            features=np.concatenate([views[view].take(self.trained) for view in job.training_views]),
            labels=np.tile(self.labels[self.trained], len(job.training_views)),
            held_features=views[job.views[0]].take(self.held),
            held_labels=self.labels[self.held],
            soft=self.lesson.soft(job.fold, job.training_views, self.trained) if self.lesson else None,
            views=len(job.training_views),
        )
