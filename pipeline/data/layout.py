"""Finds the folders of training and test pictures, by their names and contents.

Class folders below parts (`train/cat/1.jpg`) look like classes with folders in them (`cat/left/1.jpg`). A folder is a
part if it is called like one (`Training`, `test_set`, `val`) and holds two class folders or more, test parts also loose
pictures. Folders of other names that hold their pictures in two or more folders of the same names are refused: only
their owner knows which. One shared name (`cat/images/1.jpg`, `dog/images/1.jpg`) decides nothing: these are
classes, and so is what is called like a part and is not built like one (`bus/1.jpg`, `train/1.jpg`).
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePath

from pipeline.config import Labels
from pipeline.data.picture_files import (
    PICTURE_SUFFIXES,
    find_junk_kind,
    find_paths,
    format_names,
    has_pictures,
    scan_folder,
)
from pipeline.errors import StarshiftError

FILLER_WORDS = "(?:data|dataset|set|images?|imgs?|pictures?|pics|photos?|samples?|split|files|folder)*"
ROLE_WORDS = (
    "(?:(?P<train>train(?:ing)?)|(?P<test>test(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|dev|eval(?:uation)?)"
    "|(?P<unlabeled>un(?:label+ed|supervised)))"
)
ROLE_PATTERN = re.compile(f"{FILLER_WORDS}{ROLE_WORDS}{FILLER_WORDS}")
ROLE_IN_NAME = re.compile(f"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{ROLE_WORDS})(?![a-z])")
NUMBERED = re.compile(r"(?<=[a-z])[A-Z]$|[\W_]*\d+$")
"""What a number or a letter behind a part's name is: train1, test 2, trainA."""
MIN_OVERLAP = 0.8
MAX_WRAPPERS = 2
"""Folders around the data that are skipped: archives often hold one."""


@dataclass(frozen=True, kw_only=True)
class DatasetLayout:
    """The folders of a competition's pictures.

    Args:
        train: of the training pictures, or of the class folders; None where it is missing.
        test: of the test pictures; None where there are none.
        apart: folders that are no classes, though they may be among class folders: the test part, and what is unused.
        warnings: parts that were recognised by a similar name, and unused folders with their numbers of pictures.
    """

    train: Path | None
    test: Path | None
    apart: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CandidateFolder:
    """A folder that may be a part or a class.

    Args:
        path: of the folder.
        direct: whether it holds pictures directly.
        inner: names, in small letters, of its direct subfolders that hold pictures.
        role: `train`, `test`, `val` or `unlabeled`, by its name.
    """

    path: Path
    direct: bool
    inner: frozenset[str]
    role: str | None


def parse_role(name: str) -> str | None:
    """Returns the part that a folder is named after: `train`, `test`, `val` or `unlabeled`; None for other names."""
    match = ROLE_PATTERN.fullmatch(re.sub(r"[\W_]", "", NUMBERED.sub("", name).casefold()))
    return match.lastgroup if match else None


def _find_roles(folders: Sequence[Path]) -> dict[Path, str | None]:
    """Returns the part that each folder is: by its name, or because another name differs in the part's word alone."""
    alike = defaultdict[str, dict[Path, str | None]](dict)
    for path in folders:
        if match := ROLE_IN_NAME.search(path.name):  # flowers_train beside flowers_test
            alike[(path.name[: match.start()] + path.name[match.end() :]).casefold()][path] = match.lastgroup
    pairs = {path: role for group in alike.values() if len({*group.values()}) > 1 for path, role in group.items()}
    return {path: parse_role(path.name) or pairs.get(path) for path in folders}


def find_layout(labels: Labels, raw: Path) -> DatasetLayout:
    """Finds the folders of a competition's pictures.

    Raises:
        StarshiftError: the folders can be understood in several ways.
    """
    for name in (labels.folder, labels.test):
        _check_link(raw / (name or "."))
    train = _require_single(
        raw, [path for path in _find_folders(raw, labels.folder) if labels.kind != "folders" or _has_classes(path)]
    )
    tests = _find_folders(raw, labels.test) if labels.test else []
    if labels.folder == ".":
        train, tests = raw, [path for path in tests if labels.kind != "folders" or path.parent == raw]
    elif labels.kind == "folders":
        if train is None:
            return _detect_layout(labels, raw)
        tests = [path for path in tests if train not in path.parents and _is_test_parent(path.parent, raw)]
    return _complete_layout(labels, raw, train, _require_single(raw, tests))


def _check_link(folder: Path) -> None:
    """Raises a StarshiftError where a part is a link to nowhere."""
    if folder.is_symlink() and not folder.exists():
        raise StarshiftError(
            f"{folder.name} is a link that leads nowhere.",
            expected="a folder of pictures",
            received=os.readlink(folder),
            remedy="mount what it leads to, or take the link away",
        )


def _find_folders(raw: Path, name: str) -> list[Path]:
    """Returns the folders of a name, only those that hold pictures where there are several."""
    folders = [path for path in find_paths(raw, name) if path.is_dir()]
    return folders if len(folders) < 2 else [path for path in folders if has_pictures(path)] or folders[:1]


