"""The last stages: what a run came to, measured, and written into its folder."""

import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import closing, paths, runs
from pipeline.config import Competition
from pipeline.dataset import splits
from pipeline.files import read_json, sha256_of_json, write_json
from pipeline.leaderboard import standing_of
from pipeline.models.bases import missing_weights, weights_digest
from pipeline.models.scratch import networks_of
from pipeline.options import Options, folds_asked
from pipeline.predict import metrics, submission
from pipeline.preparation import Data
from pipeline.training.features import Trained

SCALED = 1
"""Version of what the linear heads of several folds come to; raised when they give other numbers, so that old runs are
not taken for new ones."""


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A run that has begun.

    Args:
        competition: its recipe is the run's.
        options: from the command line.
        data: its pictures.
        folder: that it writes into.
        folds: that it trains.
        started: when, as `time.perf_counter` has it.
    """

    competition: Competition
    options: Options
    data: Data
    folder: Path
    folds: tuple[int, ...]
    started: float


def measured(competition: Competition, data: Data, trained: Trained) -> dict[str, Any]:
    """The metric for each fold and view, its mean, its spread (sample deviation over folds) and what chance gives."""
    fold_of = data.pictures.train["fold"].to_numpy()
    positive = positive_class(competition, data)

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


def decides(competition: Competition, options: Options, folds: tuple[int, ...]) -> dict[str, Any]:
    """What decides a run's result beside its pictures, its folds and the weights that it starts from."""
    recipe = competition.recipe
    scaled = {"scaled": SCALED} if (recipe.rung, recipe.head) == ("features", "linear") and len(folds) > 1 else {}
    return {
        "competition": asdict(competition), "folds": folds, "debug": options.debug, "engine": options.engine, **scaled,
    }  # fmt: skip


def run_folder(competition: Competition, options: Options, folds: tuple[int, ...]) -> Path:
    """The folder of this run: of the interrupted one, or a new one."""
    config = decides(competition, options, folds)
    suffix = "-debug" if options.debug else ""
    return runs.create(competition.name, competition.recipe.rung, config, sha256_of_json(config), suffix=suffix)


def finished(competition: Competition, options: Options) -> Path | None:
    """The folder of this very run, if it has come to its end before, on the folds and from the weights of today."""
    if options.force or options.resplit:
        return None
    config = decides(competition, options, folds_asked(competition.recipe, options))
    found = runs.found(competition.name, sha256_of_json(config))
    return found if found and _still_holds(found, competition, options) else None


def _still_holds(folder: Path, competition: Competition, options: Options) -> bool:
    """Whether a run's pictures are still in its folds, and its weights those that are here."""
    known = splits.known(competition.recipe, paths.competition_folder(competition.name))
    if not options.debug and (known is None or known != splits.known_of(folder)):
        return False
    stored = (read_json(folder / "environment.json") or {}).get("weights")
    return bool(stored == weights_of(competition))


def weights_of(competition: Competition) -> dict[str, str | None]:
    """The digests of the weights that its networks start from, by base; None where they are not here."""
    networks = networks_of(competition.recipe)
    return {str(base): None if missing_weights(base) else weights_digest(base) for base in networks}


def positive_class(competition: Competition, data: Data) -> int | None:
    """The number of the class whose probability is asked for, or None."""
    return competition.positive_of(data.pictures.classes)


def test_predictions(data: Data, predicted: np.ndarray) -> np.ndarray:
    """Probabilities (test pictures, classes) float32 from those of the readable ones; the others get the prior."""
    readable = data.test_readable
    test = np.tile(metrics.prior(data.labels, len(data.pictures.classes)), (len(readable), 1)).astype(np.float32)
    test[readable] = predicted
    return test


def keep_model(folder: Path) -> None:
    """Where one fold was trained its model is the run's: model.keras beside models/fold0.keras, the same file."""
    models = sorted((folder / "models").glob("fold*.keras"))
    whole = folder / "model.keras"
    if len(models) == 1 and not whole.exists():
        try:
            os.link(models[0], whole)
        except OSError:
            shutil.copy(models[0], whole)


def finish(
    competition: Competition, data: Data, folder: Path, trained: Trained, test: np.ndarray, *, submit: bool
) -> list[Path]:
    """Writes folds, history, predictions and, if asked to, the submission. Returns the submissions' paths."""
    train, classes = data.pictures.train, data.pictures.classes
    runs.write_table(folder / "folds.csv", train[["id", "label", "fold", "group"]].to_dict("records"))
    runs.write_table(folder / "history.csv", trained.history)
    runs.write_predictions(folder / "oof.npz", list(train["id"]), classes, trained.oof, **trained.oof_views)
    ids = list(data.pictures.test["id"])
    views = {view: test_predictions(data, values) for view, values in trained.test_views.items()}
    runs.write_predictions(folder / "test.npz", ids, classes, test, **views)
    return submitted(competition, data, folder, test) if submit else []


def submitted(competition: Competition, data: Data, folder: Path, test: np.ndarray) -> list[Path]:
    """Writes the validated submission into the run's folder and beside `latest.csv`. Returns the latter two's paths."""
    ids, classes = list(data.pictures.test["id"]), data.pictures.classes
    if not ids:
        return []
    table = submission.frame(competition, data.sample, ids, test, classes)
    submission.validate(table, competition, data.sample, classes)
    place = paths.submissions_folder(competition.name)
    written = [folder / "submission.csv", place / f"{folder.name}.csv", place / "latest.csv"]
    submission.write(table, *written)
    return written[1:]


def peak_memory() -> float | None:
    """The largest resident memory of this process and of the largest child, in MB; None where it is not measured."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return round(max(resource.getrusage(who).ru_maxrss for who in kinds) * unit / 1024**2, 1)


def close(run: UnderWay, trained: Trained, results: dict[str, Any], device: str) -> Path:
    """What every rung ends with: files, the submission, metrics last, and a word. Returns the run's folder.

    Args:
        run: that ends.
        trained: its heads' or networks' predictions.
        results: what metrics.json is to say; the seconds, the memory and the standing are added.
        device: what it ran on.
    """
    competition, options, data, folder = run.competition, run.options, run.data, run.folder
    test = test_predictions(data, trained.test)
    results |= {"seconds": round(time.perf_counter() - run.started, 2), "megabytes": peak_memory()}
    environment = runs.environment(competition.recipe.seed, device)
    write_json(folder / "environment.json", {**environment, "weights": weights_of(competition)})
    written = finish(competition, data, folder, trained, test, submit=not (options.debug or options.practice))
    standing = None
    if not options.debug:
        standing = standing_of(competition, data, trained, results["folds"], positive_class(competition, data))
    results["standing"] = asdict(standing) if standing else None
    write_json(folder / "metrics.json", results)
    before = None if options.debug else closing.ahead(folder, results, trained.folds)
    closing.tell(competition, results, [*written, folder], standing, before)
    return folder
