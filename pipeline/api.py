"""The public API: what the command line does, as functions for a notebook or a script. `pipeline` exports them.

>>> import pipeline
>>> run = pipeline.run("pictures", recipe=pipeline.Recipe(bases=("efficientnet_lite0",), size=64, folds=3))
>>> pipeline.predict(run, "pictures/test").shape
(6, 2)
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import competitions
from pipeline import logs
from pipeline.config import Competition, Recipe, RunOptions
from pipeline.data.picture_files import format_unreadable
from pipeline.ensemble.ensemble_predictor import can_predict, load_any_predictor
from pipeline.errors import StarshiftError, require
from pipeline.evaluation import metrics
from pipeline.evaluation.confusion import compute_confusion
from pipeline.evaluation.intervals import Interval, estimate_score, wilson_interval
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.evaluation.per_class import score_classes
from pipeline.learnware.predict import load_learnware_predictor
from pipeline.learnware.store import ADDRESS_PREFIX, load_learnware
from pipeline.runs import listing, load, predictor
from pipeline.runs.load import Run
from pipeline.runs.predictor import RunPredictor

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How good predictions are.

    Args:
        metric: the competition's.
        score: in that metric, with a 95 % interval over pictures. Of a run's own pictures it is the mean over folds, as
            the run reports it; of others it is over all at once.
        accuracy: with Wilson's 95 % interval.
        chance: the metric of predicting the classes' shares for every picture.
        pictures: how many were predicted.
        classes: a row a class: pictures, precision, recall, f1; NaN where there is nothing to divide by.
        confusion: pictures by true class (rows) and predicted class (columns).
    """

    metric: str
    score: Interval
    accuracy: Interval
    chance: float
    pictures: int
    classes: pd.DataFrame
    confusion: pd.DataFrame


def run(
    competition: Competition | str | Path,
    *,
    recipe: Recipe | None = None,
    bundle: str | Path | None = None,
    folds: Sequence[int] = (),
    engine: str = "auto",
    debug: bool = False,
    final: bool = False,
) -> Run:
    """Runs a competition from its pictures to its submission, as `invoke run` does.

    Args:
        competition: a Competition, or what `--comp` takes: a name, a folder of class folders, a competition file.
        recipe: how to train; None is the competition's own.
        bundle: Kaggle's archive, where it was downloaded by hand.
        folds: train these only; none trains all.
        engine: `auto`, `keras`, `openvino` or `openvino-bf16`.
        debug: at most 64 pictures and 2 folds, the whole way.
        final: also train one network on all pictures.

    Returns:
        The finished run. `run.folder` has its files, `run.results` what metrics.json says, such as `score`.

    Raises:
        StarshiftError: data, recipe or weights cannot be used; the message says what to do.

    Examples:
        >>> from pipeline import Recipe, run
        >>> finished = run("pictures", recipe=Recipe(bases=("efficientnet_lite0",), size=64, folds=3))
        >>> finished.results["metric"], finished.classes
        ('accuracy', ['blue', 'red'])
        >>> (finished.folder / "report.html").is_file()
        True
    """
    from pipeline.workflow import run as flow

    _set_up_logs()
    if not isinstance(competition, Competition):
        competition = competitions.find(str(competition))
    if recipe is not None:
        competition = replace(competition, recipe=recipe)
    options = RunOptions(
        bundle=Path(bundle).expanduser() if bundle else None, folds=tuple(folds), engine=engine, debug=debug
    )
    return load.load_run(flow.run(competition, options, final=final))


def load_run(name: str | Path, competition: str | None = None) -> Run:
    """Loads a finished run.

    Args:
        name: of the run, the beginning of it, the path of its folder, or `latest` or `best`.
        competition: look among the runs of this one only.

    Raises:
        StarshiftError: there is no such run, or several, or it is not finished.

    Examples:
        >>> from pipeline import load_run
        >>> latest = load_run("latest")
        >>> latest.oof.shape
        (24, 2)
    """
    return load.load_run(load.find_run_folder(str(name), competition))


def list_runs(competition: str | None = None) -> pd.DataFrame:
    """Lists runs, a row each: of one competition or of all, the best of each first.

    Args:
        competition: what `--comp` takes; None takes all that have runs.

    Returns:
        Columns competition, run, state, metric, score, spread, accuracy, strategy, bases, seconds and folder.

    Examples:
        >>> from pipeline import list_runs
        >>> runs = list_runs()
        >>> runs.loc[0, ["competition", "state", "metric"]].tolist()
        ['pictures', 'finished', 'accuracy']
    """
    columns = ["run", "state", "metric", "score", "spread", "accuracy", "strategy", "bases", "seconds", "folder"]
    names = [listing.find_competition_name(competition)] if competition else listing.list_competitions()
    rows = [
        {"competition": name, **listing.build_record(name, one)}
        for name in names
        for one in listing.list_ranked_runs(name)
    ]
    return pd.DataFrame(rows, columns=["competition", *columns])


