"""Archives that may come from anyone: members are checked before they are read, and read into memory, never unpacked.

Everything in them is stored as it is: nothing can grow, and what the directory claims must fit into the file.
"""

import io
import json
import math
import zipfile
from collections.abc import Collection
from typing import IO, Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.kaggle import zips
from pipeline.kaggle.members import normalize

KINDS = "biuf"
"""Of NumPy's dtypes: truth values and numbers; nothing that has to be interpreted."""


def refused(what: str, reason: str) -> StarshiftError:
    """The error for an archive that is not taken."""
    return StarshiftError(
        f"{what} is refused: {reason}.",
        expected="a learnware as `invoke store.add` writes it",
        received=reason,
        remedy="nothing of it was used; get it again, from someone you trust",
    )


def members(
    file: IO[bytes], what: str, allowed: Collection[str] | None, unread: Collection[str] = ()
) -> dict[str, bytes]:
    """The bytes of all members of a zip archive, by name.

    Args:
        file: of the archive.
        what: it is called in an error.
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
                _plain(entry, what)
            names = [entry.filename for entry in entries]
            if len(set(names)) < len(names):
                raise refused(what, "two members have one name")
            total = sum(entry.file_size for entry in entries)
            if total > size:
                raise refused(what, f"its members claim {total:,} bytes of a file of {size:,}")
            for name in sorted(set(names) ^ set(names if allowed is None else allowed)):
                known = "has a member that does not belong there," if name in names else "lacks the member"
                raise refused(what, f"it {known} {name!r}")
            return {name: archive.read(name) for name in names if name not in unread}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise refused(what, f"it is no zip archive, or a damaged one ({error})") from error


def _plain(entry: zipfile.ZipInfo, what: str) -> None:
    """Refuses a member that is anything but a stored file inside."""
    name = entry.orig_filename
    try:
        normal = normalize(name) == name
    except ValueError as error:
        raise refused(what, f"the member {name!r} {error}") from error
    if not zips.is_plain(entry) or zips.is_folder(entry):
        raise refused(what, f"the member {name!r} is a link, a folder or a device")
    if not normal:
        raise refused(what, f"the member {name!r} is not called as a file is")
    if entry.flag_bits & 1:
        raise refused(what, f"the member {name!r} is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        grows = f"would grow from {entry.compress_size:,} to {entry.file_size:,} bytes"
        raise refused(what, f"the member {name!r} is compressed and {grows}; everything is stored as it is")


def stored(file: IO[bytes], contents: dict[str, bytes]) -> None:
    """Writes a zip archive of members stored as they are, the same bytes for the same contents."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def arrays(content: bytes, what: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name: numbers only, each as large as the file says, never a pickle.

    Raises:
        StarshiftError: it is anything else.
    """
    found = {}
    for name, data in members(io.BytesIO(content), what, None).items():
        file = io.BytesIO(data)
        try:
            version = np.lib.format.read_magic(file)
            read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, by_columns, dtype = read[version](file)
        except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
            raise refused(what, f"{name!r} is no array ({error})") from error
        if dtype.hasobject or dtype.kind not in KINDS:
            raise refused(what, f"{name!r} holds {'pickled objects' if dtype.hasobject else dtype}, not numbers")
        if min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != len(data):
            raise refused(what, f"{name!r} does not have the size that it claims")
        key = name.removesuffix(".npy")
        if key in found:
            raise refused(what, f"two arrays have one name, {key!r}")
        values = np.frombuffer(data, dtype, offset=file.tell())
        found[key] = values.reshape(shape, order="F" if by_columns else "C").copy()
    return found


def packed(values: dict[str, np.ndarray]) -> bytes:
    """Arrays as an .npz file that `arrays` reads; the same bytes for the same values."""
    contents = {}
    for name, array in values.items():
        file = io.BytesIO()
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        contents[f"{name}.npy"] = file.getvalue()
    file = io.BytesIO()
    stored(file, contents)
    return file.getvalue()


def values(content: bytes, what: str) -> Any:
    """JSON values.

    Raises:
        StarshiftError: it is no JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refused(what, f"a record in it is no JSON ({type(error).__name__})") from error


def text(content: bytes, what: str) -> str:
    """Text that may be printed: nothing in it that a terminal would obey."""
    try:
        found = io.TextIOWrapper(io.BytesIO(content), "utf-8").read()
    except UnicodeDecodeError as error:
        raise refused(what, "its card is no text") from error
    return "".join(mark for mark in found if mark.isprintable() or mark == "\n")
