"""Proposes a competition file for new data: where the labels are, what the submission looks like, and a metric."""

import contextlib
import itertools
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import pandas as pd

from pipeline.config import Competition, Labels, Submission
from pipeline.data.layout import find_layout, parse_role
from pipeline.data.picture_files import format_names, has_pictures, is_junk, list_pictures, scan_folder
from pipeline.data.tables import join_indicators, match_ids, read_csv_as_text
from pipeline.errors import StarshiftError, require
from pipeline.kaggle.archives import check_archive, find_uncopyable, unpack_archive, unpack_nested

MIN_MATCHED = 0.5
"""Share of a table's ids that must be pictures."""
MAX_CLASS_SHARE = 0.5
"""Distinct values of a column of labels, as a share of the rows, at most."""
NAME_PATTERNS = (r"(?P<label>[^\W\d]+)[._ -]*\d+\.\w+", r"\d+[._ -]+(?P<label>[^\W\d]+)\.\w+")
"""Labels in file names: cat.12.jpg, 12_cat.png."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed competition.

    Args:
        labels: where they are.
        submission: as the sample submission asks; None without one.
        metric: the guess.
        reasons: why, by field: comments of the file.
    """

    labels: Labels
    submission: Submission | None = None
    metric: str = "accuracy"
    reasons: dict[str, str] = field(default_factory=dict)


def propose_competition(data: Path) -> Proposal:
    """Proposes a competition for its data: a folder, or an archive, which is unpacked aside.

    Raises:
        StarshiftError: there are no pictures, or no labels in class folders, a CSV table or file names.
    """
    require(data.exists(), "There are no such data.", expected="--data with an archive, or a folder of pictures",
            received=str(data))  # fmt: skip
    packed = data.is_file() or not has_pictures(data)
    with tempfile.TemporaryDirectory() if packed else contextlib.nullcontext(data) as place:
        found = _unpack(data, Path(place) / "data") if packed else data
        require(has_pictures(found), f"There are no pictures in {data}.", expected="pictures, in it or below it",
                received="none")  # fmt: skip
        return _propose(found)


def _unpack(data: Path, folder: Path) -> Path:
    """Unpacks an archive, or the archives in a folder, into another folder."""
    if data.is_file():
        check_archive(data)
        unpack_archive(data, folder)
    else:
        shutil.copytree(data, folder, ignore=find_uncopyable)
        unpack_nested(folder)
    return folder


def _propose(data: Path) -> Proposal:
    """Proposes a competition for a folder of data."""
    pictures = list_pictures(data)
    paths = [
        path for path in (*data.glob("*.csv"), *data.glob("*/*.csv")) if path.is_file() and not is_junk(path, data)
    ]
    tables = {
        path: read_csv_as_text(path) for path in sorted(paths, key=lambda path: (_rank_part(path.parent.name), path))
    }
    samples = {path: frame for path, frame in tables.items() if "sample" in path.name.lower()}
    others = {
        path.relative_to(data).as_posix(): frame.rename(columns=str.strip)
        for path, frame in tables.items()
        if path not in samples
    }
    found = _find_table_labels(others, pictures) or _find_folder_labels(data, pictures) or _find_name_labels(pictures)
    reasons = dict(found.reasons)
    path, sample = next(iter(samples.items()), (None, pd.DataFrame()))
    submission, metric, more = _read_submission(path, sample)
    labels = found.labels
    if submission and submission.layout == "probability":
        labels = replace(labels, positive=sorted(found.classes)[-1])
        reasons["positive"] = "the class whose probability is submitted: is it this one?"
    return Proposal(labels=labels, submission=submission, metric=metric, reasons=reasons | more)


@dataclass(frozen=True, kw_only=True)
class _FoundLabels:
    """Where labels were found, why, and the classes."""

    labels: Labels
    reasons: dict[str, str]
    classes: Sequence[str]


def _find_test_folder(pictures: Mapping[str, Path], besides: str) -> str | None:
    """Finds the folder of test pictures, by its name."""
    folders = {name.rpartition("/")[0] for name in pictures}
    return next(
        (one for one in sorted(folders) if parse_role(one.rpartition("/")[2]) == "test" and one != besides), None
    )


def _rank_part(folder: str) -> int:
    """Returns how late a folder comes when training pictures are looked for: those that are called so come first."""
    return {"train": 0, None: 1}.get(parse_role(folder.rpartition("/")[2]), 2)


