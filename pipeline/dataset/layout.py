"""Which folders of a competition's data hold the training pictures, which the test pictures, and which neither.

Class folders below parts (`train/cat/1.jpg`) look like classes with folders in them (`cat/left/1.jpg`). A folder is a
part if it is called like one (`Training`, `test_set`, `val`) and holds two class folders or more, test parts also loose
pictures. Folders of other names that hold their pictures in two or more folders of the same names are refused: only
their owner knows what they are. One shared name (`cat/images/1.jpg`, `dog/images/1.jpg`) decides nothing: these are
classes, and so is what is called like a part and is not built like one (`bus/1.jpg`, `train/1.jpg`).
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePath

from pipeline.config import Labels
from pipeline.dataset.junk import kind_of_junk
from pipeline.dataset.listing import PICTURES, holds_pictures, scan, some
from pipeline.dataset.tables import locations
from pipeline.errors import StarshiftError

THINGS = "(?:data|dataset|set|images?|imgs?|pictures?|pics|photos?|samples?|split|files|folder)*"
ROLE = re.compile(
    f"{THINGS}(?:(?P<train>train(?:ing)?)|(?P<test>test(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev|eval(?:uation)?))"
    f"{THINGS}"
)
NEARLY_ALL = 0.8
WRAPPERS = 2
"""Folders around the data that are looked through: archives often hold one."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The folders of a competition's pictures.

    Args:
        train: of the training pictures, or of the class folders; None where it is missing.
        test: of the test pictures; None where there are none.
        apart: folders that are no classes, though they may lie among class folders: the test part, and what is unused.
        warnings: what was recognised by its name, and what is not used, with the number of its pictures.
    """

    train: Path | None
    test: Path | None
    apart: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Top:
    """A folder that may be a part or a class.

    Args:
        path: of it.
        direct: whether pictures lie right in it.
        inner: names, in small letters, of the folders right in it that hold pictures.
        role: `train`, `test` or `val`, if it is called so.
    """

    path: Path
    direct: bool
    inner: frozenset[str]
    role: str | None


def role_of(name: str) -> str | None:
    """The part that a folder is named after: `train`, `test` or `val`; None for other names."""
    match = ROLE.fullmatch(re.sub(r"[\W_]", "", name.casefold()))
    return match.lastgroup if match else None


def parts(labels: Labels, raw: Path) -> Parts:
    """Finds the folders of a competition's pictures.

    Raises:
        StarshiftError: the folders can be understood in several ways.
    """
    for name in (labels.folder, labels.test):
        _leads_somewhere(raw / (name or "."))
    train = _only(raw, [path for path in _named(raw, labels.folder) if labels.kind != "folders" or _has_classes(path)])
    tests = _named(raw, labels.test) if labels.test else []
    if labels.folder == ".":
        train, tests = raw, [path for path in tests if labels.kind != "folders" or path.parent == raw]
    elif labels.kind == "folders":
        if train is None:
            return _recognised(labels, raw)
        tests = [path for path in tests if train not in path.parents and _may_hold_a_part(path.parent, raw)]
    return _with_what_lies_beside(labels, raw, train, _only(raw, tests))


def _leads_somewhere(folder: Path) -> None:
    """Raises a StarshiftError where a part is a link to nowhere."""
    if folder.is_symlink() and not folder.exists():
        raise StarshiftError(
            f"{folder.name} is a link that leads nowhere.",
            expected="a folder of pictures",
            received=os.readlink(folder),
            remedy="mount what it leads to, or take the link away",
        )


def _named(raw: Path, name: str) -> list[Path]:
    """The folders of this name, those that hold pictures where there are several."""
    found = [path for path in locations(raw, name) if path.is_dir()]
    return found if len(found) < 2 else [path for path in found if holds_pictures(path)] or found[:1]


def _only(raw: Path, found: Sequence[Path]) -> Path | None:
    """The one folder, or None where there is none."""
    if len(found) > 1:
        names = [path.relative_to(raw).as_posix() for path in found]
        raise StarshiftError(
            f"{len(found)} folders are called {found[0].name}.",
            expected=f"the one that is meant, in the competition file, such as {_line(names[0])}",
            received=some(names),
        )
    return found[0] if found else None


def _line(folder: str, test: str | None = None) -> str:
    """What a competition file says of its folders."""
    quoted = [json.dumps(name, ensure_ascii=False) if name else "None" for name in (folder, test)]
    return f"Labels(folder={quoted[0]}, test={quoted[1]})"


def _may_hold_a_part(folder: Path, raw: Path) -> bool:
    """Whether a folder in it called `test` may be the test part, and not the class `test` of another part."""
    return folder == raw or role_of(folder.name) not in ("train", "val")


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, junk left out; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if os.path.isdir(path) and not kind_of_junk(path.name))
    except OSError:
        return []


def _is_direct(folder: Path) -> bool:
    """Whether pictures lie right in a folder."""
    try:
        return any(path.suffix.lower() in PICTURES and not kind_of_junk(path.name) for path in folder.iterdir())
    except OSError:
        return False


def _has_classes(folder: Path) -> bool:
    """Whether a folder of the part's name is the part: a class may have that name, and an odd folder in it."""
    inner, others = _folders(undoubled(folder)), [path for path in _folders(folder.parent) if not role_of(path.name)]
    if len(inner) != 1:
        return len(inner) > 1
    return not _is_direct(folder) and not any((other / inner[0].name).is_dir() for other in others)


