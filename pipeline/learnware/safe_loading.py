"""Safe reading of archives and models that may come from anyone.

Members are checked before they are read, read into memory and never unpacked; all of them are stored uncompressed, so
nothing can grow. A .keras file names the classes that it is made of, and Keras imports what it names: only layers that
compute are allowed, by module and name, and only plain numbers. Then Keras loads it in its safe mode. Records are
parsed into dataclasses, each value checked against the type of its field.
"""

import io
import json
import math
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import IO, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.kaggle import archive_members
from pipeline.kaggle.archive_members import normalize_name
from pipeline.models import hub_presets

DTYPE_KINDS = "biuf"
"""NumPy's kinds of dtype that are allowed: booleans and numbers; nothing that has to be interpreted."""
MAX_TEXT, MAX_ITEMS = 2000, 10_000
"""Length of a text and of a list in a record."""
TYPE_NAMES = {str: "printable text", int: "a whole number", float: "a number"}
Record = TypeVar("Record")


def build_refusal(what: str, reason: str) -> StarshiftError:
    """Returns the error for an archive that is refused."""
    return StarshiftError(
        f"{what} is refused: {reason}.",
        expected="a learnware as `invoke store.add` writes it",
        received=reason,
        remedy="nothing of it was used; get it again, from someone you trust",
    )


def read_members(
    file: IO[bytes], what: str, allowed: Collection[str] | None, unread: Collection[str] = ()
) -> dict[str, bytes]:
    """Reads the members of a zip archive, by name.

    Args:
        file: of the archive.
        what: names the archive in an error.
        allowed: the names that must be there, and no others; None takes any plain name.
        unread: members that are checked, but not read.

    Raises:
        StarshiftError: no zip, damaged, unsafe names, links, names twice, compressed members, claims beyond the file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            size = file.seek(0, io.SEEK_END)
            entries = archive.infolist()
            if not entries or min(entry.header_offset for entry in entries):
                raise zipfile.BadZipFile("it does not begin where the file begins")
            for entry in entries:
                _check_member(entry, what)
            names = [entry.filename for entry in entries]
            if len(set(names)) < len(names):
                raise build_refusal(what, "two members have one name")
            total = sum(entry.file_size for entry in entries)
            if total > size:
                raise build_refusal(what, f"its members claim {total:,} bytes of a file of {size:,}")
            for name in sorted(set(names) ^ set(names if allowed is None else allowed)):
                known = "has a member that does not belong there," if name in names else "lacks the member"
                raise build_refusal(what, f"it {known} {name!r}")
            return {name: archive.read(name) for name in names if name not in unread}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise build_refusal(what, f"it is no zip archive, or a damaged one ({error})") from error


def _check_member(entry: zipfile.ZipInfo, what: str) -> None:
    """Refuses a member that is not a plain, uncompressed file inside the archive."""
    name = entry.orig_filename
    try:
        normal = normalize_name(name) == name
    except ValueError as error:
        raise build_refusal(what, f"the member {name!r} {error}") from error
    if not archive_members.is_plain(entry) or archive_members.is_folder(entry):
        raise build_refusal(what, f"the member {name!r} is a link, a folder or a device")
    if not normal:
        raise build_refusal(what, f"the member {name!r} is not called as a file is")
    if entry.flag_bits & 1:
        raise build_refusal(what, f"the member {name!r} is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        grows = f"would grow from {entry.compress_size:,} to {entry.file_size:,} bytes"
        raise build_refusal(what, f"the member {name!r} is compressed and {grows}; everything is stored as it is")


def write_members(file: IO[bytes], contents: dict[str, bytes]) -> None:
    """Writes a zip archive of uncompressed members, the same bytes for the same contents."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def read_arrays(content: bytes, what: str) -> dict[str, np.ndarray]:
    """Reads the arrays of an .npz file, by name: numbers only, each as large as the file says, never a pickle.

    Raises:
        StarshiftError: it is anything else.
    """
    arrays = {}
    for name, data in read_members(io.BytesIO(content), what, None).items():
        file = io.BytesIO(data)
        try:
            version = np.lib.format.read_magic(file)
            read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, by_columns, dtype = read[version](file)
        except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
            raise build_refusal(what, f"{name!r} is no array ({error})") from error
        if dtype.hasobject or dtype.kind not in DTYPE_KINDS:
            raise build_refusal(what, f"{name!r} holds {'pickled objects' if dtype.hasobject else dtype}, not numbers")
        if min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != len(data):
            raise build_refusal(what, f"{name!r} does not have the size that it claims")
        key = name.removesuffix(".npy")
        if key in arrays:
            raise build_refusal(what, f"two arrays have one name, {key!r}")
        values = np.frombuffer(data, dtype, offset=file.tell())
        arrays[key] = values.reshape(shape, order="F" if by_columns else "C").copy()
    return arrays


