"""Assigns stratified folds once per competition, with duplicates or scenes kept in one fold.

Scenes come from an audit, which writes them to groups.json. The order of pictures in a file never matters: folds and
groups are joined by id and by digest.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pipeline.config import Recipe, find_comp_argument
from pipeline.data import images
from pipeline.data.row_store import RowStore
from pipeline.errors import StarshiftError
from pipeline.files import format_csv, read_json, write_json, write_text

log = logging.getLogger(__name__)
GROUPS_FILE = "groups.json"
TRAIN_ONLY = -1
RESPLIT_REMEDY = "--resplit makes new folds; scores from before cannot be compared with those after"


def write_groups(folder: Path, digests: Sequence[str], groups: Sequence[str], facts: Mapping[str, Any]) -> Path:
    """Writes the groups of training pictures and returns their file.

    Args:
        folder: of the competition.
        digests: SHA-256 of each training picture's bytes.
        groups: one a picture.
        facts: how the groups were estimated.
    """
    path = folder / GROUPS_FILE
    write_json(path, {**facts, "groups": dict(zip(digests, groups, strict=True))})
    return path


def read_groups(train: pd.DataFrame, folder: Path, name: str) -> list[str]:
    """Returns the group of every training picture, as the audit estimated it.

    Args:
        train: picture table with the column sha256.
        folder: of the competition.
        name: of the competition.

    Raises:
        StarshiftError: there was no audit, or not of all these pictures.
    """
    stored = read_json(folder / GROUPS_FILE)
    group_of = stored["groups"] if stored else {}
    missing = int((~train["sha256"].isin(group_of)).sum())
    if missing:
        unread = "a file that is not JSON" if (folder / GROUPS_FILE).exists() else "no such file"
        raise StarshiftError(
            "The groups of pictures of one scene are not known." if stored is None else "The groups are out of date.",
            expected=f"a group for each of the {len(train)} training pictures in {GROUPS_FILE}",
            received=unread if stored is None else f"{missing} pictures without one",
            remedy=f"invoke audit --comp {find_comp_argument(name)}",
        )
    return [group_of[digest] for digest in train["sha256"]]


def find_duplicate_groups(train: pd.DataFrame, raw: Path, store: RowStore) -> list[str]:
    """Returns for every training picture the id of the first picture with the same pixels, in the table's order.

    Candidates agree in the pixel store; they are the same when their full-size pixels agree too.

    Args:
        train: picture table with columns id, path, sha256.
        raw: the folder that paths are relative to.
        store: a filled pixel store.
    """
    stored = pd.Series([store.digest(digest) for digest in train["sha256"]])
    group, first_with = list(train["id"]), dict[str, str]()
    for row in np.flatnonzero(stored.duplicated(keep=False)):
        pixels = images.decode((raw / train["path"].iloc[row]).read_bytes(), None)
        content = f"{pixels.shape} {hashlib.sha256(pixels.data).hexdigest()}"
        group[row] = first_with.setdefault(content, group[row])
    return group


def assign_folds(train: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    """Returns a fold for every picture: stratified by label, each group whole.

    Args:
        train: picture table with columns label and group.
        recipe: folds, holdout, grouping, split_seed. Estimated groups may be large: then folds are made to have equally
            many pictures, and not equally many groups.

    Returns:
        int array (pictures,): 0 to folds - 1. With a hold-out, 0 is held out and -1 is always trained on.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

    seed, rows = recipe.split_seed, train.drop_duplicates("group")
    if recipe.folds == 1:
        indices, labels = np.arange(len(rows)), rows["label"]
        parts = [train_test_split(indices, test_size=recipe.holdout, stratify=labels, random_state=seed)[1]]
    elif recipe.grouping == "estimated":
        rows, groups = train, renumber_groups(train["group"], seed)
        splits = StratifiedGroupKFold(recipe.folds).split(np.zeros(len(rows)), rows["label"], groups)
        parts = [part for _, part in splits]
    else:
        splits = StratifiedKFold(recipe.folds, shuffle=True, random_state=seed).split(
            np.zeros(len(rows)), rows["label"]
        )
        parts = [part for _, part in splits]
    folds = np.full(len(rows), TRAIN_ONLY)
    for fold, part in enumerate(parts):
        folds[part] = fold
    return train["group"].map(dict(zip(rows["group"], folds, strict=True))).to_numpy()


def renumber_groups(groups: ArrayLike, seed: int) -> np.ndarray:
    """Numbers groups (pictures,) in random order, for StratifiedGroupKFold without its own shuffle.

    That of scikit-learn 1.6 and 1.7, Kaggle's among them, gives each group the labels of another one: folds are neither
    stratified nor of one size. This gives the folds of 1.8 and later with every release.
    """
    number = np.unique(np.asarray(groups), return_inverse=True)[1]
    order = np.random.RandomState(seed).permutation(number.max() + 1)
    return np.argsort(order)[number]


def build_folds_name(recipe: Recipe) -> str:
    """Returns the name of the file that holds a recipe's folds."""
    kind = f"folds-{recipe.folds}" if recipe.folds > 1 else f"holdout-{recipe.holdout:g}"
    grouping = "" if recipe.grouping == "duplicates" else f"-{recipe.grouping}"
    return f"{kind}-seed{recipe.split_seed}{grouping}.csv"


def _parse_folds(path: Path) -> pd.Series:
    """Returns the fold of each picture, by id."""
    return pd.read_csv(path, dtype={"id": str, "fold": int}, keep_default_na=False).set_index("id")["fold"]


def read_folds(path: Path) -> dict[str, int] | None:
    """Returns the fold of each picture, by id; None where the file is missing or damaged."""
    try:
        return _parse_folds(path).to_dict()
    except (OSError, ValueError, KeyError):
        return None


def load_or_create_folds(train: pd.DataFrame, recipe: Recipe, folder: Path, *, again: bool = False) -> np.ndarray:
    """Returns the folds in the competition's file, which is made when it is missing.

    Args:
        train: picture table with columns id, label, group.
        recipe: folds, holdout, split_seed.
        folder: of the file.
        again: split again, and replace the file.

    Returns:
        int array (pictures,), see `assign_folds`.

    Raises:
        StarshiftError: the file lacks pictures, or tears a group apart.
    """
    path = folder / build_folds_name(recipe)
    if again or not path.exists():
        folds = assign_folds(train, recipe)
        write_text(path, format_csv([("id", "fold"), *zip(train["id"], folds, strict=True)]))
        return folds
    try:
        fold_of = _parse_folds(path)
    except (ValueError, KeyError) as error:
        raise StarshiftError(
            f"{path.name} is damaged.",
            expected=f"the columns id and fold in {path}",
            received=str(error).splitlines()[0],
            remedy=RESPLIT_REMEDY,
        ) from error
    folds = train["id"].map(fold_of)
    missing = train.loc[~train["id"].isin(fold_of.index), "id"]
    reason = f"{len(missing)} pictures are not in it, such as {missing.iloc[0]}" if len(missing) else ""
    if not reason and folds.groupby(train["group"]).nunique().max() > 1:
        reason = "pictures of one group lie apart"
    if reason:
        raise StarshiftError(
            "The folds do not fit the pictures any more.",
            expected=f"a fold for each of the {len(train)} training pictures in {path.name}",
            received=reason,
            remedy=RESPLIT_REMEDY,
        )
    if len(fold_of) > len(train):
        log.warning("folds     %d pictures of %s are not there any more", len(fold_of) - len(train), path.name)
    return folds.to_numpy()
