"""What a competition is and how to train on it: frozen data, checked when made, changed only by `replace`.

Standard library only, so that the command line can read every competition at once without waiting.
"""

import re
from dataclasses import asdict, dataclass, field

from pipeline.errors import StarshiftError, require
from pipeline.files import sha256_of_json
from pipeline.regime import Training

RUNGS = ("scratch", "augmented", "features", "frozen", "finetune")
HEADS = ("linear", "gaussian", "dense")
METRICS = ("log_loss", "binary_log_loss", "auc", "micro_f1", "accuracy")
GROUPINGS = ("duplicates", "estimated")
LAYOUTS = ("one column per class", "class name", "probability")
SYMMETRIES = ("plain", "flip", "rotate90", "rotate180", "rotate270", "transpose", "transverse", "flip-vertical")
VIEW = re.compile(rf"{'|'.join(SYMMETRIES)}|augment-[1-9][0-9]*")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


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
class Recipe:
    """How to train.

    Args:
        rung: the way to train.
        bases: the pretrained networks, each `name[@cut][+pooling][=weights]` (see pipeline/models/bases.py).
        size: side of the square pictures in pixels; None takes each base's own.
        head: `linear` (softmax or sigmoid with L2, full-batch L-BFGS), `gaussian` (linear discriminant analysis with a
            shrunk covariance) or `dense` (256, ReLU, dropout 0.5).
        strength: of the linear head's L2; None chooses it on the folds. Stronger than chosen, probabilities are too
            cautious but often in a better order: something for an ensemble to sharpen.
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
    def regime(self) -> Training:
        """`training` with nothing left open."""
        return self.training.resolved(self.rung)

    @property
    def training_views(self) -> tuple[str, ...]:
        """The views whose features the head is trained on: `train_views`, and the augmented ones."""
        augmented = (f"augment-{number}" for number in range(1, self.augmented_views + 1))
        return tuple(dict.fromkeys((*self.train_views, *augmented)))


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
        metric: what is reported and what `best` means.
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
        require(NAME.fullmatch(self.name), "Unusable competition name.", expected=NAME.pattern, received=self.name)
        require(
            [bool(self.slug), bool(self.data), bool(self.drawn)].count(True) == 1,
            f"{self.name}: the pictures come from one place.",
            expected="slug (Kaggle's name), data (a folder of one's own) or drawn",
            received={"slug": self.slug, "data": self.data, "drawn": self.drawn},
        )
        require(self.drawn in (None, "sprouts"), "No such set is drawn.", expected="sprouts", received=self.drawn)
        require(self.metric in METRICS, "Unknown metric.", expected=" | ".join(METRICS), received=self.metric)
        needs_positive = self.submission is not None and self.submission.layout == "probability"
        require(
            self.labels.positive or not needs_positive,
            "A submission of one probability needs to know of which class.",
            expected="Labels(positive=...)",
            received=None,
        )

    def fingerprint(self) -> str:
        """SHA-256 over every field that decides a run's result, as 64 hex digits."""
        return sha256_of_json(asdict(self))
