"""The stages of a run in their order; nothing else knows it. One line a stage: what was done, and how long it took."""

import contextlib
import logging
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import paths, runs
from pipeline.config import Competition, Recipe
from pipeline.dataset import debug, pixels, splits
from pipeline.dataset.labels import Pictures, picture_table
from pipeline.dataset.sample import Sample, read_sample
from pipeline.errors import StarshiftError
from pipeline.features.extract import Extractor
from pipeline.files import sha256_of_json, write_json
from pipeline.kaggle.fetch import fetch
from pipeline.models.bases import Base, parse
from pipeline.models.engines import precision_of
from pipeline.predict import metrics, submission
from pipeline.training import assemble, features

log = logging.getLogger(__name__)
DEBUG_FOLDS = 2
HAND_OVER_PICTURES = 16


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for beside the recipe.

    Args:
        bundle: an archive downloaded by hand.
        debug: a few pictures only.
        folds: train these only; empty trains all.
        force: fetch and compute again.
        resplit: make new folds.
        engine: `auto` or the name of an engine.
    """

    bundle: Path | None = None
    debug: bool = False
    folds: tuple[int, ...] = ()
    force: bool = False
    resplit: bool = False
    engine: str = "auto"


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
        raw: the folder that paths are relative to.
        pictures: tables; unreadable training pictures are left out.
        sample: what the submission must look like.
        files: where each readable picture lies, by digest.
        unreadable: why, by `part/id`.
        labels: class numbers (training pictures,) int.
    """

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
    """Fetches, checks and decodes a competition's pictures, and splits them."""
    folder = paths.competition_folder(competition.name)
    with stage("data") as said:
        raw = fetch(competition, bundle=options.bundle, force=options.force)
        said.append(f"in {paths.shown(raw)}")
    with stage("table") as said:
        sample = read_sample(competition, raw)
        pictures = picture_table(competition, raw, sample, folder / "table.json")
        counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        write_json(folder / "summary.json", counts)
        if options.debug:
            pictures = debug.sample_of(pictures, competition.recipe.seed)
            counts = {"train": len(pictures.train), "test": len(pictures.test), "classes": len(pictures.classes)}
        said.append(f"{counts['train']:,} training and {counts['test']:,} test pictures, {counts['classes']} classes")
    for warning in pictures.warnings:
        log.warning("  warning: %s", warning)
    return _decoded(competition, raw, pictures, sample, bases, options)


def _decoded(
    competition: Competition, raw: Path, pictures: Pictures, sample: Sample | None, bases: list[Base], options: Options
) -> Data:
    """Fills the pixel stores, leaves out what cannot be read, and splits."""
    both = pd.concat([pictures.train, pictures.test])
    files = {digest: raw / path for digest, path in zip(both["sha256"], both["path"], strict=True) if path}
    with stage("pixels") as said:
        stores = {base.size: pixels.pixel_store(base.size) for base in bases}
        decoded = {size: pixels.fill(store, files) for size, store in stores.items()}
        store = next(iter(stores.values()))
        bad = store.unreadable(files)
        said.append(", ".join(f"{count:,} decoded at {size} px" for size, count in decoded.items()))
        said.append(f"{len(bad)} unreadable")
    unreadable = {
        f"{part}/{identity}": bad[digest]
        for part, table in (("train", pictures.train), ("test", pictures.test))
        for identity, digest in zip(table["id"], table["sha256"], strict=True)
        if digest in bad
    }
    for name, reason in unreadable.items():
        log.warning("  warning: %s cannot be read%s: %s", name, "" if name[1] == "r" else " and gets the prior", reason)
    train = pictures.train[~pictures.train["sha256"].isin(bad)].reset_index(drop=True)
    with stage("folds") as said:
        train["group"] = splits.groups(train, raw, store)
        if options.debug:
            train["fold"] = splits.assign(train, competition.recipe)
        else:
            folder = paths.competition_folder(competition.name)
            train["fold"] = splits.load_or_make(train, competition.recipe, folder, again=options.resplit)
        said.append(
            f"{competition.recipe.folds} folds, {len(train) - train['group'].nunique()} exact duplicates kept together"
        )
    numbers = {name: number for number, name in enumerate(pictures.classes)}
    return Data(
        raw=raw,
        pictures=replace(pictures, train=train),
        sample=sample,
        files={digest: path for digest, path in files.items() if digest not in bad},
        unreadable=unreadable,
        labels=train["label"].map(numbers).to_numpy(),
    )


