"""Builds the picture table: id and label of every picture, checked against the sample submission."""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.config import Competition, Labels
from pipeline.data.corrections import correct_labels
from pipeline.data.layout import find_layout, parse_role
from pipeline.data.picture_files import (
    FolderScan,
    find_paths,
    format_names,
    format_omissions,
    format_warning,
    measure_pictures,
    scan_folder,
)
from pipeline.data.tables import SampleSubmission, match_ids, read_label_rows, read_sample_submission
from pipeline.data.validation import check_class_counts, fetch_raw_data
from pipeline.errors import StarshiftError, require_name
from pipeline.files import describe_content
from pipeline.kaggle.archives import is_nested_archive

log = logging.getLogger(__name__)
NO_VALUES = {"nan", "none", "null", "na", "n/a", "#n/a", "?"}
"""Class names, in small letters, that may be missing values."""
MANY_NUMBERS = 20
"""Classes that are all numbers, above which they may be measurements: grades are fewer."""


@dataclass(frozen=True, kw_only=True)
class PictureTable:
    """The pictures of a competition.

    Args:
        train: picture table, see picture_files.PICTURE_COLUMNS.
        test: the same, labels empty; a picture of the sample without a file has an empty path.
        classes: sorted, or in the sample's order.
        warnings: differences between files, labels and sample, in sentences with counts.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    classes: list[str]
    warnings: list[str]


def load_labeled_pictures(competition: Competition, bundle: Path | None = None) -> tuple[pd.DataFrame, Path]:
    """Returns the labelled pictures of a competition, fetched where they are missing, and the folder of their paths.

    Args:
        competition: final, with labels.
        bundle: an archive that was downloaded by hand.
    """
    raw = fetch_raw_data(competition, bundle=bundle)
    memory = paths.competition_folder(competition.name) / "table.json"
    pictures = build_picture_table(competition, raw, read_sample_submission(competition, raw), memory)
    for warning in pictures.warnings:
        log.warning("  warning: %s", warning)
    return pictures.train, raw


def build_picture_table(
    competition: Competition, raw: Path, sample: SampleSubmission | None, memory: Path
) -> PictureTable:
    """Builds and checks the picture table of a competition, with its corrected labels.

    Args:
        competition: its labels and submission.
        raw: the folder of its data.
        sample: from `read_sample_submission`.
        memory: a JSON file that caches digests and dimensions by path, size and time of change.

    Raises:
        StarshiftError: the pictures or labels cannot be trained on, with counts.
    """
    labels, folders = competition.labels, find_layout(competition.labels, raw)
    train_scan = scan_folder(folders.train, labels.suffix, folders.apart)
    test_scan = scan_folder(folders.test, labels.suffix)
    warnings = [*folders.warnings, *format_omissions(train_scan, test_scan)]
    packed = [path.name for path in sorted(raw.iterdir()) if is_nested_archive(path) and not path.stem.endswith(".csv")]
    warnings += format_warning(packed, "archives are not unpacked, and what is in them is not used")
    files, tests = train_scan.pictures, test_scan.pictures
    if labels.kind == "folders":
        warnings += _format_folder_warnings(train_scan)
    for part, scan in (("training", train_scan), ("test", test_scan)):
        if part == "test" or labels.kind == "pattern":
            others = [name for name in scan.others if not name.lower().endswith(".csv")]
            warnings += format_warning(others, f"files among the {part} pictures are no pictures and are left out")
    label_of = _find_labels(labels, raw, files, warnings)
    if not label_of:
        in_folders = labels.kind == "folders"
        raise StarshiftError(
            "There are no labelled training pictures.",
            expected=f"a folder of pictures for each class in {folders.train or raw / labels.folder}"
            if in_folders
            else f"pictures in {raw / labels.folder}",
            received=f"{len(files):,} pictures, none of them with a label{_describe_others(train_scan, raw)}",
            remedy="unpack archives, and put the pictures of each class into a folder that is called like it"
            if in_folders
            else "look at Labels(folder=, suffix=, csv=, pattern=) in the competition file",
        )
    ordered = _order_tests(sample, tests, warnings)
    _check_categories(label_of)
    classes = _order_classes(competition, sample, set(label_of.values()))
    warnings += _format_name_warnings(classes) + _format_composite_warnings(classes)
    label_of = correct_labels(competition.name, label_of)
    rows: list[tuple[str, Path | None, str | None]] = [(name, files[name], label) for name, label in label_of.items()]
    rows += [(name, path, None) for name, path in ordered.items()]
    table = measure_pictures(rows, raw, memory)
    train, test = table.iloc[: len(label_of)], table.iloc[len(label_of) :].reset_index(drop=True)
    check_class_counts(competition, train, classes)
    return PictureTable(train=train, test=test, classes=classes, warnings=warnings)


def _describe_others(scan: FolderScan, raw: Path) -> str:
    """Describes the first file that is no picture, for an error."""
    others = [name for name in scan.others if not name.lower().endswith(".csv")]
    files = [path for name in others[:1] for path in find_paths(raw, name)]
    return f"; {len(others):,} other files; {files[0].name} is {describe_content(files[0])}" if files else ""


def _format_folder_warnings(train: FolderScan) -> list[str]:
    """Warns of empty class folders, of folders in class folders, and of files there that are no pictures."""
    nonempty = {identity.split("/")[0] for identity in train.pictures}.union(train.locked)
    empty = [name for name in train.folders if name not in nonempty and not name.startswith(".")]
    others = [name for name in train.others if "/" in name]
    places = defaultdict[str, set[str]](set)
    for identity in train.pictures:
        places[identity.split("/")[0]].add(identity.rpartition("/")[0])
    inner = sorted(place for name, below in places.items() if len(below) > 1 for place in below if place != name)
    return [
        *format_warning(inner, "folders in class folders are no classes of their own: the outer folder is the class"),
        *format_warning(empty, "class folders hold no picture and are no classes"),
        *format_warning(others, "files in class folders are no pictures and are left out"),
    ]


def _format_name_warnings(classes: list[str]) -> list[str]:
    """Warns of class names that differ only in case, blanks, zeros or the encoding of an accent; and of odd ones."""
    similar = defaultdict[str | float, list[str]](list)
    for name in classes:
        text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        similar[float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text].append(name)
    numbers = [name for name in classes if re.fullmatch(r"-?\d+(\.\d+)?", name)]
    numbers = numbers if len(numbers) == len(classes) > MANY_NUMBERS else []
    odd = [name for name in classes if name.startswith(".") or name.casefold() in NO_VALUES or parse_role(name)]
    return [
        *(
            f"{len(names)} classes have nearly the same name: {', '.join(map(repr, names))}"
            for names in similar.values()
            if len(names) > 1
        ),
        *format_warning(odd, "classes are called like hidden files, parts of the data or missing values"),
        *format_warning(numbers, "classes are numbers, and are learned without their order"),
    ]


def _format_composite_warnings(classes: list[str]) -> list[str]:
    """Warns of class names that are made of others: `a b` where `a` and `b` are classes; `a|b`, `b|c` and `a|c`."""
    lists = {name: {part.strip() for part in re.split(r"[,;|+\[\]'\"]+", name) if part.strip()} for name in classes}
    counts, composite = Counter(part for parts in lists.values() for part in parts), []
    for name, parts in lists.items():
        joined = {part for part in re.split(r"[\s,;|/+]+", name) if part}
        if (len(joined) > 1 and joined <= set(classes)) or (len(parts) > 1 and all(counts[part] > 1 for part in parts)):
            composite.append(name)
    text = "classes are made of others, as if pictures had several labels; each is learned as a class of its own"
    return format_warning(composite, text)


def _check_categories(label_of: dict[str, str]) -> None:
    """Raises a StarshiftError where the labels are measurements: numbers that most pictures have alone."""
    counts = Counter(label_of.values())
    try:
        numbers = len([float(label) for label in counts])
    except ValueError:
        return
    if numbers > 2 and 2 * sum(count == 1 for count in counts.values()) > len(counts):
        raise StarshiftError(
            "The labels are numbers: this is a regression task.",
            expected="names of classes",
            received=f"{len(counts):,} numbers, such as {format_names(counts)}",
            remedy="numbers are not predicted; group them into classes, such as low and high, in a column of their own",
        )


def _find_labels(labels: Labels, raw: Path, files: dict[str, Path], warnings: list[str]) -> dict[str, str]:
    """Returns the label of every training picture that has one, and adds warnings of the others."""
    if labels.kind == "folders":
        strays = [identity for identity in files if "/" not in identity]
        warnings += format_warning(strays, "training pictures lie in no class folder and are left out")
        return {identity: identity.split("/")[0] for identity in files if "/" in identity}
    if labels.kind == "pattern":
        matches = {identity: re.fullmatch(str(labels.pattern), path.name) for identity, path in files.items()}
        label_of = {identity: match["label"] for identity, match in matches.items() if match and match["label"]}
        unnamed = [identity for identity in files if identity not in label_of]
        warnings += format_warning(unnamed, "training files have a name without a label")
        return label_of
    return _find_csv_labels(labels, raw, files, warnings)


def _find_csv_labels(labels: Labels, raw: Path, files: dict[str, Path], warnings: list[str]) -> dict[str, str]:
    """Returns the labels in the CSV file, of the pictures that exist."""
    path, frame = read_label_rows(labels, raw)
    frame[labels.label] = frame[labels.label].str.strip()
    frame = frame[(frame[[labels.image, labels.label]] != "").any(axis=1)]  # spreadsheets end in rows of commas
    _check_label_rows(frame, labels, path.name)
    repeated = frame.loc[frame[labels.image].duplicated(), labels.image].to_list()
    warnings += format_warning(repeated, f"rows of {path.name} are there twice and count once")
    frame = frame[~frame[labels.image].duplicated()]
    matched = match_ids(frame[labels.image], files)
    rows = zip(frame[labels.image], frame[labels.label], strict=True)
    label_of = {matched[identity]: label for identity, label in rows if identity in matched}
    missing = [identity for identity in frame[labels.image] if identity not in matched]
    if len(missing) * 2 > len(frame):
        raise StarshiftError(
            f"{len(missing)} of {len(frame)} rows of {path.name} have no picture.",
            expected=f"files such as {format_names([f'{labels.folder}/{missing[0]}{labels.suffix}'])}",
            received=f"files such as {format_names(files)}" if files else "an empty folder",
            remedy="look at Labels(folder=, suffix=) in the competition file",
        )
    extra = [identity for identity in files if identity not in label_of]
    warnings += _format_similar(matched, path.name)
    warnings += format_warning(missing, f"rows of {path.name} have no picture and are left out")
    warnings += format_warning(extra, f"training pictures have no row in {path.name} and are left out")
    return {identity: label_of[identity] for identity in files if identity in label_of}


def _format_similar(matched: dict[str, str], name: str) -> list[str]:
    """Warns of ids that are not written as their files are."""
    similar = [f"{identity!r} is {file!r}" for identity, file in matched.items() if identity != file]
    return format_warning(similar, f"ids of {name} are written otherwise than their files")


def _check_label_rows(frame: pd.DataFrame, labels: Labels, name: str) -> None:
    """Raises a StarshiftError where an id has two labels, or none."""
    pairs = frame.drop_duplicates([labels.image, labels.label])
    repeated = pairs.loc[pairs[labels.image].duplicated(), labels.image].unique().tolist()
    empty = frame.loc[frame[labels.label] == "", labels.image].to_list()
    if repeated or empty:
        parts = format_warning(repeated, "ids twice, with other labels") + format_warning(empty, "ids without a label")
        raise StarshiftError(
            f"{name} cannot be trusted.",
            expected="one row a picture, each with a label",
            received="; ".join(parts),
            remedy="take rows without a label out; of several labels of a picture keep one: more are not supported",
        )


def list_test_pictures(
    competition: Competition, raw: Path, sample: SampleSubmission | None
) -> tuple[dict[str, Path | None], list[str]]:
    """Lists the files of the test pictures by id, in the sample's order, without a look at labels; and warnings."""
    labels, warnings = competition.labels, list[str]()
    tests = scan_folder(find_layout(labels, raw).test, labels.suffix).pictures
    return _order_tests(sample, tests, warnings), warnings