def _require_single(raw: Path, folders: Sequence[Path]) -> Path | None:
    """Returns the one folder, or None where there is none."""
    if len(folders) > 1:
        names = [path.relative_to(raw).as_posix() for path in folders]
        raise StarshiftError(
            f"{len(folders)} folders are called {folders[0].name}.",
            expected=f"the one that is meant, in the competition file, such as {_format_labels(names[0])}",
            received=format_names(names),
        )
    return folders[0] if folders else None


def _format_labels(folder: str, test: str | None = None) -> str:
    """Formats the line of a competition file that names its folders."""
    quoted = [json.dumps(name, ensure_ascii=False) if name else "None" for name in (folder, test)]
    return f"Labels(folder={quoted[0]}, test={quoted[1]})"


def _is_test_parent(folder: Path, raw: Path) -> bool:
    """Returns whether a subfolder `test` may be the test part, and not the class `test` of another part."""
    return folder == raw or parse_role(folder.name) not in ("train", "val")


def _list_entries(folder: Path) -> list[Path]:
    """Lists a folder without junk; nothing where it cannot be read."""
    try:
        return [path for path in folder.iterdir() if not find_junk_kind(path.name)]
    except OSError:
        return []


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in _list_entries(folder) if os.path.isdir(path))


def _has_direct_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in PICTURE_SUFFIXES for path in _list_entries(folder))


def _has_classes(folder: Path) -> bool:
    """Returns whether a folder of the part's name is the part: a class may have that name, and an odd folder in it."""
    inner = _list_folders(find_class_root(folder))
    if len(inner) != 1:
        return len(inner) > 1
    others = [path for path in _list_folders(folder.parent) if not parse_role(path.name)]
    return not _has_direct_pictures(folder) and not any((other / inner[0].name).is_dir() for other in others)


def unwrap_folder(folder: Path) -> Path:
    """Returns the subfolder of the same name, where it holds all pictures: archives often hold train/train/1.jpg."""
    inner = folder / folder.name
    if not inner.is_dir():
        return folder
    nested = {f"{folder.name}/{name}" for name in scan_folder(inner).pictures}
    return inner if set(scan_folder(folder).pictures) == nested else folder


def find_class_root(folder: Path) -> Path:
    """Returns the folder of the class folders of a part: the part, or train/train or train/images, which holds all."""
    folder = unwrap_folder(folder)
    inner = [] if _has_direct_pictures(folder) else [path for path in _list_folders(folder) if has_pictures(path)]
    is_filler = len(inner) == 1 and re.fullmatch(FILLER_WORDS, re.sub(r"[\W_]", "", inner[0].name.casefold()))
    return inner[0] if is_filler and len(_list_folders(inner[0])) > 1 else folder


def _inspect_folder(folder: Path, labels: Labels, role: str | None) -> CandidateFolder:
    """Describes a folder that may be a part or a class."""
    place, name = find_class_root(folder), folder.name.casefold()
    exact = {"train": PurePath(labels.folder).name.casefold(), "test": PurePath(labels.test or "").name.casefold()}
    return CandidateFolder(
        path=folder,
        direct=_has_direct_pictures(place),
        inner=frozenset(path.name.casefold() for path in _list_folders(place) if has_pictures(path)),
        role=next((part for part, label in exact.items() if name == label), role),
    )


def _list_candidates(folder: Path, labels: Labels, without: Sequence[Path | None] = ()) -> list[CandidateFolder]:
    """Describes the folders of pictures in a folder."""
    roles = _find_roles(_list_folders(folder))
    candidates = [_inspect_folder(path, labels, role) for path, role in roles.items() if path not in without]
    return [candidate for candidate in candidates if candidate.direct or candidate.inner]


def _complete_layout(labels: Labels, raw: Path, train: Path | None, test: Path | None) -> DatasetLayout:
    """Returns the layout around a training part; a test part is recognised by its name beside class folders."""
    if train is None or train == raw:
        return _build_layout(labels, train, test, [])
    around = [path for path in (train, *train.parents) if raw in path.parents]
    beside = [top for path in around for top in _list_candidates(path.parent, labels, without=(test, *around))]
    if test is None and labels.kind == "folders":
        test = _find_test_folder(labels, beside)
    unused = [top.path for top in beside if top.path != test and (test is None or top.path not in test.parents)]
    return _build_layout(labels, train, test, unused)


def _find_test_folder(labels: Labels, tops: Sequence[CandidateFolder]) -> Path | None:
    """Returns the test part among folders: that of the configured name, or else one of a similar name."""
    tests = [top.path for top in tops if top.role == "test"] if labels.test else []
    return min(tests, key=lambda path: path.name.casefold() != PurePath(str(labels.test)).name.casefold(), default=None)


