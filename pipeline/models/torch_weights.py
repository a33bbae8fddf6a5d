"""Reads weights that torch saved in its legacy format, without torch and without running anything that the file names.

The format (torch/serialization.py, `_legacy_save`): five pickles, which are a magic number, the version, the machine's
types, the tensors by name and the keys of their storages; then each storage as its length and its numbers. A pickle can
call whatever it names, so only ordered dictionaries, torch's rebuilding of a tensor and numeric storages are allowed.
"""

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import StarshiftError

MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGE_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}
FORMAT = "a dictionary of tensors, saved by torch in its legacy format"


class _Storage(NamedTuple):
    """Numbers that tensors share: the key of the storage, NumPy's name of its dtype, and how many numbers it has."""

    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    """A tensor of a storage; `offset` and `strides` count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Stands for torch._utils._rebuild_tensor_v2; the rest is about gradients."""
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise ValueError("it holds a tensor without a storage, or with other strides than sides")
    if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
        raise ValueError("it holds a tensor whose place in its storage is not given by whole numbers")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _RestrictedUnpickler(pickle.Unpickler):
    """Unpickles plain values, ordered dictionaries and tensors; refuses everything else that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name stands for. A storage's is its dtype, which cannot be called."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that a tensor refers to: ("storage", dtype, key, device, count, view)."""
        kind, dtype, key, _, count, view = pid
        if kind != "storage" or dtype not in STORAGE_DTYPES.values() or view is not None or type(count) is not int:
            raise pickle.UnpicklingError("it refers to something that is no plain storage")
        return _Storage(str(key), dtype, count)


def read_torch_weights(path: Path, sha256: str = "", remedy: str = "") -> dict[str, np.ndarray]:
    """Reads the tensors of a file by name, each a C-contiguous array of its own.

    Args:
        path: of a file that torch saved.
        sha256: the file's digest; empty reads any file.
        remedy: what to do about another or a damaged file, for the error.

    Raises:
        StarshiftError: the file has another digest, is damaged, or is in another format.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and digest != sha256:
        raise StarshiftError(
            f"{path.name} is damaged, or another file.",
            expected=f"SHA-256 {sha256}",
            received=f"{digest} of {len(content):,} bytes in {path}",
            remedy=remedy,
        )
    try:
        return _parse_file(content)
    # What a pickle raises depends on where it is damaged.
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError,
            TypeError, ValueError) as error:  # fmt: skip
        reason = "a zip archive" if content.startswith(b"PK") else str(error) or type(error).__name__
        raise StarshiftError(
            f"{path.name} holds no weights that can be read.",
            expected=FORMAT,
            received=f"{reason[:300]}, in {path}",
            remedy=remedy or "torch.save(tensors, file, _use_new_zipfile_serialization=False) writes that format",
        ) from error


def _parse_file(content: bytes) -> dict[str, np.ndarray]:
    """Parses the pickles and the storages after them."""
    file = io.BytesIO(content)
    magic, version, machine, tensors, keys = (_RestrictedUnpickler(file).load() for _ in range(5))
    if magic != MAGIC_NUMBER or version != PROTOCOL_VERSION or machine["little_endian"] is not True:
        raise ValueError("it does not begin as torch's legacy format of a little-endian machine does")
    if not all(isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()):
        raise ValueError("it holds something that is no tensor")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    values = {key: _read_storage(file, storages[key]) for key in keys}
    if file.read(1):
        raise ValueError("numbers are left over")
    return {name: _copy_tensor(values[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _read_storage(file: io.BytesIO, storage: _Storage) -> np.ndarray:
    """Reads the numbers of one storage, (length,), after their number as eight bytes."""
    length, size = int.from_bytes(file.read(8), "little"), np.dtype(storage.dtype).itemsize * storage.length
    data = file.read(size)
    if length != storage.length or len(data) != size:
        raise ValueError(f"it breaks off, or a storage has {length:,} numbers instead of {storage.length:,}")
    return np.frombuffer(data, storage.dtype)


def _copy_tensor(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """Copies a tensor out of its storage. A tensor may be stored transposed: only its strides tell."""
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    # Strides of 0 would make a small file a huge tensor.
    if 0 in tensor.shape or last >= len(storage) or math.prod(tensor.shape) > len(storage):
        raise ValueError("a tensor is empty, or larger than its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
