"""What a competition is: frozen data, checked when made, changed only by `replace`. Competition files import from here.

Standard library only, so that the command line can read every competition at once without waiting.

How a network is trained: epochs, rates, regularisation. Every rung has its defaults; a recipe names what differs.

A field that is None takes the rung's default, so a recipe says `Training(rate=3e-5)` and nothing else.

How to train on a competition's pictures: rung, bases, head, folds, views. Standard library only, as config.py.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import Any

from pipeline.errors import StarshiftError, require
from pipeline.files import hash_json

SCHEDULES = ("cosine", "constant")
BALANCES = ("none", "weights", "sampling")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One way to train; None means the rung's default.

    Args:
        epochs: at most so many.
        patience: epochs without a better metric on the held-out pictures before training stops.
        batch: pictures a step.
        rate: the highest learning rate.
        warmup: share of the steps in which the rate rises to it from 0.
        schedule: `cosine` (down to 0 over the epochs) or `constant`.
        decay: decoupled weight decay of matrices and kernels, a factor of the rate (Loshchilov and Hutter 2019).
        depth_decay: factor of the rate for each block going down (Howard and Ruder 2018); 1 is one rate for all.
        dropout: before the last dense layer.
        label_smoothing: share of a label that is spread over all classes.
        mixup: alpha of MixUp (Zhang 2018); 0 is off.
        cutmix: alpha of CutMix (Yun 2019); 0 is off. With both, each batch takes one of them.
        randaugment: strength of RandAugment, 0 to 1, which `finetune` trains from pixels for; 0 is off.
        ema: momentum of the average of the weights that is evaluated and kept; 0 is off.
        balance: `none`, `weights` (rare classes weigh more) or `sampling` (rare classes are drawn more often).
        unfreeze: from where a base is trained: a block such as `block5`, a layer, a share of layers (`0.3`) or `all`.
        cached_views: number of augmented views that are cached, and drawn from beside the plain one (or its
            symmetries); 0 trains from pixels.
        polish: epochs with fresh augmentation at the end.
        end_to_end: for `frozen`: pass every picture through the whole base in every epoch.
        sizes: for `finetune`: sides of the pictures in pixels, small to large, each for an equal part of the epochs.
        symmetries: augmentation begins with one of the eight symmetries instead of a flip; all eight are cached.
        warp: augmentation goes on to turn, zoom, shift and recolour. Without it training sees symmetries (or flips)
            only, so that the cached views are all that there is to see: better where epochs are few.
        precision: of the arithmetic, weights stay float32: `auto` (half precision on a GPU that gains by it, float32 on
            processors), `float32` or `bfloat16`, which wide convolutions gain by on processors that have it.
    """

    epochs: int | None = None
    patience: int | None = None
    batch: int | None = None
    rate: float | None = None
    warmup: float | None = None
    schedule: str | None = None
    decay: float | None = None
    depth_decay: float | None = None
    dropout: float | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    randaugment: float | None = None
    ema: float | None = None
    balance: str | None = None
    unfreeze: str | None = None
    cached_views: int | None = None
    polish: int | None = None
    end_to_end: bool | None = None
    sizes: tuple[int, ...] | None = None
    symmetries: bool | None = None
    warp: bool | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in TRAINING_BOUNDS.items():
            value = getattr(self, name)
            expected = f"{low} to {high}"
            require(
                value is None or low <= value <= high, f"Unusable training {name}.", expected=expected, received=value
            )
        for name, choices in (("schedule", SCHEDULES), ("balance", BALANCES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            require(value is None or value in choices, f"Unknown {name}.", expected=" | ".join(choices), received=value)
        sizes = self.sizes or ()
        require(
            list(sizes) == sorted(set(sizes)) and all(32 <= size <= 2048 for size in sizes),
            "Progressive sizes grow.",
            expected="distinct sides of 32 to 2048 pixels, small to large",
            received=sizes,
        )

    def resolved(self, rung: str) -> "Training":
        """The same with every None replaced by the rung's default."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        if rung != "finetune":
            given.pop("sizes", None)  # the others take pictures of one size
        return replace(Training(**{**COMMON_DEFAULTS, **STRATEGY_DEFAULTS.get(rung, {})}), **given)


TRAINING_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "patience": (1, 10_000),
    "batch": (1, 65_536),
    "rate": (1e-9, 10.0),
    "warmup": (0.0, 1.0),
    "decay": (0.0, 10.0),
    "depth_decay": (0.01, 1.0),
    "dropout": (0.0, 0.95),
    "label_smoothing": (0.0, 0.9),
    "mixup": (0.0, 10.0),
    "cutmix": (0.0, 10.0),
    "randaugment": (0.0, 1.0),
    "ema": (0.0, 0.99999),
    "cached_views": (0, 100),
    "polish": (0, 1_000),
}
COMMON_DEFAULTS: dict[str, Any] = {
    "epochs": 30,
    "patience": 5,
    "batch": 32,
    "rate": 1e-3,
    "warmup": 0.0,
    "schedule": "cosine",
    "decay": 0.0,
    "depth_decay": 1.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "randaugment": 0.0,
    "ema": 0.0,
    "balance": "none",
    "unfreeze": "0.3",
    "cached_views": 4,
    "polish": 0,
    "end_to_end": False,
    "sizes": (),
    "symmetries": False,
    "warp": True,
    "precision": "auto",
}
STRATEGY_DEFAULTS: dict[str, dict[str, Any]] = {
    "scratch": {"epochs": 30, "patience": 6},
    "augmented": {"epochs": 60, "patience": 15, "dropout": 0.5, "warmup": 0.05},
    "frozen": {"epochs": 40, "patience": 8, "dropout": 0.5, "batch": 64},
    "finetune": {"epochs": 10, "patience": 8, "rate": 3e-4, "warmup": 0.1, "dropout": 0.2, "decay": 0.01, "ema": 0.98},
}
"""What differs from COMMON, by rung."""


STRATEGIES = ("scratch", "augmented", "features", "frozen", "finetune")
SCRATCH_STRATEGIES = ("scratch", "augmented")
"""Rungs that train a small network from nothing, and look through no base."""
HEADS = ("linear", "gaussian", "dense")
GROUPINGS = ("duplicates", "estimated")
SYMMETRY_VIEWS = ("plain", "flip", "rotate90", "rotate180", "rotate270", "transpose", "transverse", "flip-vertical")
VIEW_PATTERN = re.compile(rf"{'|'.join(SYMMETRY_VIEWS)}|augment-[1-9][0-9]*")


def select_bases(rung: str, bases: Sequence[str]) -> tuple[str, ...]:
    """Those of a recipe's bases that a rung looks through."""
    if rung in SCRATCH_STRATEGIES:
        return ()
    return tuple(bases if rung == "features" else bases[:1])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Args:
        rung: the way to train.
        bases: the pretrained networks, each `name[@cut][+pooling][=weights]` (see pipeline/models/base.py).
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
        require(self.rung in STRATEGIES, "Unknown rung.", expected=" | ".join(STRATEGIES), received=self.rung)
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
                    VIEW_PATTERN.fullmatch(view),
                    "Unknown view.",
                    expected=f"{' | '.join(SYMMETRY_VIEWS)} | augment-1 ...",
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
        return select_bases(self.rung, self.bases)

    @property
    def regime(self) -> Training:
        """`training` with nothing left open."""
        return self.training.resolved(self.rung)

    @property
    def training_views(self) -> tuple[str, ...]:
        """The views whose features the head is trained on: `train_views`, and the augmented ones."""
        augmented = (f"augment-{number}" for number in range(1, self.augmented_views + 1))
        return tuple(dict.fromkeys((*self.train_views, *augmented)))


__all__ = [
    "GROUPINGS", "HEADS", "LAYOUTS", "NAME_PATTERN", "STRATEGIES", "SYMMETRY_VIEWS", "VIEW_PATTERN",
    "Competition", "Labels", "Recipe", "Submission", "Training", "require",
]  # fmt: skip
LAYOUTS = ("one column per class", "class name", "probability")
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Where the labels are: in a CSV file, in the names of class folders, or in the file names.

    Args:
        folder: the training pictures, below the competition's data.
        csv: a CSV file of labels; then `image` and `label` name its columns.
        image: the column of picture ids.
        label: the column of class names.
        suffix: what an id lacks to be a file's path below its folder (`.jpg`); empty where ids are such paths.
        pattern: for labels in file names, a regular expression with a group `label`, matched against the whole name.
        positive: for two classes, the one whose probability is asked for.
        test: the folder of test pictures, below the competition's data; None where there are none.
    """

    folder: str = "train"
    csv: str | None = None
    image: str = "id"
    label: str = "label"
    suffix: str = ""
    pattern: str | None = None
    positive: str | None = None
    test: str | None = "test"

    def __post_init__(self) -> None:
        for name, value in (("folder", self.folder), ("test", self.test), ("csv", self.csv)):
            place = PurePosixPath(value or ".")
            require(
                value != "" and not place.is_absolute() and ".." not in place.parts,
                f"Labels.{name} lies below the competition's data.",
                expected="a name such as train, or . for the data's own folder" if name == "folder" else "a name",
                received=repr(value),
            )
        require(
            not (self.csv and self.pattern),
            "Labels come from one place.",
            expected="csv or pattern (or neither, for class folders)",
            received=(self.csv, self.pattern),
        )
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise StarshiftError("Labels.pattern is no regular expression.", received=str(error)) from error
            require(
                "label" in groups,
                "Labels.pattern must name the label.",
                expected="a group (?P<label>...)",
                received=self.pattern,
            )

    @property
    def kind(self) -> str:
        """`csv`, `pattern` or `folders`."""
        return "csv" if self.csv else "pattern" if self.pattern else "folders"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The CSV file that Kaggle wants.

    Args:
        image: the column of picture ids.
        layout: `one column per class` (probabilities), `class name` (the likeliest class) or `probability` (of
            `Labels.positive`).
        label: the column of the answer, for the last two layouts.
        sample: the sample submission, below the competition's data.
    """

    image: str = "id"
    layout: str = "one column per class"
    label: str = "label"
    sample: str = "sample_submission.csv"

    def __post_init__(self) -> None:
        require(
            self.layout in LAYOUTS, "Unknown submission layout.", expected=" | ".join(LAYOUTS), received=self.layout
        )


@dataclass(frozen=True, kw_only=True)
class Competition:
    """One task: its data, its metric, its submission and its recipe.

    Args:
        name: how it is called on the command line: small letters, digits, `-` and `_`.
        slug: Kaggle's name for it; None where the pictures are one's own.
        data: one's own pictures: a folder, absolute or relative to the competition file. Instead of `slug`.
        drawn: the set that the repository draws itself: `sprouts`. Instead of `slug`.
        labels: where the labels are.
        submission: Kaggle's CSV format; None writes id, class and one column a class.
        metric: what is reported and what `best` means, a name in evaluation/metrics.py, which checks it.
        recipe: how to train.
    """

    name: str
    slug: str | None = None
    data: str | None = None
    drawn: str | None = None
    labels: Labels = field(default_factory=Labels)
    submission: Submission | None = None
    metric: str = "log_loss"
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        require(
            NAME_PATTERN.fullmatch(self.name),
            "Unusable competition name.",
            expected=NAME_PATTERN.pattern,
            received=self.name,
        )
        require(
            [bool(self.slug), bool(self.data), bool(self.drawn)].count(True) == 1,
            f"{self.name}: the pictures come from one place.",
            expected="slug (Kaggle's name), data (a folder of one's own) or drawn",
            received={"slug": self.slug, "data": self.data, "drawn": self.drawn},
        )
        require(self.drawn in (None, "sprouts"), "No such set is drawn.", expected="sprouts", received=self.drawn)
        needs_positive = self.submission is not None and self.submission.layout == "probability"
        require(
            self.labels.positive or not needs_positive,
            "A submission of one probability needs to know of which class.",
            expected="Labels(positive=...)",
            received=None,
        )

    def positive_of(self, classes: Sequence[str]) -> int | None:
        """The number, among these classes, of the one whose probability is asked for; None where none is."""
        wanted = self.labels.positive
        return list(classes).index(wanted) if wanted is not None and wanted in classes else None

    def fingerprint(self) -> str:
        """SHA-256 over every field that decides a run's result, as 64 hex digits."""
        return hash_json(asdict(self))