def pack_arrays(values: dict[str, np.ndarray]) -> bytes:
    """Packs arrays into an .npz file that `read_arrays` reads; the same bytes for the same values."""
    contents = {}
    for name, array in values.items():
        file = io.BytesIO()
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        contents[f"{name}.npy"] = file.getvalue()
    file = io.BytesIO()
    write_members(file, contents)
    return file.getvalue()


def parse_json(content: bytes, what: str) -> Any:
    """Parses JSON values.

    Raises:
        StarshiftError: it is no JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise build_refusal(what, f"a record in it is no JSON ({type(error).__name__})") from error


def decode_text(content: bytes, what: str) -> str:
    """Decodes text without characters that control a terminal."""
    try:
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8").read()
    except UnicodeDecodeError as error:
        raise build_refusal(what, "its card is no text") from error
    return "".join(mark for mark in text if mark.isprintable() or mark == "\n")


def require_valid(condition: object, expected: str, received: object) -> None:
    """Raises StarshiftError unless the condition holds."""
    if not condition:
        raise StarshiftError(
            "This is no learnware's record, or a damaged one.",
            expected=expected,
            received=repr(received)[:200],
            remedy="nothing of it was used; get the learnware again from where it came from",
        )


def parse_record(kind: type[Record], values: Any) -> Record:
    """Returns a dataclass made of JSON values: each of its field's type, lists as tuples, mappings as dataclasses.

    Raises:
        StarshiftError: other entries, or a value of another type.
    """
    hints = get_type_hints(kind)
    require_valid(isinstance(values, Mapping) and set(values) == set(hints), f"the entries {', '.join(hints)}", values)
    return kind(**{name: _parse_value(hint, values[name], name) for name, hint in hints.items()})


def _parse_value(hint: Any, value: Any, name: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return parse_record(hint, value)
    if get_origin(hint) is tuple:
        require_valid(isinstance(value, list) and len(value) <= MAX_ITEMS, f"{name}: a list", value)
        return tuple(_parse_value(get_args(hint)[0], one, name) for one in value)
    require_valid(is_plain_value(hint, value), f"{name}: {TYPE_NAMES.get(hint, hint)}", value)
    return value


def is_plain_value(kind: Any, value: Any) -> bool:
    """Whether a JSON value is of a type: printable text, finite numbers that are not negative, or None."""
    if isinstance(kind, UnionType):
        return any(is_plain_value(one, value) for one in get_args(kind))
    if kind is str:
        return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
    if kind is type(None):
        return value is None
    allowed = (int,) if kind is int else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


MODEL_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
LAYER_NAMES = (
    "Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping1D Cropping2D Dense "
    "DepthwiseConv2D Dropout Flatten GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D "
    "GlobalMaxPooling2D InputLayer LayerNormalization MaxPooling2D Multiply "
    "Normalization ReLU Rescaling Reshape Resizing SeparableConv2D Softmax ZeroPadding2D"
)
INITIALIZER_NAMES = (
    "GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal Ones RandomNormal RandomUniform VarianceScaling Zeros"
)
HUB_LAYERS = {
    "dinov2.dinov2_layers": ("DINOV2Embedding", "DINOV2Layer"),
    "dinov3.dinov3_layers": ("DINOV3Embedding", "DINOV3Layer"),
    "vit.vit_layers": ("ViTPatchingAndEmbedding", "ViTEncoderBlock"),
    "siglip.siglip_layers": ("SigLIPVisionEmbedding", "SigLIPEncoderLayer", "SigLIPMultiHeadAttentionPooling"),
    "swin_transformer.swin_transformer_layers": ("SwinTransformerBlock", "PatchMerging"),
    "hgnetv2.hgnetv2_layers": ("HGNetV2Embeddings", "HGNetV2Stage"),
}
"""Layers of KerasHub's presets, as models/hub_networks.py puts them together (checked with 0.26.0 and 0.29.1)."""
ALLOWED_CLASSES = frozenset(
    {
        *(("keras.layers", name) for name in LAYER_NAMES.split()),
        *(("keras.initializers", name) for name in INITIALIZER_NAMES.split()),
        # Private module paths, as Keras writes them into config.json (checked with 3.13.2 and 3.15.1).
        *(("keras.src.ops.numpy", name) for name in ("Add", "Flip", "Multiply", "Round", "Take")),
        ("keras.src.ops.core", "Cast"),
        ("keras", "DTypePolicy"),
        ("keras", "Sequential"),
        ("keras.src.models.sequential", "Sequential"),
        ("keras.src.models.functional", "Functional"),
        ("keras.src.applications.convnext", "LayerScale"),
        *((f"keras_hub.src.models.{module}", name) for module, names in HUB_LAYERS.items() for name in names),
        (None, "__keras_tensor__"),
        (None, "__numpy__"),
    }
)
"""Module and class of what the bases of the table, the heads and the small network are made of."""
ALLOWED_ACTIVATIONS = frozenset(
    {
        *("linear", "relu", "relu6", "softmax", "sigmoid", "silu", "swish", "gelu", "elu", "selu", "tanh"),
        "gelu_approximate",
        *("hard_sigmoid", "hard_silu", "hard_swish"),
    }
)
MAX_INTEGER = 1 << 20
"""Of a whole number in a layer's configuration: a layer of more units would need more memory than there is."""


