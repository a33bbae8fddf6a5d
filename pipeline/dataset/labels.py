"""Picture tables: every picture with its id and label, held against the sample submission, differences counted."""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config import Competition, Labels
from pipeline.dataset import images
from pipeline.dataset.sample import Sample, locate
from pipeline.errors import StarshiftError
from pipeline.files import read_json, sha256_of_file, write_json

COLUMNS = ["id", "path", "label", "fold", "group", "width", "height", "sha256"]
NOT_PICTURES = {".txt", ".csv", ".db", ".json", ".md", ".html", ".ini", ".xml", ".py", ".zip", ".7z"}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of a competition.

    Args:
        train: picture table, see COLUMNS.
        test: the same, labels empty; a picture that the sample asks for and that is not there has an empty path.
        classes: sorted, or in the sample's order.
        warnings: what differs between files, labels and sample, in sentences with counts.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    classes: list[str]
    warnings: list[str]


def natural(text: str) -> list[tuple[int, int | str]]:
    """A sort key by which 2 comes before 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part]


def some(names: Iterable[str]) -> str:
    """The first few names."""
    listed = list(names)
    return ", ".join(listed[:4]) + (", ..." if len(listed) > 4 else "")


def listing(folder: Path | None, suffix: str) -> dict[str, Path]:
    """The pictures below a folder by id: the path below it, without the suffix; hidden and text files left out."""
    if folder is None:
        return {}
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() not in NOT_PICTURES:
                found[path.relative_to(folder).as_posix().removesuffix(suffix)] = path
    return {identity: found[identity] for identity in sorted(found, key=natural)}


def picture_table(competition: Competition, raw: Path, sample: Sample | None, memory: Path) -> Pictures:
    """The pictures of a competition, checked.

    Args:
        competition: where labels are.
        raw: the folder of its data.
        sample: from `read_sample`.
        memory: a JSON file that remembers digests and dimensions by path, size and time of change.

    Raises:
        StarshiftError: what cannot be trained on, with counts.
    """
    labels, warnings = competition.labels, list[str]()
    test_folder = _folder(raw, labels.test) if labels.test else None
    train_folder = _folder(raw, labels.folder)
    if train_folder is None and labels.kind == "folders":
        train_folder = raw
    files = listing(train_folder, labels.suffix)
    if test_folder is not None and train_folder == raw:
        files = {identity: path for identity, path in files.items() if test_folder not in path.parents}
    label_of = _labels(labels, raw, files, warnings)
    if not label_of:
        raise StarshiftError(
            "There are no labelled training pictures.",
            expected=f"pictures in {raw / labels.folder}",
            received=f"{len(files)} files, none of them with a label",
            remedy="look at Labels(folder=, suffix=, csv=, pattern=) in the competition file",
        )
    tests = listing(test_folder, labels.suffix)
    ordered = _against_sample(sample, tests, warnings)
    classes = _classes(competition, sample, set(label_of.values()))
    rows: list[tuple[str, Path | None, str | None]] = [
        (identity, files[identity], label) for identity, label in label_of.items()
    ]
    rows += [(identity, tests.get(identity), None) for identity in ordered]
    table = _measured(rows, raw, memory)
    train = table.iloc[: len(label_of)].reset_index(drop=True)
    test = table.iloc[len(label_of) :].reset_index(drop=True)
    _enough(competition, train)
    return Pictures(train=train, test=test, classes=classes, warnings=warnings)


def _folder(raw: Path, name: str) -> Path | None:
    """The folder of this name; archives sometimes hold it twice (train/train/1.jpg)."""
    folder = locate(raw, name)
    if folder is None or not folder.is_dir():
        return None
    inner = folder / name
    return (
        inner
        if inner.is_dir() and len([entry for entry in os.scandir(folder) if not entry.name.startswith(".")]) == 1
        else folder
    )


def _labels(labels: Labels, raw: Path, files: dict[str, Path], warnings: list[str]) -> dict[str, str]:
    """The label of every training picture that has one."""
    if labels.kind == "folders":
        return {identity: identity.split("/")[0] for identity in files if "/" in identity}
    if labels.kind == "pattern":
        matches = {identity: re.fullmatch(str(labels.pattern), path.name) for identity, path in files.items()}
        if unnamed := [identity for identity, match in matches.items() if match is None]:
            warnings.append(f"{len(unnamed)} training files have a name without a label: {some(unnamed)}")
        return {identity: match["label"] for identity, match in matches.items() if match is not None}
    path = locate(raw, str(labels.csv))
    if path is None:
        raise StarshiftError("The labels are missing.", expected=str(labels.csv), received=f"no such file in {raw}")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {labels.image, labels.label} <= set(frame.columns):
        raise StarshiftError(
            f"{path.name} has other columns.",
            expected=f"{labels.image}, {labels.label}",
            received=", ".join(frame.columns),
        )
    doubled = frame.loc[frame[labels.image].duplicated(), labels.image]
    empty = frame.loc[frame[labels.label].str.strip() == "", labels.image]
    if len(doubled) or len(empty):
        raise StarshiftError(
            f"{path.name} cannot be trusted.",
            expected="one row a picture, each with a label",
            received=f"{len(doubled)} ids twice ({some(doubled)}), {len(empty)} without a label ({some(empty)})",
        )
    label_of = dict(zip(frame[labels.image], frame[labels.label], strict=True))
    lost = [identity for identity in label_of if identity not in files]
    if len(lost) * 2 > len(label_of):
        raise StarshiftError(
            f"{len(lost)} of {len(label_of)} rows of {path.name} have no picture.",
            expected=f"files such as {labels.folder}/{lost[0]}{labels.suffix}",
            received=f"files such as {some(files)}" if files else "an empty folder",
            remedy="look at Labels(folder=, suffix=) in the competition file",
        )
    if lost:
        warnings.append(f"{len(lost)} rows of {path.name} have no picture and are left out: {some(lost)}")
    if extra := [identity for identity in files if identity not in label_of]:
        warnings.append(f"{len(extra)} training pictures have no row in {path.name} and are left out: {some(extra)}")
    return {identity: label_of[identity] for identity in files if identity in label_of}


def _against_sample(sample: Sample | None, tests: dict[str, Path], warnings: list[str]) -> list[str]:
    """The test ids in the sample's order; those without a file stay, loudly."""
    if sample is None:
        return list(tests)
    known = set(sample.ids)
    if lost := [identity for identity in sample.ids if identity not in tests]:
        if len(lost) * 2 > len(known):
            raise StarshiftError(
                f"{len(lost)} of {len(known)} test pictures are missing.",
                expected=f"a file for {some(lost)}",
                received=f"files such as {some(tests)}" if tests else "no test pictures",
                remedy="look at Labels(test=, suffix=) in the competition file",
            )
        warnings.append(f"{len(lost)} test pictures are MISSING and get the training prior: {some(lost)}")
    if extra := [identity for identity in tests if identity not in known]:
        warnings.append(f"{len(extra)} test pictures are not in the sample submission and are left out: {some(extra)}")
    return sample.ids


