"""Selects finished runs that can be members of an ensemble, and joins their predictions.

Predictions are joined by the ids of the pictures, never by their order.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.config import Competition, find_comp_argument
from pipeline.data.labels import build_picture_table
from pipeline.data.tables import read_sample_submission
from pipeline.errors import StarshiftError
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions
from pipeline.kaggle.download import fetch_data
from pipeline.runs import folder as runs
from pipeline.runs import listing, load
from pipeline.runs.listing import shorten_base_name
from pipeline.runs.load import Run
from pipeline.workflow.context import Dataset

SHARED_PARTS = ("classes", "pictures or folds", "labels", "test pictures")
"""What members must share, in the order of `list_split`."""
MIN_FOLDS = 3
"""A nest needs a fold to judge on, and two to choose with."""


def format_member_name(run: Run) -> str:
    """Formats what tells a run from others in a table: its start, bases, size, strategy, head, and other choices."""
    recipe = run.recipe
    strategy = recipe.get("strategy", "?")
    head = [recipe.get("head", "")] if strategy in ("features", "pseudo") else []
    choices = [f"{key} {recipe[key]:g}" for key in ("l2", "seed") if recipe.get(key)]
    size = [f"{recipe['size']} px"] if recipe.get("size") else []
    bases = "+".join(map(shorten_base_name, recipe.get("bases", ())))
    return " ".join([listing.parse_start_time(run.folder), bases, *size, strategy, *head, *choices])


def list_split(run: Run) -> tuple[Any, ...]:
    """Lists what members must share: classes, pictures with their folds, their labels, test pictures."""
    folds = run.folds.loc[run.oof.index].sort_index()
    rows = tuple(zip(folds.index, folds["fold"], strict=True))
    return tuple(run.classes), rows, tuple(folds["label"]), tuple(sorted(run.test.index))


def find_exclusion_reason(folder: Path, *, named: bool = False) -> str:
    """Returns why a run cannot be a member; empty where it can.

    Args:
        folder: of the run.
        named: whether the user named it; then it may be made of others itself.
    """
    config, results = runs.read_config(folder), runs.read_metrics(folder)
    missing = [name for name in ("folds.csv", "oof.npz", "test.npz") if not (folder / name).is_file()]
    folds = config.get("competition", {}).get("recipe", {}).get("folds") or len(config.get("folds", ()))
    if not results or missing:
        return "not finished" if not results else f"without {', '.join(missing)}"
    if config.get("debug"):
        return "a debug run"
    if folds < MIN_FOLDS:
        return f"{folds} folds are too few to nest" if folds > 1 else "a hold-out, no folds"
    if len(config.get("folds", ())) < folds:
        return f"only {len(config.get('folds', ()))} of its {folds} folds"
    return "made of other runs" if config.get("made_of") and not named else ""


def load_member(folder: Path) -> Run:
    """Loads a finished run with its test predictions.

    Raises:
        StarshiftError: a file is missing or damaged.
    """
    run = load.load_run(folder)
    run.test  # noqa: B018  (reads it now, where an error can be caught)
    return run


def drop_duplicate_members(members: list[Run], left_out: list[tuple[str, str]]) -> list[Run]:
    """Keeps the newest of those that predict the same, and of those that predict numbers."""
    kept: dict[str, Run] = {}
    for member in reversed(members):
        if not np.isfinite(member.oof.to_numpy()).all():
            left_out.append((member.folder.name, "predictions that are no numbers"))
        elif (twin := kept.setdefault(member.digests["oof"], member)) is not member:
            left_out.append((member.folder.name, f"predicts the same as {twin.folder.name}"))
    return list(kept.values())[::-1]


def select_compatible_members(members: list[Run], left_out: list[tuple[str, str]]) -> list[Run]:
    """Selects the largest set of members that share everything; of two as large, the newer one."""
    if not members:
        return []
    splits = [list_split(member) for member in members]
    counts = Counter(splits)
    shared = max(reversed(splits), key=lambda split: counts[split])
    for member, split in zip(members, splits, strict=True):
        for part, own, common in zip(SHARED_PARTS, split, shared, strict=True):
            if own != common:
                left_out.append((member.folder.name, f"other {part}"))
                break
    return [member for member, split in zip(members, splits, strict=True) if split == shared]


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AlignedMembers:
    """Members that fit together, their predictions joined by id.

    Args:
        members: the oldest first.
        left_out: names of runs, and why.
        data: the pictures, in the order of every array here.
        oof: out-of-fold predictions (members, pictures, classes) and the truth.
        tests: predictions (members, readable test pictures, classes) float32.
    """

    members: list[Run]
    left_out: list[tuple[str, str]]
    data: Dataset
    oof: OOFPredictions
    tests: np.ndarray


def load_aligned_members(competition: Competition, requested: Sequence[str] = ()) -> AlignedMembers:
    """Loads the runs of a competition that can be combined.

    Args:
        competition: whose runs.
        requested: names of runs, or their beginnings; empty takes the most that share folds, pictures and classes.

    Raises:
        StarshiftError: a run that was named does not fit, or none is left.
    """
    folders = [load.find_run_folder(text, competition.name) for text in requested]
    left_out: list[tuple[str, str]] = []
    members: list[Run] = []
    for folder in sorted(folders or list(paths.runs_folder(competition.name).glob("*/"))):
        if reason := find_exclusion_reason(folder, named=bool(requested)):
            left_out.append((folder.name, reason))
            continue
        try:
            members.append(load_member(folder))
        except StarshiftError as error:
            left_out.append((folder.name, error.message))
    members = select_compatible_members(drop_duplicate_members(members, left_out), left_out)
    if not members or (requested and left_out):
        raise StarshiftError(
            "These runs cannot be made into one." if requested else f"{competition.name} has no run to start from.",
            expected=f"finished runs of all folds (at least {MIN_FOLDS}) that share pictures, labels, folds, classes",
            received="; ".join(f"{name}: {reason}" for name, reason in left_out) or "none",
            remedy=f"invoke run --comp {find_comp_argument(competition.name)}; invoke runs lists what there is",
        )
    return _align_members(competition, members, left_out)


def _align_members(competition: Competition, members: list[Run], left_out: list[tuple[str, str]]) -> AlignedMembers:
    """Joins the members' predictions in the order of the picture table, with the data that goes with them."""
    data = _load_dataset(competition, members)
    ids, classes = list(data.pictures.train["id"]), data.pictures.classes
    readable = list(data.pictures.test["id"][data.test_readable])
    oof = OOFPredictions.build(
        [member.align(ids, classes) for member in members],
        data.labels,
        data.fold_of,
        competition.metric,
        competition.positive_of(classes),
        data.group_of,
    )
    tests = np.stack([member.test.loc[readable, classes].to_numpy(np.float32) for member in members])
    return AlignedMembers(members=members, left_out=left_out, data=data, oof=oof, tests=tests)