def undoubled(folder: Path) -> Path:
    """The folder of the same name in it, where it holds all pictures: archives often hold train/train/1.jpg."""
    inner = folder / folder.name
    if not inner.is_dir():
        return folder
    below = {f"{folder.name}/{name}" for name in scan(inner).pictures}
    return inner if set(scan(folder).pictures) == below else folder


def _top(folder: Path, labels: Labels) -> Top:
    """A folder, as it may be a part or a class."""
    place, name = undoubled(folder), folder.name.casefold()
    exact = {"train": PurePath(labels.folder).name.casefold(), "test": PurePath(labels.test or "").name.casefold()}
    return Top(
        path=folder,
        direct=_is_direct(place),
        inner=frozenset(path.name.casefold() for path in _folders(place) if holds_pictures(path)),
        role=next((role for role, called in exact.items() if name == called), role_of(name)),
    )


def _tops(folder: Path, labels: Labels, without: Sequence[Path | None] = ()) -> list[Top]:
    """The folders of pictures in a folder."""
    tops = [_top(path, labels) for path in _folders(folder) if path not in without]
    return [top for top in tops if top.direct or top.inner]


def _with_what_lies_beside(labels: Labels, raw: Path, train: Path | None, test: Path | None) -> Parts:
    """The parts, where the training one is known; a test part is recognised by its name beside class folders."""
    if train is None or train == raw:
        return _parts(labels, train, test, [])
    around = [path for path in (train, *train.parents) if raw in path.parents]
    beside = [top for path in around for top in _tops(path.parent, labels, without=(test, *around))]
    if test is None and labels.kind == "folders":
        test = _test_among(labels, beside)
    classes = {path.name.casefold() for path in _folders(undoubled(train))} if labels.kind == "folders" else set()
    unused = [
        top.path
        for top in beside
        if top.path != test
        and (test is None or top.path not in test.parents)
        and (top.role or (classes and (top.direct or len(top.inner & classes) > 1)))
    ]
    return _parts(labels, train, test, unused)


def _test_among(labels: Labels, tops: Sequence[Top]) -> Path | None:
    """The test part among folders: that of the name asked for, or else one that is called so in other words."""
    tests = [top.path for top in tops if top.role == "test"] if labels.test else []
    return min(tests, key=lambda path: path.name.casefold() != PurePath(str(labels.test)).name.casefold(), default=None)


