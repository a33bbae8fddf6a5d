"""Names the backend that Keras computes on, without importing Keras; refuses what TensorFlow alone can do."""

import importlib.util
import os
from pathlib import Path

from pipeline.errors import StarshiftError
from pipeline.files import read_json

BACKENDS = ("tensorflow", "jax")
"""Those that the pipeline runs on; the first is Keras's default."""


def find_keras_home() -> Path:
    """Returns the folder of Keras's settings and of the weights that it downloads."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def find_backend() -> str:
    """Returns the backend that Keras takes when it is imported: that of KERAS_BACKEND, or else of its settings.

    Raises:
        StarshiftError: it is not one of BACKENDS, or not installed.
    """
    settings = read_json(find_keras_home() / "keras.json")
    stored = settings.get("backend") if isinstance(settings, dict) else None
    backend = os.environ.get("KERAS_BACKEND") or stored or BACKENDS[0]
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if backend in installed:
        return str(backend)
    raise StarshiftError(
        "Keras cannot compute on this backend here.",
        expected=f"KERAS_BACKEND as one of {' | '.join(BACKENDS)}, installed",
        received=f"{backend}; installed: {', '.join(installed) or 'none'}",
        remedy=f"KERAS_BACKEND={installed[0]}" if installed else "pip install -r requirements.txt",
    )


def require_tensorflow(feature: str, remedy: str) -> None:
    """Raises a StarshiftError where the backend is another one.

    Args:
        feature: what TensorFlow alone can do, the subject of the message.
        remedy: what to do without TensorFlow.
    """
    if (backend := find_backend()) != "tensorflow":
        raise StarshiftError(
            f"{feature} needs TensorFlow.", expected="KERAS_BACKEND=tensorflow", received=backend, remedy=remedy
        )