def _build_layout(labels: Labels, train: Path | None, test: Path | None, unused: Sequence[Path]) -> DatasetLayout:
    """Returns the layout with its warnings."""
    warnings = [
        f"{path.name} is taken for the {what} pictures"
        for what, path, name in (("training", train, labels.folder), ("test", test, labels.test))
        if path is not None
        and path.name.casefold() != Path(str(name)).name.casefold()
        and _find_roles(_list_folders(path.parent)).get(path)
    ]
    if unused:
        counts = {path.name: len(scan_folder(path).pictures) for path in unused}
        names = format_names(f"{name} ({count:,})" for name, count in counts.items())
        warnings.append(f"{sum(counts.values()):,} pictures belong to neither part and are not used: {names}")
    return DatasetLayout(
        train=train and (find_class_root if labels.kind == "folders" else unwrap_folder)(train),
        test=test and unwrap_folder(test),
        apart=(*([test] if test else []), *unused),
        warnings=tuple(warnings),
    )


def _detect_layout(labels: Labels, raw: Path) -> DatasetLayout:
    """Detects the parts by the names of folders; or else class folders, with a test part beside them."""
    root = _skip_wrappers(raw)
    tops = _list_candidates(root, labels)
    trains = [top for top in tops if top.role == "train" and len(top.inner) > 1]
    if len(trains) == 1:
        return _complete_layout(labels, raw, trains[0].path, None)
    names = {top.path.name.casefold() for top in tops}
    repeating = [top for top in tops if not top.direct and len(top.inner) > 1 and top.inner <= names]
    unclear = trains or _find_similar([top for top in tops if top not in repeating])
    if tops and all(top.role for top in tops):
        unclear = tops
    if unclear or any(top.role is None for top in repeating):
        raise _build_ambiguity_error(raw, unclear or repeating, tops)
    test = _find_test_folder(labels, tops)
    unused = [top for top in tops if top in repeating or top.role == "unlabeled"]
    others = [top for top in tops if top not in unused and top.path != test]
    if len(others) == 1 and len(tops) > 1 and not others[0].direct and len(others[0].inner) > 1:
        return _complete_layout(labels, raw, others[0].path, test)  # images/<class> beside test/
    return _build_layout(labels, root, test, [top.path for top in unused if top.path != test])


def _skip_wrappers(raw: Path) -> Path:
    """Returns the folder of the data: archives often hold everything in a folder of their own."""
    for _ in range(MAX_WRAPPERS):
        # A folder of other files, such as lists of names, is beside the data; an empty one may be a class.
        inner = [path for path in _list_folders(raw) if has_pictures(path) or not _list_entries(path)]
        if len(inner) != 1 or parse_role(inner[0].name) or _has_direct_pictures(raw) or not _list_folders(inner[0]):
            break
        raw = inner[0]
    return raw


def _find_similar(tops: Sequence[CandidateFolder]) -> list[CandidateFolder]:
    """Returns folders with nearly the same subfolders and no pictures beside them, where they are half of all."""
    holders = [top for top in tops if not top.direct and len(top.inner) > 1]
    similar = {
        top.path: top
        for pair in combinations(holders, 2)
        if len(pair[0].inner & pair[1].inner) >= max(2, MIN_OVERLAP * min(len(top.inner) for top in pair))
        for top in pair
    }
    return list(similar.values()) if 2 * len(similar) >= len(tops) else []


def _build_ambiguity_error(
    raw: Path, alike: Sequence[CandidateFolder], tops: Sequence[CandidateFolder]
) -> StarshiftError:
    """Builds the error for folders that can be understood in several ways, with the line to write for each."""
    counts = {top.path: len(scan_folder(top.path).pictures) for top in tops}
    order = sorted(alike, key=lambda top: (top.role == "test", top.role != "train", -counts[top.path]))
    tests = sorted((top for top in (*order[1:], *tops) if top != order[0]), key=lambda top: top.role != "test")
    test = next((top.path for top in tests if top in alike or top.role == "test"), None)
    as_parts = _format_labels(*(path.relative_to(raw).as_posix() for path in (order[0].path, test) if path))
    as_classes = f"{_format_labels(order[0].path.parent.relative_to(raw).as_posix())} if they are classes"
    shared, names = frozenset.intersection(*(top.inner for top in alike)), format_names(top.path.name for top in alike)
    remedy = ""
    if shared and all(map(parse_role, shared)):
        message = f"{names} are split into parts inside."
        expected = "parts with class folders in them: train/<class>, test/<class>"
    elif not any(len(top.inner) > 1 for top in alike):
        message = f"{names}: called like parts of the data, but no class folders are in them."
        expected = f"class folders in them, Labels(csv=...) or Labels(pattern=...), or {as_classes}"
        remedy = "invoke init --comp NAME --data FOLDER looks for labels in tables and file names"
    else:
        message = f"{names} hold folders of the same names: they seem to be parts, and not classes."
        if len(alike) == 1 and alike[0].role:
            message = f"{names} is called like a part, and no folder of training pictures is beside it."
        expected = f"in the competition file, {as_parts}; or {as_classes}"
        remedy = "or join the folders of each class, to train on all pictures"
    received = "; ".join(f"{top.path.name}: {format_names(sorted(top.inner)) or 'pictures'}" for top in alike[:4])
    return StarshiftError(message, expected=expected, received=received, remedy=remedy)
