"""A Keras model from anyone: looked through before Keras sees it, so that nothing in it can be run.

A .keras file names the classes that are made of it, and Keras imports what it names; HDF5 may point to other files. So
only layers that compute are allowed, by module and name, and only plain numbers. Then Keras loads it in its safe mode.
"""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

from pipeline.learnware.guarded import members, refused

MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
LAYERS = (
    "Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense DepthwiseConv2D "
    "Dropout Flatten GlobalAveragePooling2D GlobalMaxPooling2D InputLayer LayerNormalization MaxPooling2D Multiply "
    "Normalization ReLU Rescaling Reshape SeparableConv2D Softmax ZeroPadding2D"
)
INITIALIZERS = "GlorotNormal GlorotUniform HeNormal HeUniform Ones RandomNormal RandomUniform VarianceScaling Zeros"
ALLOWED = frozenset(
    {
        *(("keras.layers", name) for name in LAYERS.split()),
        *(("keras.initializers", name) for name in INITIALIZERS.split()),
        # Private module paths, as Keras writes them into config.json (checked with 3.13.2 and 3.15.1).
        *(("keras.src.ops.numpy", name) for name in ("Add", "Flip", "Multiply")),
        ("keras", "DTypePolicy"),
        ("keras", "Sequential"),
        ("keras.src.models.sequential", "Sequential"),
        ("keras.src.models.functional", "Functional"),
        ("keras.src.applications.convnext", "LayerScale"),
        (None, "__keras_tensor__"),
    }
)
"""What the bases of the table, the heads and the small network are made of: module and class."""
ACTIVATIONS = frozenset(
    {
        *("linear", "relu", "relu6", "softmax", "sigmoid", "silu", "swish", "gelu", "elu", "selu", "tanh"),
        *("hard_sigmoid", "hard_silu", "hard_swish"),
    }
)
LARGEST = 1 << 20
"""Of a whole number in a layer's configuration: a layer of more units would ask for more memory than there is."""


def check(model: bytes, what: str) -> None:
    """Looks a .keras file through.

    Args:
        model: its bytes.
        what: it is called in an error.

    Raises:
        StarshiftError: something in it that Keras does not need for computing.
    """
    found = members(io.BytesIO(model), f"{what}: model.keras", MEMBERS)
    try:
        config = json.loads(found["config.json"])
        json.loads(found["metadata.json"])
        _walk(config, what)
    except (ValueError, RecursionError) as error:
        raise refused(what, f"the model's config.json cannot be read ({type(error).__name__})") from error
    outer = config.get("class_name") if isinstance(config, dict) else None
    if outer not in ("Functional", "Sequential"):
        raise refused(what, f"its model is a {outer!r}, not a Functional one")
    _check_weights(found["model.weights.h5"], what)


def _walk(value: Any, what: str) -> None:
    """Refuses any class that is not allowed, wherever it is named."""
    if isinstance(value, list):
        for one in value:
            _walk(one, what)
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        _known(value, what)
    if value.get("compile_config"):
        raise refused(what, "its model says how to compile it, which predicting does not need")
    activation = value.get("activation")
    if activation is not None and not isinstance(activation, dict) and str(activation) not in ACTIVATIONS:
        raise refused(what, f"the activation {activation!r} is not known")
    for name, one in value.items():
        whole = isinstance(one, int) and name not in ("shared_object_id", "seed")
        if whole and abs(one) > LARGEST:
            raise refused(what, f"the model asks for {name} {one:,}")
        _walk(one, what)


def _known(value: dict[str, Any], what: str) -> None:
    """Refuses an object whose class is not on the list, or that could be taken for another one."""
    module, name, registered = value.get("module"), value["class_name"], value.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        raise refused(what, "the model names a class by something that is no name")
    if (module, name) not in ALLOWED:
        raise refused(what, f"the model wants {name!r} of {module!r}, which is not a layer that only computes")
    if registered not in (None, name):
        raise refused(what, f"the model calls {name!r} {registered!r}")


def _check_weights(data: bytes, what: str) -> None:
    """Refuses HDF5 that points elsewhere, holds anything but plain numbers, or claims more than there is."""
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            total = _check_group(file, what, set())
    except (OSError, KeyError, ValueError, RuntimeError, RecursionError) as error:
        raise refused(what, f"the model's weights cannot be read ({str(error)[:100]})") from error
    if total > len(data):
        raise refused(what, f"the model's weights claim {total:,} bytes of a file of {len(data):,}")


def _check_group(group: Any, what: str, seen: set[int]) -> int:
    """The bytes of all numbers in a group."""
    import h5py

    total = 0
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise refused(what, f"the model's weights point elsewhere, at {name!r}")
        one = group[name]
        place = h5py.h5o.get_info(one.id).addr
        if place in seen:
            raise refused(what, f"the model's weights hold {name!r} twice")
        seen.add(place)
        if isinstance(one, h5py.Group):
            total += _check_group(one, what, seen)
            continue
        plain = isinstance(one, h5py.Dataset) and one.dtype.kind in "biuf" and not one.external and not one.is_virtual
        if not plain or one.id.get_create_plist().get_nfilters():
            raise refused(what, f"the model's weights hold {name!r}, which is no plain array of numbers")
        total += int(one.size) * one.dtype.itemsize
    return total


def load(model: bytes, what: str) -> Any:
    """The keras.Model of a .keras file that may come from anyone, for predicting.

    Raises:
        StarshiftError: see `check`; or Keras cannot load it.
    """
    check(model, what)
    import keras

    with tempfile.TemporaryDirectory(prefix="starshift-") as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(model)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # whatever Keras says of it, it is the archive's fault
            raise refused(what, f"Keras cannot load its model ({type(error).__name__}: {str(error)[:200]})") from error