def extract(
    extractors: list[Extractor], digests: list[str], views: tuple[str, ...], said: list[str] | None = None
) -> dict[str, np.ndarray]:
    """Features (pictures, width) float32 of all bases, concatenated, for each view."""
    found = {}
    for view in views:
        parts = [extractor.features(digests, view) for extractor in extractors]
        found[view] = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    if said is not None:
        said.append(f"{len(digests):,} x {next(iter(found.values())).shape[1]} in {len(views)} views")
    return found


def run(competition: Competition, options: Options) -> Path:
    """The whole way: from the archive to the submission. Returns the run's folder."""
    started = time.perf_counter()
    if options.debug:
        competition = replace(competition, recipe=replace(competition.recipe, folds=DEBUG_FOLDS))
    recipe = competition.recipe
    folds = options.folds or tuple(range(recipe.folds))
    if not set(folds) <= set(range(recipe.folds)):
        raise StarshiftError("There is no such fold.", expected=f"0 to {recipe.folds - 1}", received=str(folds))
    bases = [parse(text, recipe.size) for text in recipe.bases]
    assembly = assemble.Assembly(bases)
    try:
        return _run(competition, options, bases, folds, assembly, started)
    finally:
        assembly.stop()


def _run(
    competition: Competition,
    options: Options,
    bases: list[Base],
    folds: tuple[int, ...],
    assembly: assemble.Assembly,
    started: float,
) -> Path:
    """The stages of `run`, once its arguments are known to be good."""
    recipe = competition.recipe
    data = prepare(competition, bases, options)
    decides = {"competition": asdict(competition), "folds": folds, "debug": options.debug, "engine": options.engine}
    suffix = "-debug" if options.debug else ""
    folder = runs.create(competition.name, recipe.rung, decides, sha256_of_json(decides), suffix=suffix)
    extractors = [Extractor(base, data.files, wanted=options.engine, force=options.force) for base in bases]
    readable = data.test_readable
    with stage("features") as said:
        train_views = tuple(dict.fromkeys((*recipe.training_views, *recipe.views)))
        train_features = extract(extractors, list(data.pictures.train["sha256"]), train_views, said)
        test_digests = list(data.pictures.test["sha256"][readable])
        test_features = extract(extractors, test_digests, recipe.views, said) if test_digests else None
        computed = sum(extractor.computed for extractor in extractors)
        said.append(
            f"{computed:,} computed by {', '.join(e.choose(test_digests).engine for e in extractors)}, the rest cached"
        )
    with stage("heads") as said:
        trained = features.train(
            recipe,
            train_features=train_features,
            test_features=test_features or {view: values[:0] for view, values in train_features.items()},
            labels=data.labels,
            fold_of=data.pictures.train["fold"].to_numpy(),
            folds=folds,
            classes=len(data.pictures.classes),
        )
        results = measured(competition, data, trained)
        said.append(f"{competition.metric} {results['score']:.5f} ± {results['spread']:.5f} over {len(folds)} folds")
    with stage("model") as said:
        difference = hand_over(assembly, folder, extractors, data, trained)
        said.append(f"live and cached predictions differ by at most {difference:.1e}")
    test = np.tile(metrics.prior(data.labels, len(data.pictures.classes)), (len(readable), 1)).astype(np.float32)
    test[readable] = trained.test
    results |= {"hand_over": difference, "seconds": round(time.perf_counter() - started, 2), "megabytes": peak_memory()}
    results["engines"] = {str(e.base): asdict(e.choose(test_digests)) for e in extractors}
    device = ", ".join(extractor.choose(test_digests).engine for extractor in extractors)
    write_json(folder / "environment.json", runs.environment(recipe.seed, device))
    written = finish(competition, data, folder, trained, test, debug=options.debug)
    write_json(folder / "metrics.json", results)
    closing(competition, results, [*written, folder])
    return folder