def check_model(model: bytes, what: str) -> None:
    """Checks a .keras file.

    Args:
        model: its bytes.
        what: names the archive in an error.

    Raises:
        StarshiftError: something in it that Keras does not need for computing.
    """
    members = read_members(io.BytesIO(model), f"{what}: model.keras", MODEL_MEMBERS)
    try:
        config = json.loads(members["config.json"])
        json.loads(members["metadata.json"])
        _check_config(config, what)
    except (ValueError, RecursionError) as error:
        raise build_refusal(what, f"the model's config.json cannot be read ({type(error).__name__})") from error
    outer = config.get("class_name") if isinstance(config, dict) else None
    if outer not in ("Functional", "Sequential"):
        raise build_refusal(what, f"its model is a {outer!r}, not a Functional one")
    _check_weights(members["model.weights.h5"], what)


def _check_config(value: Any, what: str) -> None:
    """Refuses any class that is not allowed, wherever it is named."""
    if isinstance(value, list):
        for one in value:
            _check_config(one, what)
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        _check_class(value, what)
    if value.get("compile_config"):
        raise build_refusal(what, "its model says how to compile it, which predicting does not need")
    activation = value.get("activation")
    if activation is not None and not isinstance(activation, dict) and str(activation) not in ALLOWED_ACTIVATIONS:
        raise build_refusal(what, f"the activation {activation!r} is not known")
    for name, one in value.items():
        whole = isinstance(one, int) and name not in ("shared_object_id", "seed")
        if whole and abs(one) > MAX_INTEGER:
            raise build_refusal(what, f"the model asks for {name} {one:,}")
        _check_config(one, what)


def _check_class(value: dict[str, Any], what: str) -> None:
    """Refuses an object whose class is not allowed, or that is registered under another name."""
    module, name, registered = value.get("module"), value["class_name"], value.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        raise build_refusal(what, "the model names a class by something that is no name")
    if (module, name) not in ALLOWED_CLASSES:
        raise build_refusal(what, f"the model wants {name!r} of {module!r}, which is not a layer that only computes")
    if registered not in (None, name, f"keras_hub>{name}"):
        raise build_refusal(what, f"the model calls {name!r} {registered!r}")


def _check_weights(data: bytes, what: str) -> None:
    """Refuses HDF5 that links elsewhere, holds anything but plain numbers, or claims more bytes than there are."""
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            total = _check_group(file, what, set())
    except (OSError, KeyError, ValueError, RuntimeError, RecursionError) as error:
        raise build_refusal(what, f"the model's weights cannot be read ({str(error)[:100]})") from error
    if total > len(data):
        raise build_refusal(what, f"the model's weights claim {total:,} bytes of a file of {len(data):,}")


def _check_group(group: Any, what: str, addresses: set[int]) -> int:
    """Counts the bytes of all numbers in a group."""
    import h5py

    total = 0
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise build_refusal(what, f"the model's weights point elsewhere, at {name!r}")
        one = group[name]
        address = h5py.h5o.get_info(one.id).addr
        if address in addresses:
            raise build_refusal(what, f"the model's weights hold {name!r} twice")
        addresses.add(address)
        if isinstance(one, h5py.Group):
            total += _check_group(one, what, addresses)
            continue
        plain = isinstance(one, h5py.Dataset) and one.shape is not None and one.dtype.kind in DTYPE_KINDS
        plain = plain and not one.external and not one.is_virtual
        if not plain or one.id.get_create_plist().get_nfilters():
            raise build_refusal(what, f"the model's weights hold {name!r}, which is no plain array of numbers")
        total += int(one.size) * one.dtype.itemsize
    return total


def load_model(model: bytes, what: str) -> Any:
    """Loads the keras.Model of a .keras file that may come from anyone, for predicting.

    Raises:
        StarshiftError: see `check_model`; Keras cannot load it; or it needs KerasHub, which is not here.
    """
    check_model(model, what)
    if b"keras_hub." in model:  # members are not compressed
        hub_presets.require_keras_hub()
    import keras

    with tempfile.TemporaryDirectory(prefix="starshift-") as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(model)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # whatever Keras says of it, it is the archive's fault
            raise build_refusal(
                what, f"Keras cannot load its model ({type(error).__name__}: {str(error)[:200]})"
            ) from error
