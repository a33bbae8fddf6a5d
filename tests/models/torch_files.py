"""Writes weights files as torch does in its legacy format, without torch."""

import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest


def _name(thing, module: str):
    """Makes a pickle call a thing of this file by torch's name."""
    thing.__module__, thing.__qualname__ = module, thing.__name__
    return thing


def _rebuild_tensor_v2(*_):
    """What the pickle names; it is only named."""


_name(_rebuild_tensor_v2, "torch._utils")
FloatStorage = _name(type("FloatStorage", (), {}), "torch")


class Stored:
    """A tensor: numbers of a storage, with an offset, sides and strides that count numbers."""

    def __init__(self, numbers, shape, strides, offset=0):
        self.numbers, self.place = np.asarray(numbers, np.float32), (offset, tuple(shape), tuple(strides))

    @classmethod
    def of(cls, array):
        """The tensor as its memory has it: a transposed array is stored transposed."""
        memory = array if array.base is None else array.base
        return cls(memory.ravel(), array.shape, [step // array.itemsize for step in array.strides])

    def __reduce__(self):
        return _rebuild_tensor_v2, (_Reference(self.numbers), *self.place, False, OrderedDict())


class _Reference:
    def __init__(self, numbers):
        self.numbers = numbers


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        if not isinstance(thing, _Reference):
            return None
        return "storage", FloatStorage, str(id(thing.numbers)), "cpu", len(thing.numbers), None


def write_torch_file(path: Path, tensors: dict, machine: dict | None = None) -> Path:
    """Writes tensors by name: `Stored` ones, or arrays of float32 as their memory has them."""
    stored = OrderedDict(
        (name, Stored.of(one) if isinstance(one, np.ndarray) else one) for name, one in tensors.items()
    )
    storages = {str(id(one.numbers)): one.numbers for one in stored.values() if isinstance(one, Stored)}
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils, torch.FloatStorage, utils._rebuild_tensor_v2 = utils, FloatStorage, _rebuild_tensor_v2
    with pytest.MonkeyPatch.context() as patch, path.open("wb") as file:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utils)
        for thing in (0x1950A86A20F9469CFC6C, 1001, machine or {"little_endian": True}, stored, sorted(storages)):
            _Pickler(file, 2).dump(thing)
        for key in sorted(storages):
            file.write(len(storages[key]).to_bytes(8, "little") + storages[key].tobytes())
    return path