def _classes(competition: Competition, sample: Sample | None, found: set[str]) -> list[str]:
    """The class names in order, held against the sample's columns."""
    wanted = competition.submission
    positive = competition.labels.positive
    if positive is not None and positive not in found:
        raise StarshiftError("Labels.positive is no class.", expected=some(sorted(found)), received=positive)
    if sample is None or wanted is None or wanted.layout != "one column per class":
        return sorted(found)
    columns = sample.columns[1:]
    if set(columns) != found:
        raise StarshiftError(
            "The labels are not the sample submission's columns.",
            expected=f"{len(columns)} classes",
            received=f"{len(found)}; unknown: {some(sorted(found - set(columns))) or 'none'}; "
            f"without a picture: {some(sorted(set(columns) - found)) or 'none'}",
        )
    return columns


def _enough(competition: Competition, train: pd.DataFrame) -> None:
    """Two classes at least, and a picture of each for each fold."""
    counts = train["label"].value_counts()
    least = max(2, competition.recipe.folds)
    if len(counts) < 2 or counts.iloc[-1] < least:
        raise StarshiftError(
            "There are too few pictures to learn from.",
            expected=f"at least 2 classes, with {least} pictures each for {competition.recipe.folds} folds",
            received=f"{len(counts)} classes; {counts.index[-1]!r} has {counts.iloc[-1]}",
            remedy="add pictures, or use fewer folds in the recipe",
        )


def _measured(rows: list[tuple[str, Path | None, str | None]], raw: Path, memory: Path) -> pd.DataFrame:
    """The table with digests and dimensions, which are remembered by path, size and time of change."""
    known = read_json(memory) or {}

    def measure(path: Path | None) -> tuple[str, list] | None:
        if path is None:
            return None
        status = path.stat()
        key = f"{path.relative_to(raw).as_posix()} {status.st_size} {status.st_mtime_ns}"
        if key in known:
            return key, known[key]
        try:
            width, height = images.dimensions(path)
        except images.Unreadable:
            width, height = 0, 0
        return key, [sha256_of_file(path), width, height]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(pool.map(measure, [path for _, path, _ in rows], chunksize=64))
    fresh = dict(entry for entry in measured if entry is not None)
    if fresh.keys() - known.keys():
        write_json(memory, {**known, **fresh})
    records = []
    for (identity, path, label), entry in zip(rows, measured, strict=True):
        digest, width, height = entry[1] if entry else ("", 0, 0)
        relative = path.relative_to(raw).as_posix() if path else ""
        records.append((identity, relative, label, -1, identity, width, height, digest))
    return pd.DataFrame(records, columns=COLUMNS)
