"""Prepares a competition's pictures: the stages data, table, pixels and folds, which workflow/run.py puts in order."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions
from pipeline.data import folds, pixel_cache, subsets
from pipeline.data.check import DataCheck, check_data, find_oddities
from pipeline.data.corrections import read_corrections
from pipeline.data.labels import PictureTable, build_picture_table
from pipeline.data.picture_files import SHOWN_UNREADABLE, format_names
from pipeline.data.row_store import RowStore
from pipeline.data.tables import SampleSubmission, read_sample_submission
from pipeline.data.validation import check_class_counts, fetch_raw_data
from pipeline.files import write_json
from pipeline.models import hub_presets, pooling
from pipeline.models.base import SECOND_MOMENTS, Base, find_missing_weights, parse_base
from pipeline.models.base import fetch_weights as fetch_base_weights
from pipeline.workflow.context import log_stage

log = logging.getLogger(__name__)


def fetch_data(competition: Competition, options: RunOptions) -> Path:
    """Runs the stage data: fetches, unpacks and checks the data. Returns their folder."""
    with log_stage("data") as lines:
        raw = fetch_raw_data(competition, bundle=options.bundle, force=options.force)
        lines.append(f"in {paths.format_path(raw)}")
    return raw


def warn_of_synthetic_bases(competition: Competition, bases: list[Base]) -> None:
    """Warns where a base that knows synthetic pictures alone is to see photographs."""
    for base in bases:
        if competition.synthetic is None and base.weights == "imagenet" and base.entry.ours:
            log.warning("  warning: %s has learned from synthetic pictures alone; photographs want a base that has seen"
                        " photographs, such as efficientnet_lite2", base.name)  # fmt: skip


def fetch_weights(bases: list[Base]) -> None:
    """Fetches missing weights. It runs before any picture is read, so that an error comes early.

    Raises:
        StarshiftError: weights cannot be fetched, or KerasHub is missing.
    """
    if any(base.from_hub for base in bases):
        hub_presets.require_keras_hub()
    missing = {base: place for base in bases if (place := find_missing_weights(base))}
    if missing:
        with log_stage("weights") as lines:
            for base, place in missing.items():
                log.info("  fetching %s", place.name)
                fetch_base_weights(base, place)
                lines.append(f"{place.name} fetched")


def read_pictures(
    competition: Competition, raw: Path, options: RunOptions
) -> tuple[PictureTable, SampleSubmission | None]:
    """Runs the stage table: reads the table of pictures and the sample submission."""
    folder = paths.competition_folder(competition.name)
    with log_stage("table") as lines:
        sample = read_sample_submission(competition, raw)
        pictures = build_picture_table(competition, raw, sample, folder / "table.json")
        counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        write_json(folder / "summary.json", counts)
        if options.debug:
            pictures = subsets.select_debug_subset(pictures, competition.recipe.seed)
        lines.append(f"{len(pictures.train):,} training and {len(pictures.test):,} test pictures")
        lines.append(f"{len(pictures.classes)} classes: {format_names(pictures.classes)}")
    if corrections := read_corrections(competition.name):
        log.info("labels    %s", corrections.line)
    for warning in find_oddities(competition, pictures, raw):
        log.warning("  warning: %s", warning)
    return pictures, sample


def check_competition(competition: Competition, options: RunOptions) -> DataCheck:
    """Fetches the data of a competition and checks them; nothing is decoded.

    Raises:
        StarshiftError: the data cannot be trained on.
    """
    raw = fetch_data(competition, options)
    folder = paths.competition_folder(competition.name)
    sample = read_sample_submission(competition, raw)
    return check_data(competition, build_picture_table(competition, raw, sample, folder / "table.json"), raw)


def decode_pictures(
    raw: Path, pictures: PictureTable, stores: dict[int, RowStore]
) -> tuple[dict[str, Path], dict[str, str]]:
    """Runs the stage pixels: decodes every picture into the pixel store of each size.

    Returns:
        Where each readable picture lies, and why the others cannot be read, both by digest.
    """
    both = pd.concat([pictures.train, pictures.test])
    files = {digest: raw / path for digest, path in zip(both["sha256"], both["path"], strict=True) if path}
    with log_stage("pixels") as lines:
        decoded = {size: pixel_cache.fill_pixel_store(store, files) for size, store in stores.items()}
        bad = {name: reason for store in stores.values() for name, reason in store.unreadable(files).items()}
        lines.append(", ".join(f"{count:,} decoded at {size} px" for size, count in decoded.items()))
        lines.append(f"{len(bad)} unreadable")
    return {digest: path for digest, path in files.items() if digest not in bad}, bad


def log_unreadable(pictures: PictureTable, bad: dict[str, str]) -> dict[str, str]:
    """Logs unreadable pictures; returns the reasons by `part/id`."""
    reasons = {
        f"{part}/{identity}": bad[digest]
        for part, table in (("train", pictures.train), ("test", pictures.test))
        for identity, digest in zip(table["id"], table["sha256"], strict=True)
        if digest in bad
    }
    for name, reason in list(reasons.items())[:SHOWN_UNREADABLE]:
        prior = " and gets the prior" if name.startswith("test/") else ""
        log.warning("  warning: %s cannot be read%s: %s", name, prior, reason)
    if len(reasons) > SHOWN_UNREADABLE:
        more = len(reasons) - SHOWN_UNREADABLE
        log.warning("  warning: %d more cannot be read; metrics.json in the run's folder has all", more)
    return reasons


def assign_folds(
    competition: Competition,
    raw: Path,
    pictures: PictureTable,
    bad: dict[str, str],
    store: RowStore,
    options: RunOptions,
) -> PictureTable:
    """Runs the stage folds: leaves unreadable training pictures out, and adds the columns group and fold.

    Args:
        competition: its recipe says how to split.
        raw: the folder of the data.
        pictures: all of them.
        bad: the unreadable ones, by digest.
        store: of the pixels that duplicates are found by, filled.
        options: of the run.
    """
    recipe, folder = competition.recipe, paths.competition_folder(competition.name)
    train = pictures.train[~pictures.train["sha256"].isin(bad)].reset_index(drop=True)
    with log_stage("folds") as lines:
        if recipe.grouping == "estimated":
            kind, train["group"] = "pictures of scenes already seen", folds.read_groups(train, folder, competition.name)
            distinct = train
        else:
            kind, train["group"] = "exact duplicates", folds.find_duplicate_groups(train, raw, store)
            distinct = train.drop_duplicates("group")
            _warn_of_ambiguous_labels(train)
        check_class_counts(competition, distinct, pictures.classes, "readable, distinct pictures")
        if options.debug:
            train["fold"] = folds.assign_folds(train, recipe)
        else:
            train["fold"] = folds.load_or_create_folds(train, recipe, folder, again=options.resplit)
        _warn_of_lonely_classes(train, recipe)
        lines.append(f"{recipe.folds} folds, {len(train) - train['group'].nunique()} {kind} kept together")
    return replace(pictures, train=train)


def _warn_of_lonely_classes(train: pd.DataFrame, recipe: Recipe) -> None:
    """Warns of classes that lie in one fold alone, as classes of one scene do: nobody learns them before that fold."""
    folds = train.groupby("label")["fold"].nunique()
    if recipe.folds > 1 and len(lonely := folds.index[folds < 2]):
        log.warning("  warning: %d classes lie in one fold alone, which is predicted without having seen them: %s",
                    len(lonely), format_names(lonely))  # fmt: skip


def _warn_of_ambiguous_labels(train: pd.DataFrame) -> None:
    twice = train.groupby("group")["label"].transform("nunique") > 1
    if twice.any():
        names = format_names(train["id"][twice])
        log.warning("  warning: %d pictures stand in two classes with the same pixels: %s", twice.sum(), names)


def learn_directions(competition: Competition, bases: list[Base], files: dict[str, Path]) -> Competition:
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
        named[text] = text.replace(f"+{SECOND_MOMENTS}", f"+{base.pooling}", 1)
    return replace(competition, recipe=replace(recipe, bases=tuple(named.get(text, text) for text in recipe.bases)))