def _find_table_labels(tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, Path]) -> _FoundLabels | None:
    """Finds a table with a column of ids of pictures and a column of classes, ids that are written as files first.

    Raises:
        StarshiftError: a table has no header, or several labels a picture.
    """
    folders = sorted({"", *(name.rpartition("/")[0] for name in pictures)}, key=lambda name: (_rank_part(name), name))
    for by_name, (path, frame), folder in itertools.product((False, True), tables.items(), folders):
        start = f"{folder}/" if folder else ""
        inside = {name.removeprefix(start) for name in pictures if name.startswith(start)}
        for image in frame.columns:
            matched = match_ids(frame[image], inside, by_name=by_name)
            if len(matched) <= MIN_MATCHED * len(frame):
                continue
            require(not match_ids([image], inside, by_name=False), f"{path} has no header.",
                    expected="names of columns in the first row", received=f"{image}, a picture")  # fmt: skip
            label = _find_label_column(frame, image, path)
            if label:
                identity, file = next(iter(matched.items()))
                suffix = file.removeprefix(identity) if file.startswith(identity) else ""
                test = _find_test_folder(pictures, folder)
                names = ", ".join(frame.columns[:8])
                reason = f"{len(matched):,} of its {len(frame):,} ids are pictures; its columns are {names}"
                labels = Labels(csv=path, image=image, label=label, folder=folder or ".", suffix=suffix, test=test)
                classes = sorted(set(frame[label])) if label in frame else sorted(frame.columns.drop(image))
                return _FoundLabels(labels=labels, reasons={"csv": reason}, classes=classes)
    return None


def _find_label_column(frame: pd.DataFrame, image: str, name: str) -> str | None:
    """Finds the column that looks most like classes: few distinct values, each several times; `label` for columns of 0
    and 1, one a class.
    """
    counts = {name: frame[name].nunique() for name in frame.columns if name != image}
    usable = {name: count for name, count in counts.items() if 2 <= count <= max(2, MAX_CLASS_SHARE * len(frame))}
    named = [name for name in usable if re.search("label|class|categor|breed|species|target|diagnosis", name.lower())]
    if not named and "label" not in counts and "label" in join_indicators(frame, Labels(csv=name, image=image), name):
        return "label"
    return next(iter([*named, *sorted(usable, key=lambda name: usable[name])]), None)


def _find_folder_labels(data: Path, pictures: Mapping[str, Path]) -> _FoundLabels | None:
    """Finds class folders, two or more, as a run does.

    Raises:
        StarshiftError: the folders can be understood in several ways.
    """
    try:
        layout = find_layout(Labels(), data)
    except StarshiftError:
        if not all(parse_role(PurePath(name).parent.name) for name in pictures):
            raise
        return None  # parts without folders in them: names of files may tell
    names = sorted({name.split("/")[0] for name in scan_folder(layout.train, "", layout.apart).pictures if "/" in name})
    if layout.train is None or len(names) < 2:
        return None
    test = layout.test.relative_to(data).as_posix() if layout.test else None
    labels = Labels(folder=layout.train.relative_to(data).as_posix(), test=test)
    if set(find_layout(labels, data).apart) < set(layout.apart):  # a folder beside the classes that is none
        labels = Labels()
    reason = f"{len(names):,} class folders: {format_names(names)}"
    return _FoundLabels(labels=labels, reasons={"folder": reason}, classes=names)


def _find_name_labels(pictures: Mapping[str, Path]) -> _FoundLabels:
    """Finds labels in file names.

    Raises:
        StarshiftError: there are none.
    """
    folders = Counter(name.rpartition("/")[0] for name in pictures)
    ordered = sorted(folders, key=lambda name: (_rank_part(name), -folders[name]))
    for pattern, folder in itertools.product(NAME_PATTERNS, ordered):
        names = [path.name for name, path in pictures.items() if name.rpartition("/")[0] == folder]
        found = Counter(match["label"] for name in names if (match := re.fullmatch(pattern, name)))
        if found.total() > MIN_MATCHED * len(names) and 2 <= len(found) <= MAX_CLASS_SHARE * len(names):
            suffixes = Counter(Path(name).suffix for name in names)
            suffix = suffixes.most_common(1)[0][0] if len(suffixes) == 1 else ""
            labels = Labels(
                folder=folder or ".", pattern=pattern, suffix=suffix, test=_find_test_folder(pictures, folder)
            )
            reason = f"{len(found):,} labels in file names: {format_names(found)}"
            return _FoundLabels(labels=labels, reasons={"pattern": reason}, classes=sorted(found))
    raise StarshiftError(
        "The labels were not found.",
        expected="class folders, a CSV table with ids of pictures and classes, or file names such as cat.12.jpg",
        received=f"{len(pictures):,} pictures such as {format_names(pictures)}",
        remedy="put the pictures of each class into a folder of their own",
    )


