"""Prepares a competition's pictures: fetches, checks, decodes and splits them (stages data, table, pixels, folds)."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.config import Competition
from pipeline.data import folds, pixel_cache, subsets
from pipeline.data.labels import PictureTable, build_picture_table
from pipeline.data.row_store import RowStore
from pipeline.data.tables import SampleSubmission, format_names, read_sample_submission
from pipeline.data.validation import check_class_counts, fetch_raw_data
from pipeline.evaluation.metrics import find_metric
from pipeline.files import write_json
from pipeline.models import pooling
from pipeline.models.base import SECOND_MOMENTS, Base, fetch_weights, find_missing_weights, parse_base
from pipeline.run_options import RunOptions

log = logging.getLogger(__name__)


@contextlib.contextmanager
def log_stage(name: str) -> Iterator[list[str]]:
    """Times a stage and logs one line, with the results that the stage appends to the list."""
    started = time.perf_counter()
    lines: list[str] = []
    yield lines
    log.info("%-9s %6.1f s  %s", name, time.perf_counter() - started, "; ".join(lines))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A competition's pictures, ready for any strategy.

    Args:
        competition: its recipe names the directions of second moments, which are learned here.
        raw: the folder that paths are relative to.
        pictures: tables; unreadable training pictures are left out.
        sample: the sample submission.
        files: where each readable picture lies, by digest.
        unreadable: reasons, by `part/id`.
        labels: class numbers (training pictures,) int.
    """

    competition: Competition
    raw: Path
    pictures: PictureTable
    sample: SampleSubmission | None
    files: dict[str, Path]
    unreadable: dict[str, str]
    labels: np.ndarray

    @property
    def fold_of(self) -> np.ndarray:
        """The fold that validates each training picture, (training pictures,) int."""
        return self.pictures.train["fold"].to_numpy()

    @property
    def test_readable(self) -> np.ndarray:
        """Which test pictures can be predicted, (test pictures,) bool."""
        return self.pictures.test["sha256"].isin(self.files).to_numpy()

    @cached_property
    def train_digests(self) -> list[str]:
        """Digests of the training pictures."""
        return list(self.pictures.train["sha256"])

    @cached_property
    def test_digests(self) -> list[str]:
        """Digests of the readable test pictures."""
        return list(self.pictures.test["sha256"][self.test_readable])


def prepare_dataset(competition: Competition, bases: list[Base], options: RunOptions) -> Dataset:
    """Fetches, checks, decodes and splits a competition's pictures, and learns the directions of second moments.

    Missing weights are fetched before any picture is read, so that an error comes early.

    Raises:
        StarshiftError: weights cannot be fetched, or data cannot be used.
    """
    find_metric(competition.metric)  # a misspelt one would show after the training only
    folder = paths.competition_folder(competition.name)
    with log_stage("data") as lines:
        raw = fetch_raw_data(competition, bundle=options.bundle, force=options.force)
        lines.append(f"in {paths.format_path(raw)}")
    _fetch_weights(bases)
    with log_stage("table") as lines:
        sample = read_sample_submission(competition, raw)
        pictures = build_picture_table(competition, raw, sample, folder / "table.json")
        counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        write_json(folder / "summary.json", counts)
        if options.debug:
            pictures = subsets.select_debug_subset(pictures, competition.recipe.seed)
        lines.append(f"{len(pictures.train):,} training and {len(pictures.test):,} test pictures")
        lines.append(f"{len(pictures.classes)} classes: {format_names(pictures.classes)}")
    for warning in pictures.warnings:
        log.warning("  warning: %s", warning)
    data = _build_dataset(raw, pictures, sample, bases, options, competition)
    return replace(data, competition=_learn_directions(competition, bases, data.files))


def _fetch_weights(bases: list[Base]) -> None:
    missing = {base: place for base in bases if (place := find_missing_weights(base))}
    if missing:
        with log_stage("weights") as lines:
            for base, place in missing.items():
                log.info("  fetching %s by keras.applications", place.name)
                fetch_weights(base, place)
                lines.append(f"{place.name} fetched")


