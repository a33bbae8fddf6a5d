"""A linear softmax with L2 by full-batch L-BFGS, its strength chosen on the folds.

For every fold the strengths are walked from strong to weak, each fit starting where the last one ended, until the
held-out loss has risen for good. The strength with the lowest mean held-out loss is taken for all folds; it was chosen
on those folds, so their score flatters it by a little (one number was chosen among about ten).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.models.heads import Head, softmax

STRENGTHS = tuple(10.0**exponent for exponent in np.arange(-2.0, -6.6, -0.5))
PATIENCE = 2
ITERATIONS = 60


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold's pictures.

    Args:
        number: of the fold.
        features: training features (n, width) float32.
        labels: their classes (n,) int.
        held_features: held-out features (m, width) float32.
        held_labels: their classes (m,) int.
    """

    number: int
    features: np.ndarray
    labels: np.ndarray
    held_features: np.ndarray
    held_labels: np.ndarray


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label), probabilities clipped to 1e-15 from below."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.maximum(chosen, 1e-15))))


class Softmax:
    """The regularised loss of one fold, on standardised features.

    Minimises mean cross entropy + strength / 2 * |W|^2 (Bishop 2006, Pattern Recognition and Machine Learning,
    section 4.3.4), where rows are standardised and divided by the square root of the width so that their mean
    squared norm is 1 and a strength means the same for every base. The bias is not regularised. Two classes share
    one logit, which is the sigmoid.

    Args:
        features: (n, width) float32.
        labels: (n,) int.
        classes: how many there are.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int) -> None:
        self.mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.scale = 1 / (np.sqrt(features.shape[1]) * np.maximum(features.std(axis=0), 1e-6)).astype(np.float32)
        self.rows = (features - self.mean) * self.scale
        self.labels = labels
        self.fixed = 1 if classes == 2 else 0
        self.shape = (features.shape[1] + 1, classes - self.fixed)

    def logits(self, rows: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of standardised rows; with two classes the first one's is 0."""
        values = rows @ parameters[:-1] + parameters[-1]
        return np.pad(values, ((0, 0), (self.fixed, 0)))

    def loss(self, flat: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        """The loss and its gradient, as SciPy's L-BFGS wants them (float64)."""
        parameters = flat.astype(np.float32).reshape(self.shape)
        error = softmax(self.logits(self.rows, parameters))
        value = cross_entropy(error, self.labels) + strength / 2 * float(np.vdot(parameters[:-1], parameters[:-1]))
        error[np.arange(len(self.labels)), self.labels] -= 1
        error = error[:, self.fixed :] / np.float32(len(self.labels))
        gradient = np.empty(self.shape, np.float32)
        gradient[:-1] = self.rows.T @ error + np.float32(strength) * parameters[:-1]
        gradient[-1] = error.sum(axis=0)
        return value, gradient.ravel().astype(np.float64)

    def fit(self, start: np.ndarray, strength: float) -> tuple[np.ndarray, int]:
        """The parameters (width + 1, columns) that minimise the loss, and the iterations that it took."""
        from scipy.optimize import minimize

        options = {"maxiter": ITERATIONS, "maxcor": 10, "gtol": 1e-5, "ftol": 1e-6}
        found = minimize(self.loss, start.ravel(), args=(strength,), jac=True, method="L-BFGS-B", options=options)
        return found.x.astype(np.float32).reshape(self.shape), int(found.nit)

    def head(self, parameters: np.ndarray) -> Head:
        """The head on raw features, the standardisation folded into it."""
        weights = np.pad(parameters[:-1] * self.scale[:, None], ((0, 0), (self.fixed, 0)))
        bias = np.pad(parameters[-1], (self.fixed, 0)) - self.mean @ weights
        return Head(((weights, bias),))


def walk(fold: Fold, classes: int, bar: Any) -> tuple[dict[float, Head], list[dict[str, Any]]]:
    """One fold's heads along the strengths, and what each reached."""
    objective = Softmax(fold.features, fold.labels, classes)
    parameters = np.zeros(objective.shape)
    heads, history, best, worse = {}, [], np.inf, 0
    for strength in STRENGTHS:
        parameters, iterations = objective.fit(parameters, strength)
        heads[strength] = objective.head(parameters)
        held = cross_entropy(heads[strength].probabilities(fold.held_features), fold.held_labels)
        history.append({"fold": fold.number, "strength": strength, "iterations": iterations, "held_loss": held})
        bar.update()
        worse = worse + 1 if held > best else 0
        best = min(best, held)
        if worse == PATIENCE:
            break
    return heads, history


def fit(folds: Sequence[Fold], classes: int) -> tuple[list[Head], list[dict[str, Any]]]:
    """One head a fold, all of one strength.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.

    Returns:
        The heads, and one record a fit: fold, strength, iterations, held_loss, chosen.
    """
    walked, history = [], []
    with tqdm(total=len(folds) * len(STRENGTHS), desc="linear head", unit="fit", disable=None, leave=False) as bar:
        for fold in folds:
            heads, records = walk(fold, classes, bar)
            walked.append(heads)
            history += records
    shared = [strength for strength in STRENGTHS if all(strength in heads for heads in walked)]

    def mean_loss(strength: float) -> float:
        return float(np.mean([record["held_loss"] for record in history if record["strength"] == strength]))

    chosen = min(shared, key=mean_loss)
    for record in history:
        record["chosen"] = record["strength"] == chosen
    return [heads[chosen] for heads in walked], history
