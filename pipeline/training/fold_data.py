"""The data of one fold's training: pixels and cached rows of its pictures, soft targets, and the metric."""

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
from pipeline.training.checkpoint import TrainingState
from pipeline.training.cross_validation import list_cached_views
from pipeline.training.data_loader import AugmentedSource, CachedViewSource, PictureSource, Source, TrainSequence
from pipeline.training.export import select_positions
from pipeline.training.fold_job import FoldJob
from pipeline.training.heads.logistic_regression import FoldFeatures
from pipeline.training.linear_probe import build_fold_features
from pipeline.training.soft_targets import SoftTargets, TargetSource, read_soft_targets
from pipeline.training.trainer import Trainer, ValidationSet


class LearningRateFound(Exception):  # noqa: N818 - no error: it ends a job that was only to find its learning rate
    """Carries the result of the range test."""

    def __init__(self, curve: lr_finder.LearningRateCurve) -> None:
        super().__init__()
        self.curve = curve


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
        self.train, self.validation = np.flatnonzero(fold_of != job.fold), np.flatnonzero(fold_of == job.fold)
        if job.final_epochs:
            self.train = np.arange(len(job.train))
        self.test = np.arange(len(job.train), len(self.digests))

    @property
    def sample(self) -> np.ndarray:
        """Positions of the validation pictures of the parity check, see `export.select_positions`."""
        return self.validation[select_positions(len(self.validation))]

    @cached_property
    def teacher(self) -> SoftTargets | None:
        """The soft targets of the training pictures."""
        return read_soft_targets(self.job.folder, self.job.soft_targets) if self.job.soft_targets else None

    def soft_targets(self, source: Source) -> TargetSource | None:
        """Returns the soft targets that go with the inputs of a source.

        Raises:
            StarshiftError: the targets are of cached views, and the source draws fresh ones.
        """
        if self.teacher is None:
            return None
        if not self.teacher.views:
            return TargetSource(self.teacher.of(self.job.fold, ("plain",)))
        if not isinstance(source, CachedViewSource):
            raise StarshiftError(
                "A patient teacher answers for cached views, and these pictures are augmented anew in every epoch.",
                expected="features, frozen or finetune with cached_views, without end_to_end, sizes and polish",
                received=f"--strategy {self.job.strategy}",
                remedy="leave --patient away, or train from cached views",
            )
        return TargetSource(self.teacher.of(self.job.fold, list_cached_views(self.job.training)), source.choice)

    @cached_property
    def pixels(self) -> MemmapRows:
        """The pixels of all pictures, (size, size, 3) uint8."""
        return MemmapRows(pixel_cache.open_pixel_store(self.job.base.size), self.digests)

    def cached(self, base: Base, view: str, *, train_only: bool = False) -> MemmapRows:
        """Opens the cached rows of a base in a view."""
        digests = self.job.train if train_only else self.digests
        precision = self.job.cut_precision if base.pooling == "none" else self.job.precision
        return MemmapRows(open_feature_store(base, view, precision), digests)

    def pictures(self, view: str) -> PictureSource:
        """Returns the pixels in a view as a source."""
        return PictureSource(self.pixels, view, self.digests)

    def augmented(self, epochs: int, sizes: tuple[int, ...] | None = None) -> AugmentedSource:
        """Returns a source of pixels that are augmented anew in every epoch.

        Args:
            epochs: of all the training, each of `sizes` for an equal part of them.
            sizes: instead of the training's.
        """
        training = self.job.training
        sizes = (training.sizes or ()) if sizes is None else sizes

        def side_of(epoch: int) -> int:
            return sizes[min(len(sizes) - 1, epoch * len(sizes) // epochs)]

        return AugmentedSource(
            self.pixels,
            self.digests,
            seed=self.job.seed,
            symmetries=bool(training.symmetries),
            warp=bool(training.warp),
            side_of=side_of if sizes else None,
        )

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Computes the competition's metric."""
        metric = self.job.metric
        module, _, name = metric.function.partition(":")
        return float(
            getattr(importlib.import_module(module), name)(metric.name, labels, probabilities, metric.positive)
        )

    def trainer(
        self,
        model: Any,
        train: Source,
        validation: Source,
        *,
        stage: str,
        training: Training | None = None,
        factors: dict[str, float] | None = None,
        from_start: bool = False,
    ) -> Trainer:
        """Builds the trainer of a model on this fold.

        Args:
            model: gives probabilities.
            train: the inputs it is trained on.
            validation: the inputs it is scored on.
            stage: names the checkpoint and the history's records.
            training: instead of the job's.
            factors: of the learning rate, by variable path.
            from_start: the weights before the first epoch may turn out the best ones.
        """
        job, training = self.job, training or self.job.training
        labels, soft = self.labels[self.train], self.soft_targets(train)
        return Trainer(
            name=f"{job.title} {stage}",
            model=model,
            batches=TrainSequence(train, self.train, labels, job.classes, training, seed=job.seed, soft=soft),
            validation=ValidationSet(
                source=validation,
                positions=self.validation,
                labels=self.labels[self.validation],
                score=self.score,
                higher=job.metric.higher,
            ),
            training=training,
            seed=job.seed,
            file=self.checkpoint(stage),
            fingerprint=f"{job.fingerprint()} {stage}",
            record={"fold": job.fold, "stage": stage},
            factors=factors,
            from_start=from_start,
            tensorboard=job.folder / "tensorboard" / f"fold{job.fold}-{stage}" if job.tensorboard else None,
            soft_targets=job.soft_targets,
            stop_after=dict(job.final_epochs).get(stage),
        )

    def run(self, trainer: Trainer) -> TrainingState:
        """Trains, or only finds the learning rate where that is what the job is for.

        Raises:
            LearningRateFound: the job was to find the learning rate.
        """
        if self.job.find_learning_rate:
            raise LearningRateFound(lr_finder.run_range_test(trainer))
        return trainer.run()

    def checkpoint(self, stage: str) -> Path:
        """The file of a stage's checkpoint."""
        return self.job.stem.with_name(f"{self.job.stem.name}-{stage}.npz")

    def head_features(self) -> FoldFeatures:
        """Collects the cached features that a head on the frozen base is fitted on."""
        job = self.job
        rows = {view: self.cached(job.base, view) for view in dict.fromkeys((*job.training_views, job.views[0]))}
        return build_fold_features(
            job.fold,
            job,
            lambda view, mask: rows[view].take(np.flatnonzero(mask)),
            self.labels,
            np.array(job.fold_of),
            self.teacher,
        )
