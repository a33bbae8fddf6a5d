"""Picture tables: every picture with its id and label, held against the sample submission, differences counted."""

import logging
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.config import Competition, Labels
from pipeline.data.layout import find_layout
from pipeline.data.tables import (
    FolderScan,
    SampleSubmission,
    format_names,
    format_omissions,
    measure_pictures,
    read_label_rows,
    read_sample_submission,
    scan_folder,
)
from pipeline.data.validation import check_class_counts, fetch_raw_data
from pipeline.errors import StarshiftError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PictureTable:
    """The pictures of a competition.

    Args:
        train: picture table, see tables.PICTURE_COLUMNS.
        test: the same, labels empty; a picture that the sample asks for and that is not there has an empty path.
        classes: sorted, or in the sample's order.
        warnings: what differs between files, labels and sample, in sentences with counts.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    classes: list[str]
    warnings: list[str]


def load_labeled_pictures(competition: Competition, bundle: Path | None = None) -> tuple[pd.DataFrame, Path]:
    """The labelled pictures of a competition, fetched where they are not here, and the folder of their paths.

    Args:
        competition: whose.
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
    """The pictures of a competition, checked.

    Args:
        competition: where labels are.
        raw: the folder of its data.
        sample: from `read_sample_submission`.
        memory: a JSON file that remembers digests and dimensions by path, size and time of change.

    Raises:
        StarshiftError: what cannot be trained on, with counts.
    """
    labels, folders = competition.labels, find_layout(competition.labels, raw)
    train_scan, test_scan = (
        scan_folder(folders.train, labels.suffix, folders.apart),
        scan_folder(folders.test, labels.suffix),
    )
    warnings = [*folders.warnings, *format_omissions(train_scan, test_scan)]
    files, tests = train_scan.pictures, test_scan.pictures
    if labels.kind == "folders":
        warnings += _format_folder_warnings(train_scan)
    label_of = _find_labels(labels, raw, files, warnings)
    if not label_of:
        raise StarshiftError(
            "There are no labelled training pictures.",
            expected=f"pictures in {raw / labels.folder}",
            received=f"{len(files)} files, none of them with a label",
            remedy="look at Labels(folder=, suffix=, csv=, pattern=) in the competition file",
        )
    ordered = _order_test_ids(sample, tests, warnings)
    classes = _order_classes(competition, sample, set(label_of.values()))
    warnings += _format_name_warnings(classes)
    rows: list[tuple[str, Path | None, str | None]] = [(name, files[name], label) for name, label in label_of.items()]
    rows += [(name, tests.get(name), None) for name in ordered]
    table = measure_pictures(rows, raw, memory)
    train, test = table.iloc[: len(label_of)], table.iloc[len(label_of) :].reset_index(drop=True)
    check_class_counts(competition, train, classes)
    return PictureTable(train=train, test=test, classes=classes, warnings=warnings)


def _format_folder_warnings(train: FolderScan) -> list[str]:
    """What was found among class folders that is no class, or no picture."""
    classes, warnings = {identity.split("/")[0] for identity in train.pictures}, list[str]()
    known = classes.union(train.locked)
    if empty := [name for name in train.folders if name not in known and not name.startswith(".")]:
        warnings.append(f"{len(empty)} class folders hold no picture and are no classes: {format_names(empty)}")
    if others := [name for name in train.others if "/" in name]:
        warnings.append(
            f"{len(others)} files in class folders are no pictures and are left out: {format_names(others)}"
        )
    return warnings