def _order_tests(
    sample: SampleSubmission | None, tests: dict[str, Path], warnings: list[str]
) -> dict[str, Path | None]:
    """Returns the files by test id in the sample's order; ids without a file stay, with a warning."""
    if sample is None:
        return dict(tests)
    matched = match_ids(sample.ids, tests)
    missing = [identity for identity in sample.ids if identity not in matched]
    if len(missing) * 2 > len(sample.ids):
        raise StarshiftError(
            f"{len(missing)} of {len(sample.ids)} test pictures are missing.",
            expected=f"a file for {format_names(missing)}",
            received=f"files such as {format_names(tests)}" if tests else "no test pictures",
            remedy="look at Labels(test=, suffix=) in the competition file",
        )
    used = set(matched.values())
    extra = [identity for identity in tests if identity not in used]
    warnings += _format_similar(matched, "the sample submission")
    warnings += format_warning(missing, "test pictures are MISSING and get the training prior")
    warnings += format_warning(extra, "test pictures are not in the sample submission and are left out")
    return {identity: tests[matched[identity]] if identity in matched else None for identity in sample.ids}


def _order_classes(competition: Competition, sample: SampleSubmission | None, classes: set[str]) -> list[str]:
    """Returns the class names, sorted or in the order of the sample's columns, which must be the same."""
    submission, positive = competition.submission, competition.labels.positive
    if positive is not None:
        require_name(positive, classes, "Labels.positive is no class.", expected=format_names(sorted(classes)))
    if sample is None or submission is None or submission.layout != "one column per class":
        return sorted(classes)
    columns = sample.columns[1:]
    if set(columns) != classes:
        raise StarshiftError(
            "The labels are not the sample submission's columns.",
            expected=f"{len(columns)} classes",
            received=f"{len(classes)}; unknown: {format_names(sorted(classes - set(columns))) or 'none'}; "
            f"without a picture: {format_names(sorted(set(columns) - classes)) or 'none'}",
        )
    return columns