def _parts(labels: Labels, train: Path | None, test: Path | None, unused: Sequence[Path]) -> Parts:
    """The parts, with what is to be said of them."""
    warnings = [
        f"{path.name} is taken for the {what} pictures"
        for what, path, asked in (("training", train, labels.folder), ("test", test, labels.test))
        if path is not None and role_of(path.name) and path.name.casefold() != Path(str(asked)).name.casefold()
    ]
    if unused:
        counts = {path.name: len(scan(path).pictures) for path in unused}
        listed = some(f"{name} ({count:,})" for name, count in counts.items())
        warnings.append(f"{sum(counts.values()):,} pictures belong to neither part and are not used: {listed}")
    return Parts(
        train=train and undoubled(train),
        test=test and undoubled(test),
        apart=(*([test] if test else []), *unused),
        warnings=tuple(warnings),
    )


def _recognised(labels: Labels, raw: Path) -> Parts:
    """The parts by the names of folders; or else the class folders, beside which a test part may lie."""
    root = _unwrapped(raw)
    tops = _tops(root, labels)
    trains = [top for top in tops if top.role == "train" and len(top.inner) > 1]
    if len(trains) == 1:
        return _with_what_lies_beside(labels, raw, trains[0].path, None)
    names = {top.path.name.casefold() for top in tops}
    repeating = [top for top in tops if not top.direct and len(top.inner) > 1 and top.inner <= names]
    unclear = trains or _alike([top for top in tops if top not in repeating])
    if len(tops) > 1 and all(top.role for top in tops):
        unclear = tops
    if unclear or any(top.role is None for top in repeating):
        raise _unclear(raw, unclear or repeating, tops)
    test = _test_among(labels, tops)
    return _parts(labels, root, test, [top.path for top in repeating if top.path != test])


def _unwrapped(raw: Path) -> Path:
    """The folder of the data: archives often hold everything in a folder of their own."""
    for _ in range(WRAPPERS):
        folders = _folders(raw)
        if len(folders) != 1 or role_of(folders[0].name) or _is_direct(raw) or not _folders(folders[0]):
            break
        raw = folders[0]
    return raw


def _alike(tops: Sequence[Top]) -> list[Top]:
    """Folders with nearly the same folders in them, and no pictures beside these, where they are half of all."""
    holders = [top for top in tops if not top.direct and len(top.inner) > 1]
    found = {
        top.path: top
        for pair in combinations(holders, 2)
        if len(pair[0].inner & pair[1].inner) >= max(2, NEARLY_ALL * min(len(top.inner) for top in pair))
        for top in pair
    }
    return list(found.values()) if 2 * len(found) >= len(tops) else []


def _unclear(raw: Path, alike: Sequence[Top], tops: Sequence[Top]) -> StarshiftError:
    """The error for folders that can be understood in several ways, with the line to write for each of them."""
    counts = {top.path: len(scan(top.path).pictures) for top in tops}
    order = sorted(alike, key=lambda top: (top.role == "test", top.role != "train", -counts[top.path]))
    tests = sorted((top for top in (*order[1:], *tops) if top != order[0]), key=lambda top: top.role != "test")
    test = next((top.path for top in tests if top in alike or top.role == "test"), None)
    as_parts = _line(*(path.relative_to(raw).as_posix() for path in (order[0].path, test) if path))
    as_classes = f"{_line(order[0].path.parent.relative_to(raw).as_posix())} if they are classes"
    shared, names = frozenset.intersection(*(top.inner for top in alike)), some(top.path.name for top in alike)
    if shared and all(map(role_of, shared)):
        message = f"{names} are split into parts inside."
        expected = "parts with class folders in them: train/<class>, test/<class>"
    elif not any(len(top.inner) > 1 for top in alike):
        message = f"{names} are called like parts, but hold no class folders."
        expected = f"class folders in them, Labels(csv=...) or Labels(pattern=...), or {as_classes}"
    else:
        message = f"{names} hold folders of the same names: they seem to be parts, and not classes."
        expected = f"in the competition file, {as_parts}; or {as_classes}"
    found = "; ".join(f"{top.path.name}: {some(sorted(top.inner)) or 'pictures'}" for top in alike[:4])
    return StarshiftError(message, expected=expected, received=found)
