"""Estimated groups: pictures of one scene, as an audit found them, kept beside the folds that they decide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json
from pipeline.naming import called

FILE = "groups.json"


def keep(folder: Path, digests: Sequence[str], groups: Sequence[str], facts: Mapping[str, Any]) -> Path:
    """Writes the groups.

    Args:
        folder: of the competition.
        digests: SHA-256 of each training picture's bytes.
        groups: one a picture.
        facts: how they were found.
    """
    write_json(folder / FILE, {**facts, "groups": dict(zip(digests, groups, strict=True))})
    return folder / FILE


def estimated(train: pd.DataFrame, folder: Path, name: str) -> list[str]:
    """The group of every training picture, as the audit found it.

    Args:
        train: picture table with the column sha256.
        folder: of the competition.
        name: of the competition.

    Raises:
        StarshiftError: there was no audit, or not of all these pictures.
    """
    stored = read_json(folder / FILE)
    known = stored["groups"] if stored else {}
    lacking = int((~train["sha256"].isin(known)).sum())
    if lacking:
        unread = "a file that is not JSON" if (folder / FILE).exists() else "no such file"
        raise StarshiftError(
            "The groups of pictures of one scene are not known." if stored is None else "The groups are out of date.",
            expected=f"a group for each of the {len(train)} training pictures in {FILE}",
            received=unread if stored is None else f"{lacking} pictures without one",
            remedy=f"invoke audit --comp {called(name)}",
        )
    return [known[digest] for digest in train["sha256"]]
