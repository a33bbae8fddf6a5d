"""Members joined into arrays, by the ids of their pictures and never by their order."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline import paths, runs
from pipeline.composing.members import LEAST_FOLDS, Member, alike, distinct, opened, unfit
from pipeline.config import Competition
from pipeline.dataset.labels import picture_table
from pipeline.dataset.tables import read_sample
from pipeline.errors import StarshiftError
from pipeline.kaggle.fetch import fetch
from pipeline.ledger import reading
from pipeline.naming import called
from pipeline.predict.held import Held, Part
from pipeline.preparation import Data

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Members that fit together, their predictions joined by id.

    Args:
        members: the oldest first.
        left_out: names of runs, and why.
        data: the pictures, in the order of every array here.
        held: out-of-fold predictions (members, pictures, classes) and the truth.
        tests: predictions (members, readable test pictures, classes) float32.
    """

    members: list[Member]
    left_out: list[tuple[str, str]]
    data: Data
    held: Held
    tests: np.ndarray


def gather(competition: Competition, wanted: Sequence[str] = ()) -> Gathered:
    """The runs of a competition that can be made into one.

    Args:
        competition: whose runs.
        wanted: names of runs, or their beginnings; empty takes the most that share folds, pictures and classes.

    Raises:
        StarshiftError: a run that was named does not fit, or none is left.
    """
    folders = [reading.found(text, competition.name) for text in wanted]
    left_out: list[tuple[str, str]] = []
    members: list[Member] = []
    for folder in sorted(folders or list(paths.runs_folder(competition.name).glob("*/"))):
        if reason := unfit(folder, named=bool(wanted)):
            left_out.append((folder.name, reason))
            continue
        try:
            members.append(opened(folder))
        except StarshiftError as error:
            left_out.append((folder.name, error.message))
    members = alike(distinct(members, left_out), left_out)
    if not members or (wanted and left_out):
        raise StarshiftError(
            "These runs cannot be made into one." if wanted else f"{competition.name} has no run to start from.",
            expected=f"finished runs of all folds (at least {LEAST_FOLDS}) that share pictures, folds and classes",
            received="; ".join(f"{name}: {reason}" for name, reason in left_out) or "none",
            remedy=f"invoke run --comp {called(competition.name)}; invoke runs lists what there is",
        )
    return _joined(competition, members, left_out)


def _joined(competition: Competition, members: list[Member], left_out: list[tuple[str, str]]) -> Gathered:
    """The members' predictions as arrays in one order, the picture table's, and the data that goes with them."""
    data = _data(competition, members)
    ids, classes = list(data.pictures.train["id"]), data.pictures.classes
    readable = list(data.pictures.test["id"][data.test_readable])
    held = Held(
        part=Part(np.stack([member.held.loc[ids, classes].to_numpy(np.float32) for member in members])),
        labels=data.labels,
        fold_of=data.pictures.train["fold"].to_numpy(),
        metric=competition.metric,
        positive=competition.positive_of(classes),
    )
    tests = np.stack([member.test.loc[readable, classes].to_numpy(np.float32) for member in members])
    return Gathered(members=members, left_out=left_out, data=data, held=held, tests=tests)


def by_view(gathered: Gathered) -> Gathered:
    """A single run's views in the place of members, where both its parts were kept by view; else as it is."""
    (member,) = gathered.members
    data, parts = gathered.data, []
    for part, table in (("oof", data.pictures.train), ("test", data.pictures.test[data.test_readable])):
        path = member.folder / f"{part}.npz"
        ids, classes, _ = runs.read_predictions(path)
        place, column = ({name: row for row, name in enumerate(names)} for names in (ids, classes))
        rows, columns = [place[name] for name in table["id"]], [column[name] for name in data.pictures.classes]
        parts.append({view: values[rows][:, columns] for view, values in runs.read_views(path).items()})
    views = [name for name in parts[0] if name in parts[1]]
    if len(views) < 2:
        return gathered
    held, tests = (np.stack([part[name] for name in views]) for part in parts)
    return replace(gathered, held=replace(gathered.held, part=Part(held)), tests=tests)


def _data(competition: Competition, members: list[Member]) -> Data:
    """The competition's pictures as the members saw them: their folds and labels, and what could not be read."""
    raw = fetch(competition)
    sample = read_sample(competition, raw)
    pictures = picture_table(competition, raw, sample, paths.competition_folder(competition.name) / "table.json")
    known = members[0].folds
    train = pictures.train[pictures.train["id"].isin(known.index)].reset_index(drop=True)
    if len(train) < len(known) or set(pictures.classes) != set(members[0].held.columns):
        raise StarshiftError(
            "The pictures have changed since these runs.",
            expected=f"{len(known):,} training pictures and {members[0].held.shape[1]} classes",
            received=f"{len(train):,} of them, and {len(pictures.classes)} classes",
            remedy=f"invoke run --comp {called(competition.name)} makes new runs",
        )
    changed = train.loc[train["label"] != train["id"].map(known["label"]), "id"]
    if len(changed):
        log.warning(
            "labels    %d have changed since these runs, such as that of %r: they are judged by those of then;"
            " invoke run --comp %s makes new runs", len(changed), changed.iloc[0], called(competition.name),
        )  # fmt: skip
    for column in ("label", "fold", "group"):
        train[column] = train["id"].map(known[column])
    unreadable: dict[str, str] = {}
    for member in members:
        unreadable |= member.results.get("unreadable", {})
    both = pd.concat([train.assign(part="train"), pictures.test.assign(part="test")])
    keep = ~(both["part"] + "/" + both["id"]).isin(unreadable) & (both["path"] != "")
    numbers = {name: number for number, name in enumerate(pictures.classes)}
    return Data(
        competition=competition,
        raw=raw,
        pictures=replace(pictures, train=train),
        sample=sample,
        files={digest: raw / path for digest, path in zip(both["sha256"][keep], both["path"][keep], strict=True)},
        unreadable=unreadable,
        labels=train["label"].map(numbers).to_numpy(),
    )
