"""Configuration of a competition and of a run: frozen dataclasses, validated on construction, changed by `replace`.

Competition files import from here. Standard library only, so that the command line reads every competition at once.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args, get_type_hints

from pipeline.errors import StarshiftError, require, require_name
from pipeline.fields import check_fields
from pipeline.files import hash_json
from pipeline.names import HEADS, SCRATCH_STRATEGIES, STRATEGIES, SYMMETRY_VIEWS, VIEW_PATTERN, VIEWS

__all__ = [
    "GROUPINGS", "HEADS", "LAYOUTS", "NAME_PATTERN", "SCRATCH_STRATEGIES", "STRATEGIES", "SYMMETRY_VIEWS",
    "VIEWS", "VIEW_PATTERN", "Competition", "Labels", "Recipe", "Submission", "Training", "require",
]  # fmt: skip
GROUPINGS = ("duplicates", "estimated")
LAYOUTS = ("one column per class", "class name", "probability")
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]*")
SIZES = (32, 2048)
"""Smallest and largest side of a picture in pixels."""


def _setting(default: Any, low: float | None = None, high: float | None = None, choices: Sequence[str] = ()) -> Any:
    """A field of Training: None unless set, with its default and its bounds or choices."""
    return field(default=None, metadata={"default": default, "bounds": (low, high), "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained; a field that is None takes the strategy's default.

    Args:
        epochs: the most that are trained.
        patience: epochs without a better validation metric before training stops.
        batch_size: pictures a step.
        learning_rate: the highest learning rate.
        warmup: share of the steps in which the learning rate rises to it from 0.
        schedule: `cosine` (down to 0 over the epochs) or `constant`.
        weight_decay: decoupled weight decay of matrices and kernels (AdamW; Loshchilov and Hutter 2019).
        layer_decay: factor of the learning rate for each block going down (Howard and Ruder 2018); 1 is none.
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

    epochs: int | None = _setting(30, 1, 10_000)
    patience: int | None = _setting(5, 1, 10_000)
    batch_size: int | None = _setting(32, 1, 65_536)
    learning_rate: float | None = _setting(1e-3, 1e-9, 10.0)
    warmup: float | None = _setting(0.0, 0.0, 1.0)
    schedule: str | None = _setting("cosine", choices=("cosine", "constant"))
    weight_decay: float | None = _setting(0.0, 0.0, 10.0)
    layer_decay: float | None = _setting(1.0, 0.01, 1.0)
    dropout: float | None = _setting(0.0, 0.0, 0.95)
    label_smoothing: float | None = _setting(0.0, 0.0, 0.9)
    mixup: float | None = _setting(0.0, 0.0, 10.0)
    cutmix: float | None = _setting(0.0, 0.0, 10.0)
    randaugment: float | None = _setting(0.0, 0.0, 1.0)
    ema: float | None = _setting(0.0, 0.0, 0.99999)
    balance: str | None = _setting("none", choices=("none", "weights", "sampling"))
    unfreeze: str | None = _setting("0.3")
    cached_views: int | None = _setting(4, 0, 100)
    polish: int | None = _setting(0, 0, 1_000)
    end_to_end: bool | None = _setting(False)
    sizes: tuple[int, ...] | None = _setting(())
    symmetries: bool | None = _setting(False)
    warp: bool | None = _setting(True)
    precision: str | None = _setting("auto", choices=("auto", "float32", "bfloat16"))

    def __post_init__(self) -> None:
        check_fields(self)
        for setting in fields(self):
            name, value, (low, high) = setting.name, getattr(self, setting.name), setting.metadata["bounds"]
            if value is not None and low is not None:
                require(low <= value <= high, f"Unusable training {name}.", expected=f"{low} to {high}", received=value)
            if value is not None and (choices := setting.metadata["choices"]):
                require_name(value, choices, f"Unknown {name}.")
        sizes = self.sizes or ()
        require(
            list(sizes) == sorted(set(sizes)) and all(SIZES[0] <= size <= SIZES[1] for size in sizes),
            "Progressive sizes grow.",
            expected="distinct sides of 32 to 2048 pixels, small to large",
            received=sizes,
        )

    def resolved(self, strategy: str) -> "Training":
        """Replaces every None by the default of a strategy."""
        values = {setting.name: setting.metadata["default"] for setting in fields(self)}
        values |= STRATEGIES[strategy].defaults if strategy in STRATEGIES else {}
        values |= {name: value for name in values if (value := getattr(self, name)) is not None}
        if strategy != "finetune":
            values["sizes"] = ()  # other strategies take pictures of one size
        return Training(**values)


def select_bases(strategy: str, bases: Sequence[str]) -> tuple[str, ...]:
    """Selects the bases that a strategy uses: all for `features`, the first where one is trained, or none."""
    if strategy in SCRATCH_STRATEGIES:
        return ()
    return tuple(bases if strategy == "features" else bases[:1])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Args:
        strategy: the strategy.
        bases: the pretrained networks, each `name[:size][@cut][+pooling][=weights]` (see pipeline/models/base.py).
        size: side of the square pictures in pixels; None takes each base's own.
        head: `linear` (softmax or sigmoid with L2, full-batch L-BFGS), `lda` (linear discriminant analysis with a
            shrunk covariance) or `mlp` (256, ReLU, dropout 0.5).
        l2: factor of the linear head's L2 penalty; None chooses it on the folds, together with the scale of its logits.
        folds: number of stratified folds; 1 is a single hold-out.
        holdout: the validation share where `folds` is 1.
        grouping: what folds keep together: `duplicates` (equal pixels) or `estimated` (one scene, as estimated by
            `invoke audit`).
        views: the views that are predicted and averaged.
        train_views: the views that the head is trained on.
        augmented_views: number of cached augmented views that the head is trained on beside those.
        training: how a network is trained, for the strategies that train one.
        seed: of training and of augmentation.
        split_seed: of the folds, apart from `seed` so that seeds can be compared on one split.
    """

    strategy: str = "features"
    bases: tuple[str, ...] = ("efficientnet_lite2",)
    size: int | None = None
    head: str = "linear"
    l2: float | None = None
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
        check_fields(self)
        require_name(self.strategy, STRATEGIES, "Unknown strategy.")
        require_name(self.head, HEADS, "Unknown head.")
        require_name(self.grouping, GROUPINGS, "Unknown grouping.")
        distinct, seeds = len(set(self.bases)) == len(self.bases), (self.seed, self.split_seed)
        size, l2 = self.size or SIZES[0], 1.0 if self.l2 is None else self.l2
        for condition, message, expected, received in (
            (self.bases, "A recipe needs a base.", "at least one name", self.bases),
            (distinct, "A base is named twice.", "distinct bases", self.bases),
            (self.size != 0 and SIZES[0] <= size <= SIZES[1], "Unusable picture size.", "None or 32 to 2048 pixels",
             self.size),
            (l2 > 0, "Unusable l2.", "None, or a number above 0 such as 3e-5", self.l2),
            (1 <= self.folds <= 50, "Unusable number of folds.", "1 to 50", self.folds),
            (0 < self.holdout < 1, "Unusable hold-out share.", "between 0 and 1", self.holdout),
            (0 <= self.augmented_views <= 100, "Unusable number of augmented views.", "0 to 100", self.augmented_views),
            (all(0 <= seed < 2**32 for seed in seeds), "Unusable seed.", "0 to 4294967295", seeds),
        ):  # fmt: skip
            require(condition, message, expected=expected, received=received)
        for views in (self.views, self.train_views):
            distinct = bool(views) and len(set(views)) == len(views)
            require(
                distinct, "Views are distinct, and at least one.", expected="e.g. ('plain', 'flip')", received=views
            )
            expected = f"{' | '.join(VIEWS)} | augment-1 ..."
            for view in views:
                if not VIEW_PATTERN.fullmatch(view):
                    require_name(view, VIEWS, "Unknown view.", expected=expected)

    @property
    def used_bases(self) -> tuple[str, ...]:
        """The bases that the strategy uses, see `select_bases`."""
        return select_bases(self.strategy, self.bases)

    @property
    def resolved_training(self) -> Training:
        """`training` with every None replaced by the strategy's default."""
        return self.training.resolved(self.strategy)

    @property
    def training_views(self) -> tuple[str, ...]:
        """The views whose features the head is trained on: `train_views`, and the augmented ones."""
        augmented = (f"augment-{number}" for number in range(1, self.augmented_views + 1))
        return tuple(dict.fromkeys((*self.train_views, *augmented)))


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
        positive: for two classes, the one whose probability is submitted.
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
        check_fields(self)
        for name, value in (("folder", self.folder), ("test", self.test), ("csv", self.csv)):
            path = PurePosixPath(value or ".")
            require(
                value != "" and not path.is_absolute() and ".." not in path.parts,
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
    """The CSV file that Kaggle expects.

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
        check_fields(self)
        require_name(self.layout, LAYOUTS, "Unknown submission layout.")


@dataclass(frozen=True, kw_only=True)
class Competition:
    """One task: its data, its metric, its submission and its recipe.

    Args:
        name: as on the command line: small letters, digits, `-` and `_`.
        slug: Kaggle's name for it; None where the pictures are one's own.
        data: one's own pictures: a folder, absolute or relative to the competition file. Instead of `slug`.
        synthetic: the set that the repository draws itself: `sprouts`. Instead of `slug`.
        labels: where the labels are.
        submission: Kaggle's CSV format; None writes id, class and one column a class.
        metric: the score that is reported and optimised, a name in evaluation/metrics.py, which checks it.
        recipe: how to train.
    """

    name: str
    slug: str | None = None
    data: str | None = None
    synthetic: str | None = None
    labels: Labels = field(default_factory=Labels)
    submission: Submission | None = None
    metric: str = "log_loss"
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check_fields(self)
        require(
            NAME_PATTERN.fullmatch(self.name),
            "Unusable competition name.",
            expected=NAME_PATTERN.pattern,
            received=self.name,
        )
        require(
            [bool(self.slug), bool(self.data), bool(self.synthetic)].count(True) == 1,
            f"{self.name}: the pictures come from one place.",
            expected="slug (Kaggle's name), data (a folder of one's own) or synthetic",
            received={"slug": self.slug, "data": self.data, "synthetic": self.synthetic},
        )
        if self.synthetic is not None:
            require_name(self.synthetic, ("sprouts",), "No such synthetic set.")
        needs_positive = self.submission is not None and self.submission.layout == "probability"
        require(
            self.labels.positive or not needs_positive,
            "A submission of one probability needs to know of which class.",
            expected="Labels(positive=...)",
            received=None,
        )

    def positive_of(self, classes: Sequence[str]) -> int | None:
        """Returns the number of the positive class among these classes; None where there is none."""
        positive = self.labels.positive
        return list(classes).index(positive) if positive is not None and positive in classes else None

    def fingerprint(self) -> str:
        """Computes the SHA-256 of every field that decides a run's result, 64 hex digits."""
        return hash_json(asdict(self))


_COMPETITION_FILES: dict[str, str] = {}


def register_competition_file(name: str, file: str) -> None:
    """Registers the file of a competition outside the repository."""
    _COMPETITION_FILES[name] = shlex.quote(file)


def find_comp_argument(name: str) -> str:
    """Returns what --comp takes for a competition, so that a command in a message works as it stands."""
    return _COMPETITION_FILES.get(name, name)


DEBUG_FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run beside the recipe.

    Args:
        bundle: an archive downloaded by hand.
        debug: use a few pictures only.
        folds: train these only; empty trains all.
        force: fetch and compute again.
        resplit: make new folds.
        engine: `auto` or the name of an engine.
        tensorboard: write TensorBoard's files.
        skip_submission: write no submission.
        recompute: compute cached features again.
        capture_for: of a `finetune` that follows; the activations that it needs are cached in the same pass.
        continued: the folder of a finished run whose weights training starts from.
    """

    bundle: Path | None = None
    debug: bool = False
    folds: tuple[int, ...] = ()
    force: bool = False
    resplit: bool = False
    engine: str = "auto"
    tensorboard: bool = False
    skip_submission: bool = False
    recompute: bool = False
    capture_for: Training | None = None
    continued: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)


def apply_options(competition: Competition, options: RunOptions) -> Competition:
    """Applies the options that change the recipe: --debug uses few folds."""
    recipe = competition.recipe
    return replace(competition, recipe=replace(recipe, folds=DEBUG_FOLDS)) if options.debug else competition


def select_folds(recipe: Recipe, options: RunOptions) -> tuple[int, ...]:
    """Selects the folds to train: all, unless some are named.

    Raises:
        StarshiftError: there is no such fold.
    """
    folds = options.folds or tuple(range(recipe.folds))
    unknown = sorted(set(folds) - set(range(recipe.folds)))
    require(not unknown, "There is no such fold.", expected=f"0 to {recipe.folds - 1}", received=unknown)
    return folds


def build_dataclass(kind: type[Any], values: dict[str, Any]) -> Any:
    """Builds a frozen dataclass from its `asdict` in JSON: mappings become its dataclasses, and lists tuples."""
    hints = get_type_hints(kind)
    return kind(**{name: _build_value(hints[name], value) for name, value in values.items()})


def _build_value(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_build_value(hint, item) for item in value)
    kinds = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and is_dataclass(one)]
    return build_dataclass(kinds[0], value) if kinds and isinstance(value, dict) else value
