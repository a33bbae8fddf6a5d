"""A network's weights at half their size: float16 in Keras's own format, which loads like any other."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import write_atomic


def save_halved(network: Any, path: Path) -> None:
    """Saves a network's weights with float16 numbers, atomically.

    Args:
        network: a Keras model.
        path: ends with .weights.h5.
    """
    import h5py

    halved = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full.weights.h5"
        network.save_weights(full)
        with h5py.File(full) as source, h5py.File(halved, "w") as target:
            target.attrs.update(source.attrs)

            def copy(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    values = item[()]
                    made = target.create_dataset(name, data=values.astype(np.float16) if _is_float(values) else values)
                else:
                    made = target.require_group(name)
                made.attrs.update(item.attrs)

            source.visititems(copy)
    write_atomic(path, lambda file: file.write(halved.getvalue()))


def _is_float(values: Any) -> bool:
    """Whether it is float32 numbers, which halve."""
    return getattr(values, "dtype", None) == np.float32