def _format_name_warnings(classes: list[str]) -> list[str]:
    """Says which class names differ only in what is easily overlooked: case, blanks, how an accent is written."""
    same = defaultdict[str, list[str]](list)
    for name in classes:
        same[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    return [
        f"{len(names)} classes have nearly the same name: {', '.join(map(repr, names))}"
        for names in same.values()
        if len(names) > 1
    ]


def _find_labels(labels: Labels, raw: Path, files: dict[str, Path], warnings: list[str]) -> dict[str, str]:
    """The label of every training picture that has one."""
    if labels.kind == "folders":
        if strays := [identity for identity in files if "/" not in identity]:
            warnings.append(
                f"{len(strays)} training pictures lie in no class folder and are left out: {format_names(strays)}"
            )
        return {identity: identity.split("/")[0] for identity in files if "/" in identity}
    if labels.kind == "pattern":
        matches = {identity: re.fullmatch(str(labels.pattern), path.name) for identity, path in files.items()}
        label_of = {identity: match["label"] for identity, match in matches.items() if match and match["label"]}
        if unnamed := [identity for identity in files if identity not in label_of]:
            warnings.append(f"{len(unnamed)} training files have a name without a label: {format_names(unnamed)}")
        return label_of
    return _find_csv_labels(labels, raw, files, warnings)


def _find_csv_labels(labels: Labels, raw: Path, files: dict[str, Path], warnings: list[str]) -> dict[str, str]:
    """The labels in the CSV file, of the pictures that are there."""
    path, frame = read_label_rows(labels, raw)
    frame[labels.label] = frame[labels.label].str.strip()
    _check_label_rows(frame, labels, path.name)
    label_of = dict(zip(frame[labels.image], frame[labels.label], strict=True))
    lost = [identity for identity in label_of if identity not in files]
    if len(lost) * 2 > len(label_of):
        raise StarshiftError(
            f"{len(lost)} of {len(label_of)} rows of {path.name} have no picture.",
            expected=f"files such as {labels.folder}/{lost[0]}{labels.suffix}",
            received=f"files such as {format_names(files)}" if files else "an empty folder",
            remedy="look at Labels(folder=, suffix=) in the competition file",
        )
    if lost:
        warnings.append(f"{len(lost)} rows of {path.name} have no picture and are left out: {format_names(lost)}")
    if extra := [identity for identity in files if identity not in label_of]:
        warnings.append(
            f"{len(extra)} training pictures have no row in {path.name} and are left out: {format_names(extra)}"
        )
    return {identity: label_of[identity] for identity in files if identity in label_of}


def _check_label_rows(frame: pd.DataFrame, labels: Labels, name: str) -> None:
    """Raises a StarshiftError where an id has two rows, or no label."""
    doubled = frame.loc[frame[labels.image].duplicated(), labels.image]
    empty = frame.loc[frame[labels.label] == "", labels.image]
    if len(doubled) or len(empty):
        raise StarshiftError(
            f"{name} cannot be trusted.",
            expected="one row a picture, each with a label",
            received=f"{len(doubled)} ids twice ({format_names(doubled)}), "
            f"{len(empty)} without a label ({format_names(empty)})",
        )


def _order_test_ids(sample: SampleSubmission | None, tests: dict[str, Path], warnings: list[str]) -> list[str]:
    """The test ids in the sample's order; those without a file stay, loudly."""
    if sample is None:
        return list(tests)
    known = set(sample.ids)
    if lost := [identity for identity in sample.ids if identity not in tests]:
        if len(lost) * 2 > len(known):
            raise StarshiftError(
                f"{len(lost)} of {len(known)} test pictures are missing.",
                expected=f"a file for {format_names(lost)}",
                received=f"files such as {format_names(tests)}" if tests else "no test pictures",
                remedy="look at Labels(test=, suffix=) in the competition file",
            )
        warnings.append(f"{len(lost)} test pictures are MISSING and get the training prior: {format_names(lost)}")
    if extra := [identity for identity in tests if identity not in known]:
        warnings.append(
            f"{len(extra)} test pictures are not in the sample submission and are left out: {format_names(extra)}"
        )
    return sample.ids


def _order_classes(competition: Competition, sample: SampleSubmission | None, found: set[str]) -> list[str]:
    """The class names in order, held against the sample's columns."""
    wanted = competition.submission
    positive = competition.labels.positive
    if positive is not None and positive not in found:
        raise StarshiftError("Labels.positive is no class.", expected=format_names(sorted(found)), received=positive)
    if sample is None or wanted is None or wanted.layout != "one column per class":
        return sorted(found)
    columns = sample.columns[1:]
    if set(columns) != found:
        raise StarshiftError(
            "The labels are not the sample submission's columns.",
            expected=f"{len(columns)} classes",
            received=f"{len(found)}; unknown: {format_names(sorted(found - set(columns))) or 'none'}; "
            f"without a picture: {format_names(sorted(set(columns) - found)) or 'none'}",
        )
    return columns