def predict(run: Run | str | Path, images: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Predicts pictures with a finished run: all its folds, averaged over the views of its recipe.

    Args:
        run: from `run` or `load_run`, or a name as of `load_run`; a learnware of the store is `store:NAME`.
        images: a picture, a folder, a pattern such as `photos/*.jpg`, or paths of pictures.

    Returns:
        Probabilities float32, a row a picture and a column a class. Pictures that cannot be read have no row; they are
        logged with the reason.

    Raises:
        StarshiftError: there is no such run or picture, or the run has no model.

    Examples:
        >>> from pipeline import predict
        >>> predict("latest", "pictures/test/0.jpg").round(0).iloc[0].to_dict()
        {'blue': 0.0, 'red': 1.0}
    """
    _set_up_logs()
    files = predictor.find_pictures(str(images)) if isinstance(images, (str, Path)) else _find_each(images)
    predictions = predictor.predict_pictures(load_predictor(run)[1], files)
    for line in format_unreadable(predictions.unreadable):
        log.warning("  warning: %s", line)
    return pd.DataFrame(predictions.probabilities, index=predictions.names, columns=list(predictions.classes))


def evaluate(run: Run | str | Path, images: str | Path | None = None) -> Evaluation:
    """Evaluates a finished run on its out-of-fold predictions, or on other labelled pictures.

    Args:
        run: see `predict`.
        images: a folder with a folder of pictures for each class; None takes the out-of-fold predictions.

    Raises:
        StarshiftError: a folder is not called like a class of the run, or see `predict`.

    Examples:
        >>> from pipeline import evaluate
        >>> held_out = evaluate("latest")
        >>> held_out.pictures, held_out.accuracy.estimate > held_out.chance
        (24, True)
        >>> evaluate("latest", "pictures/train").confusion.shape
        (2, 2)
    """
    finished = run if isinstance(run, Run) else load_run(run)
    if images is None:
        ids = finished.held_ids
        probabilities, labels = finished.align(ids), [finished.label[name] for name in ids]
        fold_of = np.array([finished.fold[name] for name in ids])
    else:
        table = predict(finished, images)
        labels = [Path(name).parts[0] for name in table.index]
        unknown = sorted({*labels} - {*finished.classes})
        require(not unknown, "The pictures lie in a folder for each class.", expected=" | ".join(finished.classes),
                received=unknown[:10])  # fmt: skip
        probabilities, fold_of = table[finished.classes].to_numpy(), np.zeros(len(table), int)
    return _evaluate(finished, np.searchsorted(finished.classes, labels), probabilities, fold_of)


def load_predictor(run: Run | str | Path, competition: str | None = None) -> tuple[str, RunPredictor]:
    """Loads what predicts: of a run, of an ensemble or of a learnware. Returns its name, too.

    Args:
        run: see `predict`.
        competition: see `load_run`.

    Raises:
        StarshiftError: there is no such run, or it has no model.
    """
    if isinstance(run, Run):
        return run.folder.name, load_any_predictor(run.folder)
    if str(run).startswith(ADDRESS_PREFIX):
        return str(run), load_learnware_predictor(load_learnware(str(run)))
    folder = load.find_run_folder(str(run), competition, can_predict)
    return folder.name, load_any_predictor(folder)


def _evaluate(finished: Run, truth: np.ndarray, probabilities: np.ndarray, fold_of: np.ndarray) -> Evaluation:
    """Evaluates probabilities (n, classes) against the numbers of the classes (n,); fold_of (n,) int."""
    metric, predicted = str(finished.results["metric"]), probabilities.argmax(axis=1)
    oof = OOFPredictions.build([probabilities], truth, fold_of, metric, finished.positive)
    matrix = compute_confusion(truth, predicted, len(finished.classes))

    scores = score_classes(finished.classes, matrix)
    columns = {
        part: [value.estimate if (value := getattr(one, part)) else np.nan for one in scores]
        for part in ("precision", "recall", "f1")
    }
    return Evaluation(
        metric=metric,
        score=estimate_score(oof, probabilities),
        accuracy=wilson_interval(int((truth == predicted).sum()), len(truth)),
        chance=metrics.compute_chance_score(metric, truth, len(finished.classes), finished.positive),
        pictures=len(truth),
        classes=pd.DataFrame({"pictures": [one.pictures for one in scores], **columns}, index=finished.classes),
        confusion=pd.DataFrame(matrix, index=finished.classes, columns=finished.classes),
    )


def _find_each(images: Sequence[str | Path]) -> dict[str, Path]:
    """Returns pictures by their paths.

    Raises:
        StarshiftError: one is missing.
    """
    files = {str(path): Path(path).expanduser() for path in images}
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing or not files:
        received = ", ".join(missing[:10]) or "none"
        raise StarshiftError("Pictures are missing.", expected="paths of pictures", received=received)
    return files


def _set_up_logs() -> None:
    """Logs plain lines, as the command line does, unless the caller has set up logging."""
    if not logging.getLogger().handlers:
        logs.set_up()
