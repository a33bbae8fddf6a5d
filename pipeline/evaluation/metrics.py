"""The competitions' metrics: one record each, registered here and nowhere else.

A record holds everything that the pipeline needs to know of a metric, so that a new one works in every command.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.errors import StarshiftError, require_name

LOG_LOSS_CLIP = 1e-15
"""Kaggle's clip for log losses."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What the pipeline needs to know of a metric.

    Args:
        name: as competition files and metrics.json have it.
        higher_is_better: whether a larger score is a better one.
        compute: the score of classes (n,) int and probabilities (n, classes), rows summing to 1; the third argument is
            the number of the positive class, or None for the last.
        score_pictures: the same as one number a picture, whose mean is the score, (n,) float64; None where the score is
            no mean over pictures.
        compute_influences: see the function of this name; None takes `score_pictures`, or else the jackknife.
        score_ranks: for metrics that depend on the order of the positive class's probabilities alone, the score of
            (n,) bool, some of each, and these probabilities (n,); else None.
        corrections: names of those of ensemble/calibration.py that can improve it, in the order of their trial.
        count_steps: how many different steps the score of classes (n,) int and a positive class can take, which limits
            how finely a fold tells two predictions apart; None for a continuous one.
        number_format: of its scores.
    """

    name: str
    higher_is_better: bool
    compute: Callable[[np.ndarray, np.ndarray, int | None], float]
    score_pictures: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    compute_influences: Callable[[np.ndarray, np.ndarray, int | None], np.ndarray] | None = None
    score_ranks: Callable[[np.ndarray, np.ndarray], float] | None = None
    corrections: tuple[str, ...] = ()
    count_steps: Callable[[np.ndarray, int], int] | None = None
    number_format: str = ".5f"

    @property
    def sign(self) -> int:
        """The factor that makes larger scores better ones."""
        return 1 if self.higher_is_better else -1

    @property
    def direction(self) -> str:
        """Which scores are better, `higher` or `lower`."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def label(self) -> str:
        """The label of an axis."""
        return f"{self.name.replace('_', ' ')} ({self.direction} is better)"

    @property
    def is_log_loss(self) -> bool:
        """Whether it is the mean log loss, for which a fit's gradients are known."""
        return self.score_pictures is compute_picture_losses

    @property
    def counts_correct(self) -> bool:
        """Whether it is the share of pictures that are right, to which McNemar's test applies."""
        return self.score_pictures is find_correct_pictures

    @property
    def needs_probabilities(self) -> bool:
        """Whether more than the order of the classes counts, so that a temperature can help."""
        return "temperature" in self.corrections

    def format(self, score: float, spread: float | None = None) -> str:
        """Formats a score, with its spread where there is one."""
        return " ± ".join(format(value, self.number_format) for value in (score, spread) if value is not None)


