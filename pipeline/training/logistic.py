"""A linear softmax of one strength: its regularised loss, in coordinates in which that is round, and its minimum."""

import numpy as np

from pipeline.models.heads import Head, softmax
from pipeline.training.distilled import Soft
from pipeline.training.lbfgs import minimize

ITERATIONS = 60
TOLERANCE = 1e-3
CURVATURE = 0.1


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray, shares: np.ndarray | None = None) -> float:
    """Mean of -log p(label), probabilities clipped to 1e-15 from below; weighted by shares (n,) that sum to 1."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
    return float(np.mean(losses) if shares is None else shares @ losses)


def deviation(features: np.ndarray) -> np.ndarray:
    """The deviation of each feature, (width,) float32; infinite where a feature never varies, so that it counts 0.

    Divided by a tiny number instead, a feature that is 0 in these pictures and not in others would drown all others
    there.

    Args:
        features: (n, width) float32.
    """
    return np.where(np.ptp(features, axis=0) > 0, np.maximum(features.std(axis=0), 1e-6), np.float32(np.inf))


class Axes:
    """Coordinates in which the loss is round: features standardised, then turned to their principal axes.

    Rows are divided by the square root of the width, so that their mean squared norm is 1 and a strength means the
    same for every base. A rotation changes neither the loss nor the L2 norm of the weights; along the axes the
    curvature is about CURVATURE / classes times the variance plus the strength, which `Softmax` scales away. All folds
    share the first one's axes: they depend on no label.

    Args:
        features: (n, width) float32.
    """

    def __init__(self, features: np.ndarray) -> None:
        # NumPy adds rows one by one here: in float32 the mean of 150,000 rows is off by 0.1 % (measured).
        self.mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        # np.sqrt of an int is float64 and would widen all products, hence the cast.
        self.scale = 1 / (np.sqrt(features.shape[1]) * deviation(features)).astype(np.float32)
        rows = (features - self.mean) * self.scale
        # The Gram matrix is smaller here and has the same nonzero eigenvalues.
        if len(rows) < features.shape[1]:
            variance, axes = np.linalg.eigh(rows @ rows.T / len(rows))
            # The precision of float32 is 1.2e-7: smaller variances are rounding, which their roots would blow up.
            kept = variance > 1e-7 * variance[-1]
            variance = variance[kept]
            axes = rows.T @ (axes[:, kept] / np.sqrt(variance * len(rows)))
        else:
            variance, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        # Rounding makes eigenvalues of 0 slightly negative.
        self.variance = np.maximum(variance, 0).astype(np.float32)
        self.turn = self.scale[:, None] * axes.astype(np.float32)

    def rows(self, features: np.ndarray) -> np.ndarray:
        """Features (n, width) in these coordinates, (n, axes) float32."""
        return (features - self.mean) @ self.turn

    def head(self, weights: np.ndarray, bias: np.ndarray) -> Head:
        """The head on raw features of a head in these coordinates."""
        raw = self.turn @ weights
        return Head(((raw, bias - self.mean @ raw),))


class Softmax:
    """The regularised loss of one fold.

    Minimises mean cross entropy + strength / 2 * |W|^2 (Bishop 2006, Pattern Recognition and Machine Learning,
    section 4.3.4), or `Soft.added` in its place. The bias is not regularised. Two classes share one logit, the sigmoid.

    Args:
        rows: (n, axes) float32, from Axes.
        labels: (n,) int.
        classes: how many there are.
        variance: of the rows along each axis.
        shares: what each row counts in the mean, (n,) float32 that sum to 1; None is the same for all.
        soft: a teacher's targets.
    """

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        classes: int,
        variance: np.ndarray,
        shares: np.ndarray | None = None,
        soft: Soft | None = None,
    ) -> None:
        self.soft = soft
        self.rows, self.labels, self.classes, self.variance, self.shares = rows, labels, classes, variance, shares
        self.fixed = 1 if classes == 2 else 0
        self.weights = np.zeros((rows.shape[1], classes - self.fixed), np.float32)
        self.bias = np.zeros(classes - self.fixed, np.float32)

    def full(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (axes, classes) and bias (classes,); with two classes the first one's are 0."""
        return np.pad(self.weights, ((0, 0), (self.fixed, 0))), np.pad(self.bias, (self.fixed, 0))

    def fit(self, strength: float) -> int:
        """Moves the weights to the minimum for this strength. Returns the iterations that it took."""
        unit = 1 / np.sqrt(self.variance * (CURVATURE / self.classes) + np.float32(strength))[:, None]
        scaled = self.rows * unit[:, 0]
        every = np.arange(len(self.labels))

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            logits = scaled @ parameters[:-1] + parameters[-1]
            logits = np.pad(logits, ((0, 0), (1, 0))) if self.fixed else logits
            error = softmax(logits)
            weights = parameters[:-1] * unit
            # Taken before `error` turns from probabilities into p - y in place.
            value = cross_entropy(error, self.labels, self.shares)
            error[every, self.labels] -= 1
            if self.soft is not None:
                value, error = self.soft.added(logits, value, error, self.shares)
            value += strength / 2 * float(np.vdot(weights, weights))
            error = error[:, self.fixed :]
            error = error / np.float32(len(self.labels)) if self.shares is None else error * self.shares[:, None]
            gradient = np.empty_like(parameters)
            gradient[:-1] = scaled.T @ error + np.float32(strength) * (weights * unit)
            gradient[-1] = error.sum(axis=0)
            return value, gradient

        # Starts at the minimum of the strength before, in the units of this one.
        start = np.concatenate([self.weights / unit, self.bias[None]])
        found, iterations = minimize(loss, start, tolerance=TOLERANCE, iterations=ITERATIONS)
        self.weights, self.bias = (found[:-1] * unit).astype(np.float32), found[-1]
        return iterations