def _read_submission(path: Path | None, sample: pd.DataFrame) -> tuple[Submission | None, str, dict[str, str]]:
    """Reads what the sample submission asks for, and guesses the metric."""
    if path is None:
        return None, "accuracy", {"metric": "a guess, as there is no sample submission"}
    image, *columns = sample.columns
    reasons = {"submission": f"{path.name} has the columns {', '.join(sample.columns[:4])}"}
    if len(columns) > 1:
        layout, metric, label = "one column per class", "log_loss", "label"
    else:
        numbers = pd.to_numeric(sample[columns[0]], errors="coerce")
        is_probability = bool(numbers.notna().all()) and bool(numbers.between(0, 1).all())
        layout = "probability" if is_probability else "class name"
        metric, label = ("auc" if is_probability else "accuracy"), columns[0]
    reasons["metric"] = "a guess from the sample submission: see the competition's page"
    return Submission(image=image, layout=layout, label=label, sample=path.name), metric, reasons


def format_proposal(name: str, data: Path, proposal: Proposal, slug: str | None = None) -> str:
    """Formats a proposal as a competition file, with its reasons as comments.

    Args:
        name: of the competition.
        data: the folder, as it stands in the file.
        proposal: for it.
        slug: Kaggle's name; then `data` is left out.
    """
    source = f"slug={json.dumps(slug)}" if slug else f"data={json.dumps(str(data), ensure_ascii=False)}"
    parts = [f"    name={json.dumps(name)},", f"    {source},"]
    parts += _format_part("labels", proposal.labels, Labels(), proposal.reasons)
    if proposal.submission is not None:
        parts += _format_part("submission", proposal.submission, Submission(), proposal.reasons)
    parts += [f"    # {proposal.reasons['metric']}"] if "metric" in proposal.reasons else []
    parts += [f"    metric={json.dumps(proposal.metric)},", "    recipe=Recipe(),"]
    body = "\n".join(parts)
    used = [one for one in ("Competition", "Labels", "Recipe", "Submission") if f"{one}(" in f"Competition({body}"]
    return (
        f'"""{name}: proposed by `invoke init`; correct what is wrong, and note here what was measured.\n\n'
        f"    invoke check --comp {name}.py\n    invoke run --comp {name}.py\n"
        f'"""\n\nfrom pipeline.config import {", ".join(used)}\n\nCOMPETITION = Competition(\n{body}\n)\n'
    )


def _format_part(
    title: str, value: Labels | Submission, default: Labels | Submission, reasons: dict[str, str]
) -> list[str]:
    """Formats a field of a competition: what differs from its defaults, each with its reason."""
    lines = [f"    # {reasons[title]}"] if title in reasons else []
    fields = {name: one for name, one in vars(value).items() if one != getattr(default, name)}
    inner = []
    for name, one in fields.items():
        inner += [f"        # {reasons[name]}"] if name in reasons else []
        inner.append(f"        {name}={_quote(one)},")
    if not inner:  # all as by default, which Competition has for labels
        return [*lines, "    submission=Submission(),"] if title == "submission" else lines
    return [*lines, f"    {title}={type(value).__name__}(", *inner, "    ),"]


def _quote(value: str | None) -> str:
    if value is None:
        return "None"
    return f'r"{value}"' if "\\" in value and '"' not in value else json.dumps(value, ensure_ascii=False)


def check_proposal(name: str, data: Path, proposal: Proposal) -> Competition:
    """Builds the proposed competition, as the file will.

    Raises:
        StarshiftError: the name cannot be used.
    """
    return Competition(
        name=name, data=str(data), labels=proposal.labels, submission=proposal.submission, metric=proposal.metric
    )


def list_reasons(proposal: Proposal) -> Sequence[str]:
    """Lists the reasons of a proposal, a line each."""
    return [f"{name:<10} {reason}" for name, reason in proposal.reasons.items()]
