"""Finished runs as members of an ensemble: which can be, and which of them go together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import runs
from pipeline.files import read_json, sha256_of_file
from pipeline.ledger import listing
from pipeline.report.listed import short

LEAST_FOLDS = 3
"""A nest needs a fold to judge on, and two to choose with."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A finished run, as far as others are made of it.

    Args:
        folder: the run's.
        config: config.json.
        results: metrics.json.
        folds: by id: columns label, fold and group, text but for fold.
        held: out-of-fold probabilities by id, a column a class.
        test: test probabilities by id, a column a class.
    """

    folder: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]
    folds: pd.DataFrame
    held: pd.DataFrame
    test: pd.DataFrame

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """As config.json has it."""
        found: Mapping[str, Any] = self.config.get("competition", {}).get("recipe", {})
        return found

    @property
    def bases(self) -> tuple[str, ...]:
        """As the recipe names them, weights files by their names alone."""
        return tuple(short(base) for base in self.recipe.get("bases", ()))

    @property
    def name(self) -> str:
        """What tells it from others in a table: when it started, bases, size, rung, head, and what else was chosen."""
        rung, head = self.recipe.get("rung", "?"), self.recipe.get("head", "")
        way = f"{rung} {head}" if rung in ("features", "pseudo") else rung
        told = [f"{key} {self.recipe[key]:g}" for key in ("strength", "seed") if self.recipe.get(key)]
        size = [f"{self.recipe['size']} px"] if self.recipe.get("size") else []
        return " ".join([listing.start(self.folder), "+".join(self.bases), *size, way, *told])

    @cached_property
    def split(self) -> tuple[Any, ...]:
        """What members must share: classes, pictures with their labels and folds, test pictures."""
        known = self.folds.sort_index()
        rows = tuple(zip(known.index, known["label"], known["fold"], strict=True))
        return tuple(sorted(self.held.columns)), rows, tuple(sorted(self.test.index))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of what it predicts."""
        return {part: sha256_of_file(self.folder / f"{part}.npz") for part in ("oof", "test")}


def unfit(folder: Path, *, named: bool = False) -> str:
    """Why a run cannot be a member; empty where it can.

    Args:
        folder: of the run.
        named: whether the user named it; then it may be made of others itself.
    """
    config, results = read_json(folder / "config.json") or {}, read_json(folder / "metrics.json")
    missing = [name for name in ("folds.csv", "oof.npz", "test.npz") if not (folder / name).is_file()]
    folds = config.get("competition", {}).get("recipe", {}).get("folds") or len(config.get("folds", ()))
    if not results or missing:
        return "not finished" if not results else f"without {', '.join(missing)}"
    if config.get("debug"):
        return "a debug run"
    if folds < LEAST_FOLDS:
        return f"{folds} folds are too few to nest" if folds > 1 else "a hold-out, no folds"
    if len(config.get("folds", ())) < folds:
        return f"only {len(config.get('folds', ()))} of its {folds} folds"
    return "made of other runs" if config.get("made_of") and not named else ""


def opened(folder: Path) -> Member:
    """Reads a finished run."""
    held, test = (frame(folder / f"{part}.npz") for part in ("oof", "test"))
    kinds = {"id": str, "label": str, "group": str, "fold": int}
    table = pd.read_csv(folder / "folds.csv", dtype=kinds, keep_default_na=False)
    return Member(
        folder=folder,
        config=read_json(folder / "config.json"),
        results=read_json(folder / "metrics.json"),
        folds=table.set_index("id").loc[held.index],
        held=held,
        test=test,
    )


def frame(path: Path) -> pd.DataFrame:
    """Probabilities by id and class, as `runs.write_predictions` wrote them."""
    ids, classes, probabilities = runs.read_predictions(path)
    return pd.DataFrame(probabilities, index=ids, columns=classes)


def distinct(members: list[Member], left_out: list[tuple[str, str]]) -> list[Member]:
    """The newest of those that predict the same, and of those that predict numbers."""
    kept: dict[str, Member] = {}
    for member in reversed(members):
        if not np.isfinite(member.held.to_numpy()).all():
            left_out.append((member.folder.name, "predictions that are no numbers"))
        elif (twin := kept.setdefault(member.digests["oof"], member)) is not member:
            left_out.append((member.folder.name, f"predicts the same as {twin.folder.name}"))
    return list(kept.values())[::-1]


def alike(members: list[Member], left_out: list[tuple[str, str]]) -> list[Member]:
    """The largest set of members that share everything; of two as large, the newer one."""
    if not members:
        return []
    counts = Counter(member.split for member in members)
    most = max(reversed(members), key=lambda member: counts[member.split])
    for member in members:
        for what, own, shared in zip(
            ("classes", "pictures or folds", "test pictures"), member.split, most.split, strict=True
        ):
            if own != shared:
                left_out.append((member.folder.name, f"other {what}"))
                break
    return [member for member in members if member.split == most.split]
