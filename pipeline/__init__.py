"""Starshift: transfer learning for small image sets. What stands here is the public API (docs/api.md).

    import pipeline

    run = pipeline.run("path/to/pictures")         # class folders, or the name of a competition
    pipeline.predict(run, "photo.jpg")             # probabilities, a row a picture
    pipeline.evaluate(run).accuracy                # out-of-fold, with its interval

Names are imported at their first use, so that `import pipeline` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import Evaluation, evaluate, list_runs, load_run, predict, run
    from pipeline.config import Competition, Labels, Recipe, Submission, Training
    from pipeline.errors import StarshiftError
    from pipeline.runs.load import Run

__all__ = [
    "Competition", "Evaluation", "Labels", "Recipe", "Run", "StarshiftError", "Submission", "Training", "evaluate",
    "list_runs", "load_run", "predict", "run",
]  # fmt: skip
_MODULES = {
    **dict.fromkeys(("Competition", "Labels", "Recipe", "Submission", "Training"), "pipeline.config"),
    **dict.fromkeys(("Evaluation", "evaluate", "list_runs", "load_run", "predict", "run"), "pipeline.api"),
    "Run": "pipeline.runs.load",
    "StarshiftError": "pipeline.errors",
}


def __getattr__(name: str) -> Any:
    """Imports a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}; public are {', '.join(__all__)}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
