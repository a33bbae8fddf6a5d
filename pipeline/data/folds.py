"""Estimated groups: pictures of one scene, as an audit found them, kept beside the folds that they decide.

Folds: stratified, written to a file once and reused, with pictures that are the same picture on one side.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pipeline.config import Recipe
from pipeline.data import images
from pipeline.data.row_store import RowStore
from pipeline.errors import StarshiftError
from pipeline.files import format_csv, read_json, write_json, write_text
from pipeline.run_options import find_comp_argument

GROUPS_FILE = "groups.json"


def write_groups(folder: Path, digests: Sequence[str], groups: Sequence[str], facts: Mapping[str, Any]) -> Path:
    """Writes the groups.

    Args:
        folder: of the competition.
        digests: SHA-256 of each training picture's bytes.
        groups: one a picture.
        facts: how they were found.
    """
    write_json(folder / GROUPS_FILE, {**facts, "groups": dict(zip(digests, groups, strict=True))})
    return folder / GROUPS_FILE


def read_groups(train: pd.DataFrame, folder: Path, name: str) -> list[str]:
    """The group of every training picture, as the audit found it.

    Args:
        train: picture table with the column sha256.
        folder: of the competition.
        name: of the competition.

    Raises:
        StarshiftError: there was no audit, or not of all these pictures.
    """
    stored = read_json(folder / GROUPS_FILE)
    known = stored["groups"] if stored else {}
    lacking = int((~train["sha256"].isin(known)).sum())
    if lacking:
        unread = "a file that is not JSON" if (folder / GROUPS_FILE).exists() else "no such file"
        raise StarshiftError(
            "The groups of pictures of one scene are not known." if stored is None else "The groups are out of date.",
            expected=f"a group for each of the {len(train)} training pictures in {GROUPS_FILE}",
            received=unread if stored is None else f"{lacking} pictures without one",
            remedy=f"invoke audit --comp {find_comp_argument(name)}",
        )
    return [known[digest] for digest in train["sha256"]]


log = logging.getLogger(__name__)
TRAIN_ONLY = -1
RESPLIT_REMEDY = "--resplit makes new folds; scores from before cannot be compared with those after"


def find_duplicate_groups(train: pd.DataFrame, raw: Path, store: RowStore) -> list[str]:
    """For every training picture the id of the first picture with the very same pixels.

    Candidates agree in the pixel store; they are the same when their full-size pixels agree too.

    Args:
        train: picture table with columns id, path, sha256.
        raw: the folder that paths are relative to.
        store: a filled pixel store.

    Returns:
        One id a row, in the table's order.
    """
    candidates: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(train["sha256"]):
        candidates[store.digest(digest)].append(row)
    group = list(train["id"])
    for rows in candidates.values():
        if len(rows) > 1:
            first_with: dict[str, str] = {}
            for row in rows:
                pixels = images.decode((raw / train["path"].iloc[row]).read_bytes(), None)
                content = f"{pixels.shape} {hashlib.sha256(pixels.data).hexdigest()}"
                group[row] = first_with.setdefault(content, group[row])
    return group


def assign_folds(train: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    """A fold for every picture: stratified by label, each group whole.

    Args:
        train: picture table with columns label and group.
        recipe: folds, holdout, grouping, split_seed. Estimated groups may be large: then folds are made to have equally
            many pictures, and not equally many groups.

    Returns:
        int array (pictures,): 0 to folds - 1. With a hold-out, 0 is held out and -1 is always trained on.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

    if recipe.folds > 1 and recipe.grouping == "estimated":
        balanced, group = StratifiedGroupKFold(recipe.folds), renumber_groups(train["group"], recipe.split_seed)
        found = np.full(len(train), TRAIN_ONLY)
        for fold, (_, held) in enumerate(balanced.split(np.zeros(len(train)), train["label"], group)):
            found[held] = fold
        return found
    first = train.drop_duplicates("group")
    fold_of_group = np.full(len(first), TRAIN_ONLY)
    if recipe.folds == 1:
        rows = np.arange(len(first))
        _, held = train_test_split(
            rows, test_size=recipe.holdout, stratify=first["label"], random_state=recipe.split_seed
        )
        fold_of_group[held] = 0
    else:
        splitter = StratifiedKFold(recipe.folds, shuffle=True, random_state=recipe.split_seed)
        for fold, (_, held) in enumerate(splitter.split(np.zeros(len(first)), first["label"])):
            fold_of_group[held] = fold
    return train["group"].map(dict(zip(first["group"], fold_of_group, strict=True))).to_numpy()


def renumber_groups(groups: ArrayLike, seed: int) -> np.ndarray:
    """Numbers groups (pictures,) in random order, for StratifiedGroupKFold without its own shuffle.

    That of scikit-learn 1.6 and 1.7, Kaggle's among them, gives each group the labels of another one: folds are neither
    stratified nor of one size. This gives the folds of 1.8 and later with every release.
    """
    number = np.unique(np.asarray(groups), return_inverse=True)[1]
    order = np.random.RandomState(seed).permutation(number.max() + 1)
    return np.argsort(order)[number]


def build_folds_name(recipe: Recipe) -> str:
    """The name of the file that holds these folds."""
    kind = f"folds-{recipe.folds}" if recipe.folds > 1 else f"holdout-{recipe.holdout:g}"
    together = "" if recipe.grouping == "duplicates" else f"-{recipe.grouping}"
    return f"{kind}-seed{recipe.split_seed}{together}.csv"


def find_folds(recipe: Recipe, folder: Path) -> dict[str, int] | None:
    """The fold of each picture, by id, in a competition's folder; None where there are none, or they are damaged."""
    return _load_folds(folder / build_folds_name(recipe))


def find_run_folds(run: Path) -> dict[str, int] | None:
    """The same as a run had them."""
    return _load_folds(run / "folds.csv")


def _read_folds(path: Path) -> pd.Series:
    """The fold of each picture, by id."""
    return pd.read_csv(path, dtype={"id": str, "fold": int}, keep_default_na=False).set_index("id")["fold"]


def _load_folds(path: Path) -> dict[str, int] | None:
    try:
        return _read_folds(path).to_dict()
    except (OSError, ValueError, KeyError):
        return None


def load_or_create_folds(train: pd.DataFrame, recipe: Recipe, folder: Path, *, again: bool = False) -> np.ndarray:
    """The folds in the competition's file, which is made when it is missing.

    Args:
        train: picture table with columns id, label, group.
        recipe: folds, holdout, split_seed.
        folder: where the file lies.
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
        known = _read_folds(path)
    except (ValueError, KeyError) as error:
        raise StarshiftError(
            f"{path.name} is damaged.",
            expected=f"the columns id and fold in {path}",
            received=str(error).splitlines()[0],
            remedy=RESPLIT_REMEDY,
        ) from error
    absent = train.loc[~train["id"].isin(known.index), "id"]
    torn = train.assign(fold=train["id"].map(known)).groupby("group")["fold"].nunique().max() > 1
    if len(absent) or torn:
        reason = (
            f"{len(absent)} pictures are not in it, such as {absent.iloc[0]}"
            if len(absent)
            else "pictures of one group lie apart"
        )
        raise StarshiftError(
            "The folds do not fit the pictures any more.",
            expected=f"a fold for each of the {len(train)} training pictures in {path.name}",
            received=reason,
            remedy=RESPLIT_REMEDY,
        )
    if len(known) > len(train):
        log.warning("folds     %d pictures of %s are not there any more", len(known) - len(train), path.name)
    return train["id"].map(known).to_numpy()
