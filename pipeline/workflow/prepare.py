"""The first stages of everything: a competition's pictures fetched, checked, decoded and split."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """Times a stage and prints its line; the stage appends what it has to say."""
    started = time.perf_counter()
    words: list[str] = []
    yield words
    log.info("%-9s %6.1f s  %s", name, time.perf_counter() - started, "; ".join(words))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A competition's pictures, ready for any rung.

    Args:
        competition: as it was prepared, its recipe naming the directions of second moments that were yet to be learned.
        raw: the folder that paths are relative to.
        pictures: tables; unreadable training pictures are left out.
        sample: what the submission must look like.
        files: where each readable picture lies, by digest.
        unreadable: why, by `part/id`.
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
    def test_readable(self) -> np.ndarray:
        """Which test pictures can be predicted, (pictures,) bool."""
        return self.pictures.test["sha256"].isin(self.files).to_numpy()


def prepare_dataset(competition: Competition, bases: list[Base], options: RunOptions) -> Dataset:
    """Fetches, checks and decodes a competition's pictures, splits them, and learns what bases need of them.

    Weights that are not here are fetched before any picture is looked at, so that what cannot be had is said at once.

    Raises:
        StarshiftError: weights that do not come, or data that cannot be used.
    """
    find_metric(competition.metric)  # a misspelt one would show after the training only
    folder = paths.competition_folder(competition.name)
    with log_stage("data") as said:
        raw = fetch_raw_data(competition, bundle=options.bundle, force=options.force)
        said.append(f"in {paths.format_path(raw)}")
    _fetch_weights(bases)
    with log_stage("table") as said:
        sample = read_sample_submission(competition, raw)
        pictures = build_picture_table(competition, raw, sample, folder / "table.json")
        counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        write_json(folder / "summary.json", counts)
        if options.debug:
            pictures = subsets.select_debug_subset(pictures, competition.recipe.seed)
            counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        said.append(f"{counts['train']:,} training and {counts['test']:,} test pictures")
        said.append(f"{counts['classes']} classes: {format_names(pictures.classes)}")
    for warning in pictures.warnings:
        log.warning("  warning: %s", warning)
    data = _build_dataset(raw, pictures, sample, bases, options, competition)
    return replace(data, competition=_learn_directions(competition, bases, data.files))


def _fetch_weights(bases: list[Base]) -> None:
    places = {base: place for base in bases if (place := find_missing_weights(base))}
    if places:
        with log_stage("weights") as said:
            for base, place in places.items():
                log.info("  fetching %s by keras.applications", place.name)
                fetch_weights(base, place)
                said.append(f"{place.name} fetched")


def _learn_directions(competition: Competition, bases: list[Base], files: dict[str, Path]) -> Competition:
    """The competition whose recipe names the directions of its bases' second moments; learns those that are not here.

    They are learned from the first of the readable pictures in the order of their digests, without labels.
    """
    recipe, named = competition.recipe, dict[str, str]()
    for text in recipe.bases:
        base = parse_base(text, recipe.size)
        if base.pooling != SECOND_MOMENTS or base not in bases:
            continue
        pictures = sorted(files)[: pooling.MAX_PICTURES]
        base = pooling.name_directions(base, pictures)
        if not pooling.has_directions(base):
            with log_stage("directions") as said:
                pooling.learn_directions(
                    base, pixel_cache.read_pixels(pixel_cache.open_pixel_store(base.size), pictures, files)
                )
                said.append(f"{base} learned from {len(pictures)} pictures, without labels")
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
    """Fills the pixel stores, leaves out what cannot be read, and splits."""
    both = pd.concat([pictures.train, pictures.test])
    files = {digest: raw / path for digest, path in zip(both["sha256"], both["path"], strict=True) if path}
    stores = {base.size: pixel_cache.open_pixel_store(base.size) for base in bases}
    with log_stage("pixels") as said:
        decoded = {size: pixel_cache.fill_pixel_store(store, files) for size, store in stores.items()}
        bad = {name: reason for store in stores.values() for name, reason in store.unreadable(files).items()}
        said.append(", ".join(f"{count:,} decoded at {size} px" for size, count in decoded.items()))
        said.append(f"{len(bad)} unreadable")
    unreadable = _log_unreadable(pictures, bad)
    train = pictures.train[~pictures.train["sha256"].isin(bad)].reset_index(drop=True)
    with log_stage("folds") as said:
        said.append(_assign_folds(train, raw, next(iter(stores.values())), pictures.classes, options, competition))
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
    """Why pictures cannot be read, by `part/id`; says so."""
    found = {
        f"{part}/{identity}": bad[digest]
        for part, table in (("train", pictures.train), ("test", pictures.test))
        for identity, digest in zip(table["id"], table["sha256"], strict=True)
        if digest in bad
    }
    for name, reason in found.items():
        prior = " and gets the prior" if name.startswith("test/") else ""
        log.warning("  warning: %s cannot be read%s: %s", name, prior, reason)
    return found


def _assign_folds(
    train: pd.DataFrame, raw: Path, store: RowStore, classes: list[str], options: RunOptions, competition: Competition
) -> str:
    """Gives the table its columns group and fold. Returns what is to be said of them."""
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