def _learn_directions(competition: Competition, bases: list[Base], files: dict[str, Path]) -> Competition:
    """Learns missing directions of second moments; returns the competition with their names in its recipe.

    They are learned from the first readable pictures in the order of their digests, without labels.
    """
    recipe, named = competition.recipe, dict[str, str]()
    for text in recipe.bases:
        base = parse_base(text, recipe.size)
        if base.pooling != SECOND_MOMENTS or base not in bases:
            continue
        pictures = sorted(files)[: pooling.MAX_PICTURES]
        base = pooling.name_directions(base, pictures)
        if not pooling.has_directions(base):
            with log_stage("directions") as lines:
                pooling.learn_directions(
                    base, pixel_cache.read_pixels(pixel_cache.open_pixel_store(base.size), pictures, files)
                )
                lines.append(f"{base} learned from {len(pictures)} pictures, without labels")
            if older := pooling.list_alternatives(base):
                log.info("  other pictures gave %s: named so, what is cached of it is used", " and ".join(older))
        named[text] = str(base)
    return replace(competition, recipe=replace(recipe, bases=tuple(named.get(text, text) for text in recipe.bases)))


def _build_dataset(
    raw: Path,
    pictures: PictureTable,
    sample: SampleSubmission | None,
    bases: list[Base],
    options: RunOptions,
    competition: Competition,
) -> Dataset:
    """Fills the pixel stores, leaves out unreadable pictures, and assigns folds."""
    both = pd.concat([pictures.train, pictures.test])
    files = {digest: raw / path for digest, path in zip(both["sha256"], both["path"], strict=True) if path}
    stores = {base.size: pixel_cache.open_pixel_store(base.size) for base in bases}
    with log_stage("pixels") as lines:
        decoded = {size: pixel_cache.fill_pixel_store(store, files) for size, store in stores.items()}
        bad = {name: reason for store in stores.values() for name, reason in store.unreadable(files).items()}
        lines.append(", ".join(f"{count:,} decoded at {size} px" for size, count in decoded.items()))
        lines.append(f"{len(bad)} unreadable")
    unreadable = _log_unreadable(pictures, bad)
    train = pictures.train[~pictures.train["sha256"].isin(bad)].reset_index(drop=True)
    with log_stage("folds") as lines:
        lines.append(_assign_folds(train, raw, next(iter(stores.values())), pictures.classes, options, competition))
    numbers = {name: number for number, name in enumerate(pictures.classes)}
    return Dataset(
        competition=competition,
        raw=raw,
        pictures=replace(pictures, train=train),
        sample=sample,
        files={digest: path for digest, path in files.items() if digest not in bad},
        unreadable=unreadable,
        labels=train["label"].map(numbers).to_numpy(),
    )


def _log_unreadable(pictures: PictureTable, bad: dict[str, str]) -> dict[str, str]:
    """Logs unreadable pictures; returns the reasons by `part/id`."""
    reasons = {
        f"{part}/{identity}": bad[digest]
        for part, table in (("train", pictures.train), ("test", pictures.test))
        for identity, digest in zip(table["id"], table["sha256"], strict=True)
        if digest in bad
    }
    for name, reason in reasons.items():
        prior = " and gets the prior" if name.startswith("test/") else ""
        log.warning("  warning: %s cannot be read%s: %s", name, prior, reason)
    return reasons


def _assign_folds(
    train: pd.DataFrame, raw: Path, store: RowStore, classes: list[str], options: RunOptions, competition: Competition
) -> str:
    """Adds the columns group and fold to the table. Returns the stage's line."""
    recipe, folder = competition.recipe, paths.competition_folder(competition.name)
    if recipe.grouping == "estimated":
        kind, train["group"] = "pictures of scenes already seen", folds.read_groups(train, folder, competition.name)
        distinct = train
    else:
        kind, train["group"] = "exact duplicates", folds.find_duplicate_groups(train, raw, store)
        distinct = train.drop_duplicates("group")
        twice = train.groupby("group")["label"].transform("nunique") > 1
        if twice.any():
            names = format_names(train["id"][twice])
            log.warning("  warning: %d pictures stand in two classes with the same pixels: %s", twice.sum(), names)
    if options.debug:
        train["fold"] = folds.assign_folds(train, recipe)
    else:
        check_class_counts(competition, distinct, classes, "readable, distinct pictures")
        train["fold"] = folds.load_or_create_folds(train, recipe, folder, again=options.resplit)
    return f"{recipe.folds} folds, {len(train) - train['group'].nunique()} {kind} kept together"
