"""What a competition is: frozen data, checked when made, changed only by `replace`. Competition files import from here.

Standard library only, so that the command line can read every competition at once without waiting.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

from pipeline.errors import StarshiftError, require
from pipeline.files import sha256_of_json
from pipeline.recipe import GROUPINGS, HEADS, RUNGS, SYMMETRIES, VIEW, Recipe
from pipeline.regime import Training

__all__ = [
    "GROUPINGS", "HEADS", "LAYOUTS", "METRICS", "NAME", "RUNGS", "SYMMETRIES", "VIEW",
    "Competition", "Labels", "Recipe", "Submission", "Training", "require",
]  # fmt: skip
METRICS = ("log_loss", "binary_log_loss", "auc", "micro_f1", "accuracy")
LAYOUTS = ("one column per class", "class name", "probability")
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

    def positive_of(self, classes: Sequence[str]) -> int | None:
        """The number, among these classes, of the one whose probability is asked for; None where none is."""
        wanted = self.labels.positive
        return list(classes).index(wanted) if wanted is not None and wanted in classes else None

    def fingerprint(self) -> str:
        """SHA-256 over every field that decides a run's result, as 64 hex digits."""
        return sha256_of_json(asdict(self))
