"""The sample submission: the ids that Kaggle asks for, in Kaggle's order, and the columns."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config import Competition
from pipeline.errors import StarshiftError


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the submission must look like.

    Args:
        ids: in Kaggle's order.
        columns: the header.
    """

    ids: list[str]
    columns: list[str]


def locate(raw: Path, name: str) -> Path | None:
    """The file or folder of this relative name in `raw`, or one level or two below."""
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        if found := sorted(raw.glob(pattern)):
            return found[0]
    return None


def read_sample(competition: Competition, raw: Path) -> Sample | None:
    """The sample submission; None for one's own pictures.

    Raises:
        StarshiftError: it is missing, lacks its columns or names a picture twice.
    """
    wanted = competition.submission
    if wanted is None:
        return None
    path = locate(raw, wanted.sample)
    if path is None:
        raise StarshiftError(
            "The sample submission is missing.", expected=wanted.sample, received=f"no such file in {raw}",
            remedy="download again with --force, or set Submission(sample=...)",
        )  # fmt: skip
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = list(frame.columns)
    needed = [wanted.image] if wanted.layout == "one column per class" else [wanted.image, wanted.label]
    if columns[: len(needed)] != needed or (wanted.layout != "one column per class" and len(columns) != 2):
        raise StarshiftError(
            f"{path.name} has other columns.", expected=", ".join(needed), received=", ".join(columns[:5])
        )
    ids = list(frame[wanted.image])
    if doubled := sorted(frame.loc[frame[wanted.image].duplicated(), wanted.image]):
        raise StarshiftError(f"{path.name} names {len(doubled)} ids twice.", received=", ".join(doubled[:5]))
    return Sample(ids=ids, columns=columns)