def compute_log_loss(truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> float:
    """Computes the log loss of probabilities clipped to [1e-15, 1 - 1e-15], as Kaggle does."""
    from sklearn import metrics

    clipped = np.clip(probabilities.astype(np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    normalized = clipped / clipped.sum(axis=1, keepdims=True)
    return float(metrics.log_loss(truth, normalized, labels=np.arange(probabilities.shape[1])))


def compute_picture_losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Computes the log loss of each picture, (n,) float64."""
    clipped = np.clip(probabilities.astype(np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return np.asarray(np.log(clipped.sum(axis=1)) - np.log(clipped[np.arange(len(truth)), truth]))


def compute_roc_auc(truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> float:
    """Computes the area under the ROC curve of the positive class.

    Raises:
        StarshiftError: all pictures are of one class.
    """
    from sklearn import metrics

    if len(np.unique(truth)) < 2:
        raise StarshiftError("An AUC needs pictures of both classes.", received="one class")
    column = probabilities.shape[1] - 1 if positive is None else positive
    return float(metrics.roc_auc_score(truth == column, probabilities[:, column]))


def compute_auc(truth: np.ndarray, values: np.ndarray) -> float:
    """Computes the area under the ROC curve by ranks, many times faster than scikit-learn on few pictures.

    Mann and Whitney 1947, Ann. Math. Stat. 18, 50-60.

    Args:
        truth: (n,) bool, some of each.
        values: (n,) float, higher for true ones.
    """
    from scipy.stats import rankdata

    right = int(truth.sum())
    return float((rankdata(values)[truth].sum() - right * (right + 1) / 2) / (right * (len(truth) - right)))


def compute_auc_influences(truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> np.ndarray:
    """Computes each picture's part in the AUC, (n,) float64: the share of the other side that it is ranked right of.

    The parts are stretched about the AUC, so that their sample variance over n is DeLong's variance (DeLong, DeLong and
    Clarke-Pearson 1988, Biometrics 44, 837-845; by midranks as Sun and Xu 2014, IEEE Signal Process. Lett. 21,
    1389-1393).

    Raises:
        StarshiftError: all pictures are of one class.
    """
    from scipy.stats import rankdata

    area = compute_roc_auc(truth, probabilities, positive)
    column = probabilities.shape[1] - 1 if positive is None else positive
    values, total = probabilities[:, column].astype(np.float64), len(truth)
    ranks, result = rankdata(values), np.full(total, area)
    for side, sign in ((truth == column, 1), (truth != column, -1)):
        count = int(side.sum())
        below = (ranks[side] - rankdata(values[side])) / (total - count)
        centred = sign * (below - below.mean())
        result[side] += centred * (total / count) * np.sqrt(count / max(1, count - 1))
    return result


def compute_jackknife(metric: str, truth: np.ndarray, probabilities: np.ndarray, positive: int | None) -> np.ndarray:
    """Computes each picture's pseudo-value of a metric, (n,) float64 (Tukey 1958, Ann. Math. Stat. 29, 614).

    Their mean is shifted to the score itself, so that it is the same as elsewhere. It scores n times.
    """
    whole, total = score(metric, truth, probabilities, positive), len(truth)
    left_out = np.array([
        score(metric, np.delete(truth, row), np.delete(probabilities, row, axis=0), positive) for row in range(total)
    ])  # fmt: skip
    return whole + (total - 1) * (left_out.mean() - left_out)


def compute_micro_f1(truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> float:
    """Computes the micro-averaged F1, which is the accuracy where each picture has one class."""
    from sklearn import metrics

    return float(metrics.f1_score(truth, probabilities.argmax(axis=1), average="micro"))


def compute_accuracy(truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> float:
    """Computes the share of pictures whose likeliest class is the true one."""
    from sklearn import metrics

    return float(metrics.accuracy_score(truth, probabilities.argmax(axis=1)))


def find_correct_pictures(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns 1 for each picture whose likeliest class is the true one, else 0, (n,) float64."""
    return (probabilities.argmax(axis=1) == truth).astype(np.float64)


def count_pictures(truth: np.ndarray, positive: int) -> int:
    """Returns the number of pictures: an accuracy changes by one of them."""
    return len(truth)


def count_pairs(truth: np.ndarray, positive: int) -> int:
    """Returns the number of pairs of a positive and another picture: an AUC changes by one of them."""
    right = int(np.sum(truth == positive))
    return right * (len(truth) - right)


METRICS: dict[str, Metric] = {}


def register_metric(metric: Metric) -> None:
    """Makes a metric known to every command."""
    METRICS[metric.name] = metric


for _name in ("log_loss", "binary_log_loss"):
    register_metric(
        Metric(
            name=_name,
            higher_is_better=False,
            compute=compute_log_loss,
            score_pictures=compute_picture_losses,
            corrections=("temperature", "vector scaling", "clipping"),
        )
    )
register_metric(
    Metric(
        name="auc",
        higher_is_better=True,
        compute=compute_roc_auc,
        compute_influences=compute_auc_influences,
        score_ranks=compute_auc,  # no correction: none changes the order
        count_steps=count_pairs,
    )
)
for _name, _compute in (("micro_f1", compute_micro_f1), ("accuracy", compute_accuracy)):
    register_metric(
        Metric(
            name=_name,
            higher_is_better=True,
            compute=_compute,
            score_pictures=find_correct_pictures,
            corrections=("class priors",),
            count_steps=count_pictures,
        )
    )


def find_metric(name: str) -> Metric:
    """Returns the metric of this name.

    Raises:
        StarshiftError: none is registered.
    """
    require_name(name, METRICS, "Unknown metric.")
    return METRICS[name]


def score(metric: str, truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> float:
    """Computes a metric.

    Args:
        metric: its name.
        truth: (n,) int.
        probabilities: (n, classes), rows sum to 1.
        positive: for metrics of one class, its number; None is the last.

    Raises:
        StarshiftError: NaN, an unknown metric, or an AUC of one class.
    """
    compute = find_metric(metric).compute
    if not np.isfinite(probabilities).all():
        raise StarshiftError(
            "There are predictions that are no numbers.", expected="finite", received="NaN or infinity"
        )
    return compute(truth, probabilities, positive)


def score_folds(
    metric: str,
    truth: np.ndarray,
    probabilities: np.ndarray,
    fold_of: np.ndarray,
    positive: int | None = None,
    *,
    quick: bool = False,
) -> list[float]:
    """Computes a metric on each fold, in the order of their numbers.

    Args:
        metric: its name.
        truth: (n,) int.
        probabilities: (n, classes), rows sum to 1.
        fold_of: (n,) int.
        positive: see `score`.
        quick: average the pictures' scores where there are any, in a tenth of the time; the last digits may differ.
    """
    parts = [fold_of == fold for fold in np.unique(fold_of)]
    score_pictures = find_metric(metric).score_pictures
    if quick and score_pictures:
        values = score_pictures(truth, probabilities)
        return [float(values[rows].mean()) for rows in parts]
    return [score(metric, truth[rows], probabilities[rows], positive) for rows in parts]


def compute_fold_influences(
    metric: str, truth: np.ndarray, probabilities: np.ndarray, fold_of: np.ndarray, positive: int | None = None
) -> np.ndarray:
    """Computes the same where the score is the mean over folds, (n,) float64. Arguments as of `score_folds`."""
    result, folds = np.empty(len(truth)), np.unique(fold_of)
    for fold in folds:
        rows = fold_of == fold
        values = compute_influences(metric, truth[rows], probabilities[rows], positive)
        result[rows] = values * (len(truth) / len(folds) / len(values))
    return result


def compute_influences(
    metric: str, truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None
) -> np.ndarray:
    """Computes one number a picture, whose mean is the score and whose spread is its uncertainty, (n,) float64.

    Arguments and errors as of `score`.
    """
    found = find_metric(metric)
    if found.score_pictures:
        return found.score_pictures(truth, probabilities)
    if found.compute_influences:
        return found.compute_influences(truth, probabilities, positive)
    return compute_jackknife(metric, truth, probabilities, positive)


def compute_class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Computes the share of each class, (classes,) float64."""
    return np.bincount(labels, minlength=classes) / len(labels)


def compute_chance_score(metric: str, truth: np.ndarray, classes: int, positive: int | None = None) -> float:
    """Computes the score of predicting the class shares for every picture."""
    return score(metric, truth, np.tile(compute_class_shares(truth, classes), (len(truth), 1)), positive)


def compute_resolution(metric: str, labels: np.ndarray, fold_of: np.ndarray, positive: int | None = None) -> float:
    """Computes the least step that the metric of a fold can make, the mean over folds; 0 for a continuous metric.

    Args:
        metric: its name.
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        positive: for metrics of one class, its number; None is the last.
    """
    count_steps = find_metric(metric).count_steps
    if count_steps is None:
        return 0.0
    column = labels.max() if positive is None else positive
    counts = [count_steps(labels[fold_of == fold], column) for fold in np.unique(fold_of)]
    return float(np.mean([1 / max(1, count) for count in counts]))
