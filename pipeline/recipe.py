"""How to train on a competition's pictures: rung, bases, head, folds, views. Standard library only, as config.py."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import require
from pipeline.regime import Training

RUNGS = ("scratch", "augmented", "features", "frozen", "finetune")
FROM_NOTHING = ("scratch", "augmented")
"""Rungs that train a small network from nothing, and look through no base."""
HEADS = ("linear", "gaussian", "dense")
GROUPINGS = ("duplicates", "estimated")
SYMMETRIES = ("plain", "flip", "rotate90", "rotate180", "rotate270", "transpose", "transverse", "flip-vertical")
VIEW = re.compile(rf"{'|'.join(SYMMETRIES)}|augment-[1-9][0-9]*")


def used(rung: str, bases: Sequence[str]) -> tuple[str, ...]:
    """Those of a recipe's bases that a rung looks through."""
    if rung in FROM_NOTHING:
        return ()
    return tuple(bases if rung == "features" else bases[:1])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Args:
        rung: the way to train.
        bases: the pretrained networks, each `name[@cut][+pooling][=weights]` (see pipeline/models/bases.py).
        size: side of the square pictures in pixels; None takes each base's own.
        head: `linear` (softmax or sigmoid with L2, full-batch L-BFGS), `gaussian` (linear discriminant analysis with a
            shrunk covariance) or `dense` (256, ReLU, dropout 0.5).
        strength: of the linear head's L2; None chooses it on the folds, together with the scale of its logits.
        folds: number of stratified folds; 1 holds out once.
        holdout: the held-out share where `folds` is 1.
        grouping: what folds keep together: `duplicates` (equal pixels) or `estimated` (one scene, as `invoke audit`
            found it).
        views: the views that are predicted and averaged.
        train_views: the views that the head is trained on.
        augmented_views: number of cached augmented views that the head is trained on beside those.
        training: how networks are trained on the rungs that train one; its gaps take the rung's defaults.
        seed: of training and of augmentation.
        split_seed: of the folds, apart from `seed` so that seeds can be compared on one split.
    """

    rung: str = "features"
    bases: tuple[str, ...] = ("mobilenet_v2",)
    size: int | None = None
    head: str = "linear"
    strength: float | None = None
    folds: int = 5
    holdout: float = 0.2
    grouping: str = "duplicates"
    views: tuple[str, ...] = ("plain", "flip")
    train_views: tuple[str, ...] = ("plain",)
    augmented_views: int = 0
    training: Training = field(default_factory=Training)
    seed: int = 0
    split_seed: int = 0

    def __post_init__(self) -> None:
        require(self.rung in RUNGS, "Unknown rung.", expected=" | ".join(RUNGS), received=self.rung)
        require(self.head in HEADS, "Unknown head.", expected=" | ".join(HEADS), received=self.head)
        for name in ("bases", "views", "train_views"):
            value = getattr(self, name)
            require(
                not isinstance(value, str),
                f"{name} is a tuple.",
                expected=f'{name}=("{value}",), with the comma',
                received=value,
            )
        require(self.bases, "A recipe needs a base.", expected="at least one name", received=self.bases)
        require(
            len(set(self.bases)) == len(self.bases),
            "A base is named twice.",
            expected="distinct bases",
            received=self.bases,
        )
        require(
            self.size is None or 32 <= self.size <= 2048,
            "Unusable picture size.",
            expected="None or 32 to 2048 pixels",
            received=self.size,
        )
        require(
            self.strength is None or self.strength > 0,
            "Unusable strength.",
            expected="None, or a number above 0 such as 3e-5",
            received=self.strength,
        )
        require(1 <= self.folds <= 50, "Unusable number of folds.", expected="1 to 50", received=self.folds)
        require(0 < self.holdout < 1, "Unusable hold-out share.", expected="between 0 and 1", received=self.holdout)
        require(self.grouping in GROUPINGS, "Unknown grouping.", expected=" | ".join(GROUPINGS), received=self.grouping)
        for views in (self.views, self.train_views):
            require(
                views and len(set(views)) == len(views),
                "Views are distinct, and at least one.",
                expected="e.g. ('plain', 'flip')",
                received=views,
            )
            for view in views:
                require(
                    VIEW.fullmatch(view),
                    "Unknown view.",
                    expected=f"{' | '.join(SYMMETRIES)} | augment-1 ...",
                    received=view,
                )
        require(
            0 <= self.augmented_views <= 100,
            "Unusable number of augmented views.",
            expected="0 to 100",
            received=self.augmented_views,
        )
        require(
            min(self.seed, self.split_seed) >= 0 and max(self.seed, self.split_seed) < 2**32,
            "Unusable seed.",
            expected="0 to 4294967295",
            received=(self.seed, self.split_seed),
        )

    @property
    def used_bases(self) -> tuple[str, ...]:
        """The bases that the rung looks through: all for `features`, the first where one is trained, or none."""
        return used(self.rung, self.bases)

    @property
    def regime(self) -> Training:
        """`training` with nothing left open."""
        return self.training.resolved(self.rung)

    @property
    def training_views(self) -> tuple[str, ...]:
        """The views whose features the head is trained on: `train_views`, and the augmented ones."""
        augmented = (f"augment-{number}" for number in range(1, self.augmented_views + 1))
        return tuple(dict.fromkeys((*self.train_views, *augmented)))
