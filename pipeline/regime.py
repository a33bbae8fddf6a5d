"""How a network is trained: epochs, rates, regularisation. Every rung has its defaults; a recipe names what differs.

A field that is None takes the rung's default, so a recipe says `Training(rate=3e-5)` and nothing else.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from pipeline.errors import require

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
        for name, (low, high) in BOUNDS.items():
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
        return replace(Training(**{**COMMON, **DEFAULTS.get(rung, {})}), **given)


BOUNDS: dict[str, tuple[float, float]] = {
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
COMMON: dict[str, Any] = {
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
DEFAULTS: dict[str, dict[str, Any]] = {
    "scratch": {"epochs": 30, "patience": 6},
    "augmented": {"epochs": 60, "patience": 15, "dropout": 0.5, "warmup": 0.05},
    "frozen": {"epochs": 40, "patience": 8, "dropout": 0.5, "batch": 64},
    "finetune": {"epochs": 10, "patience": 8, "rate": 3e-4, "warmup": 0.1, "dropout": 0.2, "decay": 0.01, "ema": 0.98},
}
"""What differs from COMMON, by rung."""
