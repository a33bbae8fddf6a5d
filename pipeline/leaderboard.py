"""Where a run's cross-validated score would stand on the final leaderboard, and how sure that is."""

from collections.abc import Sequence

import numpy as np

from pipeline.config import Competition
from pipeline.kaggle.standing import Standing, board_of, standing
from pipeline.predict import metrics
from pipeline.predict.intervals import Interval, over_folds
from pipeline.predict.resampling import resampled
from pipeline.preparation import Data
from pipeline.training.features import Trained


def standing_of(
    competition: Competition, data: Data, trained: Trained, each: Sequence[float], positive: int | None
) -> Standing | None:
    """Where a run would stand; None for a competition without a leaderboard, or another metric than its own.

    Args:
        competition: of the run.
        data: its pictures.
        trained: its out-of-fold predictions.
        each: the score of each fold that was trained.
        positive: for two classes, the one that is asked for.
    """
    board = board_of(competition.slug, competition.metric)
    if board is None:
        return None
    fold_of = data.pictures.train["fold"].to_numpy()
    held = np.isin(fold_of, trained.folds)
    sure = interval_of(competition, each, (data.labels[held], fold_of[held]), trained.oof[held], positive)
    low, high = sure.low, sure.high
    if sure.known:
        low, high = max(low, 0.0), min(high, 1.0) if board.higher else high
    return standing(board, float(np.mean(each)), low, high, len(data.labels))


def interval_of(
    competition: Competition,
    each: Sequence[float],
    known: tuple[np.ndarray, np.ndarray],
    held: np.ndarray,
    positive: int | None,
) -> Interval:
    """Where the score may lie: by the folds' spread, or where there is one fold by drawing its pictures again.

    Args:
        competition: its metric and its folds.
        each: the score of each fold that was trained.
        known: classes and folds of the held-out pictures, (n,) int each.
        held: what is predicted for them, (n, classes).
        positive: for two classes, the one that is asked for.
    """
    truth, fold_of = known
    if len(each) > 1:
        resolution = metrics.resolution(competition.metric, truth, fold_of, positive)
        return over_folds(each, 1 / competition.recipe.folds, resolution)

    def score(classes: np.ndarray, values: np.ndarray) -> float:
        return metrics.score(competition.metric, classes, values, positive)

    return resampled(score, truth, held, np.random.default_rng(competition.recipe.seed))