def load_views_as_members(aligned: AlignedMembers) -> AlignedMembers:
    """Replaces a single run by its views, where both its parts were kept by view."""
    (member,) = aligned.members
    data, parts = aligned.data, []
    for part, table in (("oof", data.pictures.train), ("test", data.pictures.test[data.test_readable])):
        path = member.folder / f"{part}.npz"
        ids, classes, _ = runs.read_predictions(path)
        place, column = ({name: row for row, name in enumerate(names)} for names in (ids, classes))
        rows, columns = [place[name] for name in table["id"]], [column[name] for name in data.pictures.classes]
        parts.append({view: values[rows][:, columns] for view, values in runs.read_view_predictions(path).items()})
    views = [name for name in parts[0] if name in parts[1]]
    if len(views) < 2:
        return aligned
    oof, tests = (np.stack([part[name] for name in views]) for part in parts)
    return replace(aligned, oof=replace(aligned.oof, part=MemberPredictions(oof)), tests=tests)


def _load_dataset(competition: Competition, members: list[Run]) -> Dataset:
    """Loads the competition's pictures with the members' folds, labels and unreadable pictures."""
    raw = fetch_data(competition)
    sample = read_sample_submission(competition, raw)
    pictures = build_picture_table(competition, raw, sample, paths.competition_folder(competition.name) / "table.json")
    known = members[0].folds.loc[members[0].oof.index]
    train = pictures.train[pictures.train["id"].isin(known.index)].reset_index(drop=True)
    if len(train) < len(known) or set(pictures.classes) != set(members[0].oof.columns):
        raise StarshiftError(
            "The pictures have changed since these runs.",
            expected=f"{len(known):,} training pictures and {members[0].oof.shape[1]} classes",
            received=f"{len(train):,} of them, and {len(pictures.classes)} classes",
            remedy=f"invoke run --comp {find_comp_argument(competition.name)} makes new runs",
        )
    changed = train.loc[train["label"] != train["id"].map(known["label"]), "id"]
    if len(changed):
        log.warning(
            "labels    %d have changed since these runs, such as that of %r: they are judged by those of then;"
            " invoke run --comp %s makes new runs", len(changed), changed.iloc[0], find_comp_argument(competition.name),
        )  # fmt: skip
    for column in ("label", "fold", "group"):
        train[column] = train["id"].map(known[column])
    unreadable: dict[str, str] = {}
    for member in members:
        unreadable |= member.results.get("unreadable", {})
    both = pd.concat([train.assign(part="train"), pictures.test.assign(part="test")])
    keep = ~(both["part"] + "/" + both["id"]).isin(unreadable) & (both["path"] != "")
    return Dataset(
        competition=competition,
        raw=raw,
        pictures=replace(pictures, train=train),
        sample=sample,
        files={digest: raw / path for digest, path in zip(both["sha256"][keep], both["path"][keep], strict=True)},
        unreadable=unreadable,
    )
