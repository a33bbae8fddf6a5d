"""The competitions' metrics, by scikit-learn."""

import numpy as np

from pipeline.config import METRICS
from pipeline.errors import StarshiftError

HIGHER_METRICS = ("auc", "micro_f1", "accuracy")
ACCURACY_METRICS = ("micro_f1", "accuracy")
"""The share of pictures that are right; micro-averaged F1 of one class a picture is that, too."""
LOG_LOSS_CLIP = 1e-15


def score(metric: str, truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> float:
    """The metric of predictions.

    Args:
        metric: log_loss, binary_log_loss, auc, micro_f1 or accuracy.
        truth: (n,) int.
        probabilities: (n, classes), rows sum to 1; clipped to [1e-15, 1 - 1e-15] for the log losses, as Kaggle does.
        positive: for binary_log_loss and auc, the class that is asked for; None is the last.

    Raises:
        StarshiftError: NaN, or an AUC of one class.
    """
    from sklearn import metrics

    if metric not in METRICS:
        raise StarshiftError("Unknown metric.", expected=" | ".join(METRICS), received=metric)
    if not np.isfinite(probabilities).all():
        raise StarshiftError(
            "There are predictions that are no numbers.", expected="finite", received="NaN or infinity"
        )
    classes = np.arange(probabilities.shape[1])
    clipped = np.clip(probabilities.astype(np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    if metric in ("log_loss", "binary_log_loss"):
        return float(metrics.log_loss(truth, clipped / clipped.sum(axis=1, keepdims=True), labels=classes))
    if metric == "auc":
        if len(np.unique(truth)) < 2:
            raise StarshiftError("An AUC needs pictures of both classes.", received="one class")
        wanted = classes[-1] if positive is None else positive
        return float(metrics.roc_auc_score(truth == wanted, probabilities[:, wanted]))
    predicted = probabilities.argmax(axis=1)
    if metric == "micro_f1":
        return float(metrics.f1_score(truth, predicted, average="micro"))
    return float(metrics.accuracy_score(truth, predicted))


def higher_is_better(metric: str) -> bool:
    """Whether a larger value is a better one."""
    return metric in HIGHER_METRICS


def compute_class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """The share of each class (classes,) float64."""
    return np.bincount(labels, minlength=classes) / len(labels)


def compute_chance_score(metric: str, truth: np.ndarray, classes: int, positive: int | None = None) -> float:
    """What predicting the class shares for every picture scores."""
    return score(metric, truth, np.tile(compute_class_shares(truth, classes), (len(truth), 1)), positive)


def compute_resolution(metric: str, labels: np.ndarray, fold_of: np.ndarray, positive: int | None = None) -> float:
    """The least step that the metric of a fold can make, the mean over folds: one picture, or for an AUC one pair.

    Log losses are continuous and have none: 0.

    Args:
        metric: its name.
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        positive: for auc, the class that is asked for; None is the last.
    """
    if metric not in HIGHER_METRICS:
        return 0.0
    steps = []
    for fold in np.unique(fold_of):
        own = labels[fold_of == fold]
        right = int(np.sum(own == (labels.max() if positive is None else positive)))
        steps.append(right * (len(own) - right) if metric == "auc" else len(own))
    return float(np.mean([1 / max(1, count) for count in steps]))


def score_pictures(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """What each picture adds to a metric that is a mean over pictures, (pictures,) float64.

    The mean is `score`'s, which takes ten times as long.

    Args:
        metric: any but auc.
        labels: (pictures,) int.
        probabilities: (pictures, classes).
    """
    if metric in ACCURACY_METRICS:
        return (probabilities.argmax(axis=1) == labels).astype(np.float64)
    clipped = np.clip(probabilities.astype(np.float64), LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return np.asarray(np.log(clipped.sum(axis=1)) - np.log(clipped[np.arange(len(labels)), labels]))