def measured(competition: Competition, data: Data, trained: features.Trained) -> dict[str, Any]:
    """The metric for each fold and view, its mean, its spread (sample deviation over folds) and what chance gives."""
    fold_of = data.pictures.train["fold"].to_numpy()
    wanted = competition.labels.positive
    positive = data.pictures.classes.index(wanted) if wanted in data.pictures.classes else None

    def by_fold(values: np.ndarray, metric: str) -> list[float]:
        return [metrics.score(metric, data.labels[fold_of == f], values[fold_of == f], positive) for f in trained.folds]

    each = by_fold(trained.oof, competition.metric)
    held = np.isin(fold_of, trained.folds)
    return {
        "metric": competition.metric,
        "score": float(np.mean(each)),
        "spread": float(np.std(each, ddof=1)) if len(each) > 1 else 0.0,
        "folds": each,
        "views": {view: float(np.mean(by_fold(v, competition.metric))) for view, v in trained.oof_views.items()},
        "accuracy": float(np.mean(by_fold(trained.oof, "accuracy"))),
        "chance": metrics.chance(competition.metric, data.labels[held], len(data.pictures.classes), positive),
        "unreadable": data.unreadable,
    }


def hand_over(
    assembly: assemble.Assembly, folder: Path, extractors: list[Extractor], data: Data, trained: features.Trained
) -> float:
    """Puts the heads on the live bases, and holds that model against the cached features on a few pictures."""
    digests = list(data.pictures.train["sha256"][:HAND_OVER_PICTURES])
    cached = extract(extractors, digests, ("plain",))["plain"]
    expected = np.mean([head.probabilities(cached) for head in trained.heads], axis=0)
    shown = {e.base.size: pixels.read(e.store, digests, data.files) for e in extractors}
    used = {precision_of(extractor.choose(digests).engine) for extractor in extractors}
    return assembly.finish(folder, trained.heads, shown, expected, "bfloat16" if "bfloat16" in used else "float32")


def finish(
    competition: Competition, data: Data, folder: Path, trained: features.Trained, test: np.ndarray, *, debug: bool
) -> list[Path]:
    """Writes folds, history, predictions and the validated submission. Returns the submissions' paths."""
    train, classes = data.pictures.train, data.pictures.classes
    runs.write_table(folder / "folds.csv", train[["id", "label", "fold", "group"]].to_dict("records"))
    runs.write_table(folder / "history.csv", trained.history)
    runs.write_predictions(folder / "oof.npz", list(train["id"]), classes, trained.oof, **trained.oof_views)
    ids = list(data.pictures.test["id"])
    runs.write_predictions(folder / "test.npz", ids, classes, test)
    if not ids or debug:
        return []
    table = submission.frame(competition, data.sample, ids, test, classes)
    submission.validate(table, competition, data.sample, classes)
    place = paths.submissions_folder(competition.name)
    written = [folder / "submission.csv", place / f"{folder.name}.csv", place / "latest.csv"]
    for path in written:
        submission.write(table, path)
    return written[1:]


def peak_memory() -> float:
    """The largest resident memory of this process and of the largest child, in MB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(who).ru_maxrss for who in kinds) / 1024, 1)


def closing(competition: Competition, results: dict[str, Any], written: list[Path]) -> None:
    """The last words: the score, the files, what to try next."""
    name = competition.metric
    log.info("")
    log.info("%s %.5f ± %.5f (chance %.5f)", name, results["score"], results["spread"], results["chance"])
    log.info("%.1f s, at most %.0f MB of memory", results["seconds"], results["megabytes"])
    for path in written:
        log.info("wrote %s", paths.shown(path))
    log.info("next: %s", advice(competition.recipe))


def advice(recipe: Recipe) -> str:
    """What usually helps next, given what this recipe lacks."""
    if len(recipe.bases) == 1:
        return f"a second base: --base {recipe.bases[0]} --base xception"
    if "flip" not in recipe.views:
        return 'views=("plain", "flip") in the recipe'
    if recipe.augmented_views == 0:
        return "augmented_views=2 in the recipe: the head trains on augmented views too"
    return "--head dense, and another --seed to see what is noise"
