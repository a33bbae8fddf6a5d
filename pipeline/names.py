"""Names that a recipe may use: strategies, heads and views, each with what its validation needs to know.

The code behind a name is in a table of its package: docs/extend.md says which. Standard library only, as in config.py.
"""

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StrategyInfo:
    """What a recipe needs to know of a strategy; training/strategies.py has the function that trains a fold.

    Args:
        from_scratch: it trains a small network from random weights, without a base.
        defaults: of the fields of Training, where they differ from the fields' own.
    """

    from_scratch: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)


STRATEGIES = {
    "scratch": StrategyInfo(from_scratch=True, defaults={"epochs": 30, "patience": 6}),
    "augmented": StrategyInfo(
        from_scratch=True, defaults={"epochs": 60, "patience": 15, "dropout": 0.5, "warmup": 0.05}
    ),
    "features": StrategyInfo(),
    "frozen": StrategyInfo(defaults={"epochs": 40, "patience": 8, "dropout": 0.5, "batch_size": 64}),
    "finetune": StrategyInfo(
        defaults={
            "epochs": 10, "patience": 8, "learning_rate": 3e-4, "warmup": 0.1, "dropout": 0.2, "weight_decay": 0.01,
            "ema": 0.98,
        }
    ),
}  # fmt: skip
SCRATCH_STRATEGIES = tuple(name for name, strategy in STRATEGIES.items() if strategy.from_scratch)


@dataclass(frozen=True, kw_only=True)
class HeadInfo:
    """What a recipe needs to know of a head; training/linear_probe.py has the function that fits it.

    Args:
        tuned: what each fold chooses on the other folds, in words; empty where it chooses nothing there.
        takes_soft_targets: it can learn from teachers.
    """

    tuned: str = ""
    takes_soft_targets: bool = True


HEADS = {
    "linear": HeadInfo(tuned="l2"),
    "lda": HeadInfo(tuned="shrinkage and scale", takes_soft_targets=False),
    "mlp": HeadInfo(),
}
SYMMETRY_VIEWS = ("plain", "flip", "rotate90", "rotate180", "rotate270", "transpose", "transverse", "flip-vertical")
"""The symmetries of the square."""
VIEWS = SYMMETRY_VIEWS
"""All views but the augmented ones; data/transforms.py has the function of each."""
VIEW_PATTERN = re.compile(rf"{'|'.join(VIEWS)}|augment-[1-9][0-9]*")
