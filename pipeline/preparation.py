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
from pipeline.dataset import debug, grouping, pixels, splits
from pipeline.dataset.checks import enough, fetched
from pipeline.dataset.labels import Pictures, picture_table
from pipeline.dataset.listing import some
from pipeline.dataset.shards import RowStore
from pipeline.dataset.tables import Sample, read_sample
from pipeline.files import write_json
from pipeline.models import directions
from pipeline.models.bases import SECOND, Base, fetch_weights, missing_weights, parse
from pipeline.options import Options

log = logging.getLogger(__name__)


@contextlib.contextmanager
def stage(name: str) -> Iterator[list[str]]:
    """Times a stage and prints its line; the stage appends what it has to say."""
    started = time.perf_counter()
    words: list[str] = []
    yield words
    log.info("%-9s %6.1f s  %s", name, time.perf_counter() - started, "; ".join(words))


@dataclass(frozen=True, kw_only=True)
class Data:
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
    pictures: Pictures
    sample: Sample | None
    files: dict[str, Path]
    unreadable: dict[str, str]
    labels: np.ndarray

    @property
    def test_readable(self) -> np.ndarray:
        """Which test pictures can be predicted, (pictures,) bool."""
        return self.pictures.test["sha256"].isin(self.files).to_numpy()


def prepare(competition: Competition, bases: list[Base], options: Options) -> Data:
    """Fetches, checks and decodes a competition's pictures, splits them, and learns what bases need of them.

    Weights that are not here are fetched before any picture is looked at, so that what cannot be had is said at once.

    Raises:
        StarshiftError: weights that do not come, or data that cannot be used.
    """
    folder = paths.competition_folder(competition.name)
    with stage("data") as said:
        raw = fetched(competition, bundle=options.bundle, force=options.force)
        said.append(f"in {paths.shown(raw)}")
    _fetch_weights(bases)
    with stage("table") as said:
        sample = read_sample(competition, raw)
        pictures = picture_table(competition, raw, sample, folder / "table.json")
        counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        write_json(folder / "summary.json", counts)
        if options.debug:
            pictures = debug.sample_of(pictures, competition.recipe.seed)
            counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        said.append(f"{counts['train']:,} training and {counts['test']:,} test pictures")
        said.append(f"{counts['classes']} classes: {some(pictures.classes)}")
    for warning in pictures.warnings:
        log.warning("  warning: %s", warning)
    data = _readable(raw, pictures, sample, bases, options, competition)
    return replace(data, competition=_directed(competition, bases, data.files))


def _fetch_weights(bases: list[Base]) -> None:
    places = {base: place for base in bases if (place := missing_weights(base))}
    if places:
        with stage("weights") as said:
            for base, place in places.items():
                log.info("  fetching %s by keras.applications", place.name)
                fetch_weights(base, place)
                said.append(f"{place.name} fetched")


def _directed(competition: Competition, bases: list[Base], files: dict[str, Path]) -> Competition:
    """The competition whose recipe names the directions of its bases' second moments; learns those that are not here.

    They are learned from the first of the readable pictures in the order of their digests, without labels.
    """
    recipe, named = competition.recipe, dict[str, str]()
    for text in recipe.bases:
        base = parse(text, recipe.size)
        if base.pooling != SECOND or base not in bases:
            continue
        pictures = sorted(files)[: directions.PICTURES]
        base = directions.named(base, pictures)
        if not directions.known(base):
            with stage("directions") as said:
                directions.learn(base, pixels.read(pixels.pixel_store(base.size), pictures, files))
                said.append(f"{base} learned from {len(pictures)} pictures, without labels")
            if older := directions.others(base):
                log.info("  other pictures gave %s: named so, what is cached of it is used", " and ".join(older))
        named[text] = str(base)
    return replace(competition, recipe=replace(recipe, bases=tuple(named.get(text, text) for text in recipe.bases)))


def _readable(
    raw: Path, pictures: Pictures, sample: Sample | None, bases: list[Base], options: Options, competition: Competition
) -> Data:
    """Fills the pixel stores, leaves out what cannot be read, and splits."""
    both = pd.concat([pictures.train, pictures.test])
    files = {digest: raw / path for digest, path in zip(both["sha256"], both["path"], strict=True) if path}
    stores = {base.size: pixels.pixel_store(base.size) for base in bases}
    with stage("pixels") as said:
        decoded = {size: pixels.fill(store, files) for size, store in stores.items()}
        bad = {name: reason for store in stores.values() for name, reason in store.unreadable(files).items()}
        said.append(", ".join(f"{count:,} decoded at {size} px" for size, count in decoded.items()))
        said.append(f"{len(bad)} unreadable")
    unreadable = _told(pictures, bad)
    train = pictures.train[~pictures.train["sha256"].isin(bad)].reset_index(drop=True)
    with stage("folds") as said:
        said.append(_split(train, raw, next(iter(stores.values())), pictures.classes, options, competition))
    numbers = {name: number for number, name in enumerate(pictures.classes)}
    return Data(
        competition=competition,
        raw=raw,
        pictures=replace(pictures, train=train),
        sample=sample,
        files={digest: path for digest, path in files.items() if digest not in bad},
        unreadable=unreadable,
        labels=train["label"].map(numbers).to_numpy(),
    )


def _told(pictures: Pictures, bad: dict[str, str]) -> dict[str, str]:
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


def _split(
    train: pd.DataFrame, raw: Path, store: RowStore, classes: list[str], options: Options, competition: Competition
) -> str:
    """Gives the table its columns group and fold. Returns what is to be said of them."""
    recipe, folder = competition.recipe, paths.competition_folder(competition.name)
    if recipe.grouping == "estimated":
        kind, train["group"] = "pictures of scenes already seen", grouping.estimated(train, folder, competition.name)
        distinct = train
    else:
        kind, train["group"] = "exact duplicates", splits.groups(train, raw, store)
        distinct = train.drop_duplicates("group")
        twice = train.groupby("group")["label"].transform("nunique") > 1
        if twice.any():
            names = some(train["id"][twice])
            log.warning("  warning: %d pictures stand in two classes with the same pixels: %s", twice.sum(), names)
    if options.debug:
        train["fold"] = splits.assign(train, recipe)
    else:
        enough(competition, distinct, classes, "readable, distinct pictures")
        train["fold"] = splits.load_or_make(train, recipe, folder, again=options.resplit)
    return f"{recipe.folds} folds, {len(train) - train['group'].nunique()} {kind} kept together"
