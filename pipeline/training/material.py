"""What a fold's training works with: pixels and cached rows of its pictures, and the metric."""

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import pixels
from pipeline.errors import StarshiftError
from pipeline.features.cache import feature_store
from pipeline.features.rows import Rows
from pipeline.models.bases import Base
from pipeline.regime import Training
from pipeline.training import lessons, linear, rate_finder
from pipeline.training.activations import views_of
from pipeline.training.batches import Batches
from pipeline.training.checkpoint import Progress
from pipeline.training.handover import positions
from pipeline.training.jobs import Job
from pipeline.training.loop import Course, Held
from pipeline.training.sources import Augmented, Pictures, Source, Views


class RateFound(Exception):  # noqa: N818 - no error: it ends a rung that was only to find its rate
    """Carries what the range test found."""

    def __init__(self, found: rate_finder.Found) -> None:
        super().__init__()
        self.found = found


class Material:
    """A job with its pictures. Positions below the number of training pictures are those; the test pictures follow.

    Args:
        job: the fold's job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.digests = [*job.train, *job.test]
        self.labels = np.array(job.labels)
        fold_of = np.array(job.fold_of)
        self.trained, self.held = np.flatnonzero(fold_of != job.fold), np.flatnonzero(fold_of == job.fold)
        self.test = np.arange(len(job.train), len(self.digests))

    @property
    def sample(self) -> np.ndarray:
        """Positions of the held-out pictures of the parity check, see `handover.positions`."""
        return self.held[positions(len(self.held))]

    @cached_property
    def lesson(self) -> lessons.Lesson | None:
        """What teachers say of the training pictures."""
        return lessons.read(self.job.folder, self.job.taught) if self.job.taught else None

    def soft_targets(self, source: Source) -> lessons.Targets | None:
        """The soft targets that go with the inputs of a source.

        Raises:
            StarshiftError: teachers answered for cached views, and the source draws fresh ones.
        """
        if self.lesson is None:
            return None
        if not self.lesson.views:
            return lessons.Targets(self.lesson.of(self.job.fold, ("plain",)))
        if not isinstance(source, Views):
            raise StarshiftError(
                "A patient teacher answers for cached views, and these pictures are augmented anew in every epoch.",
                expected="--rung features, frozen or finetune with cached_views, without end_to_end, sizes and polish",
                received=f"--rung {self.job.rung}",
                remedy="leave --patient away, or train from cached views",
            )
        return lessons.Targets(self.lesson.of(self.job.fold, views_of(self.job.regime)), source.choice)

    @cached_property
    def pixels(self) -> Rows:
        """Of all pictures, (size, size, 3) uint8."""
        return Rows(pixels.pixel_store(self.job.base.size), self.digests)

    def cached(self, base: Base, view: str, *, train_only: bool = False) -> Rows:
        """What a base gives for the pictures in a view, from the cache."""
        digests = self.job.train if train_only else self.digests
        precision = self.job.cut_precision if base.pooling == "none" else self.job.precision
        return Rows(feature_store(base, view, precision), digests)

    def seen(self, view: str) -> Pictures:
        """The pictures' pixels in a view."""
        return Pictures(self.pixels, view, self.digests)

    def fresh(self, epochs: int, sizes: tuple[int, ...] | None = None) -> Augmented:
        """The pictures' pixels, augmented anew in every epoch, as large as its part of the epochs wants them.

        Args:
            epochs: so many in all.
            sizes: instead of the regime's.
        """
        regime = self.job.regime
        sizes = (regime.sizes or ()) if sizes is None else sizes

        def side_of(epoch: int) -> int:
            return sizes[min(len(sizes) - 1, epoch * len(sizes) // epochs)]

        return Augmented(
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
    ) -> Course:
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
        batches = Batches(trained, self.trained, labels, job.classes, regime, seed=job.seed, soft=soft)
        return Course(
            name=f"fold {job.fold} {stage}",
            model=model,
            batches=batches,
            held=Held(
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

    def run(self, course: Course) -> Progress:
        """Trains, or only looks for the rate where that is what the job is for.

        Raises:
            RateFound: the job was to find the rate.
        """
        if self.job.find_rate:
            raise RateFound(rate_finder.find(course))
        return course.run()

    def checkpoint(self, stage: str) -> Path:
        """The file of a stage's checkpoint."""
        return self.job.stem.with_name(f"{self.job.stem.name}-{stage}.npz")

    def features_of_fold(self) -> linear.Fold:
        """The fold as a head on cached features sees it."""
        job = self.job
        views = {view: self.cached(job.base, view) for view in dict.fromkeys((*job.training_views, job.views[0]))}
        return linear.Fold(
            number=job.fold,
            features=np.concatenate([views[view].take(self.trained) for view in job.training_views]),
            labels=np.tile(self.labels[self.trained], len(job.training_views)),
            held_features=views[job.views[0]].take(self.held),
            held_labels=self.labels[self.held],
            soft=self.lesson.soft(job.fold, job.training_views, self.trained) if self.lesson else None,
            views=len(job.training_views),
        )
