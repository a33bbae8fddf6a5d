"""How often equal models are called different, and how often a difference is found: simulated pairs, by metric.

    python -m benchmarks.verdicts --draws 400

Two models of one task give logits of the same signal with noise of their own (correlated, as that of related models).
Equal models have the same noise; of unequal ones the second has a weaker signal. `by folds` is the interval that
decides everywhere (t over folds, corrected for shared training pictures: Nadeau and Bengio 2003; McNemar for accuracy),
`by pictures` the bootstrap over pictures beside it. The difference of unequal models is given in standard errors: its
mean over draws, divided by its standard deviation; `theory` is how often a two-sided z-test at 5 % finds that.
"""

import argparse

import numpy as np
from scipy.stats import norm

from pipeline.evaluation.intervals import estimate_fold_difference, estimate_picture_difference
from pipeline.evaluation.nested_cv import OOFPredictions

CORRELATION = 0.7
METRICS = {"accuracy": 0.55, "binary_log_loss": 0.25, "auc": 0.45}
"""How much weaker the second signal is at 60 pictures: about two standard errors."""


def draw_pair(random: np.random.Generator, metric: str, count: int, folds: int, weaker: float) -> OOFPredictions:
    """Draws the out-of-fold predictions of two models of one task."""
    truth = random.permutation(np.arange(count) % 2)
    shared = random.normal(size=count)
    parts = []
    for signal in (1.5, 1.5 - weaker):
        noise = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * random.normal(size=count)
        positive = 1 / (1 + np.exp(-(signal * (2 * truth - 1) + noise)))
        parts.append(np.stack([1 - positive, positive], axis=1).astype(np.float32))
    fold_of = random.permutation(np.arange(count) % folds)
    return OOFPredictions.build(parts, truth, fold_of, metric, 1)


def count_verdicts(metric: str, count: int, folds: int, weaker: float, draws: int) -> tuple[float, float, float, float]:
    """Counts how often a pair is called different: by folds, by pictures; and the difference in standard errors."""
    random = np.random.default_rng([count, folds, round(1000 * weaker)])
    found, differences = np.zeros(2), []
    for _ in range(draws):
        oof = draw_pair(random, metric, count, folds, weaker)
        before, after = oof.part.predictions
        by_folds = estimate_fold_difference(oof, before, after)
        by_pictures = estimate_picture_difference(oof, before, after)
        found += [not by_folds.within_noise, not by_pictures.within_noise]
        differences.append(by_pictures.estimate)
    size = abs(float(np.mean(differences))) / float(np.std(differences))
    theory = float(norm.sf(norm.isf(0.025) - size) + norm.cdf(-norm.isf(0.025) - size))
    return (*(found / draws), size, theory)


def main() -> None:
    """Prints a row for each metric, number of pictures and number of folds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    print(
        "metric           pictures  folds   equal: by folds, by pictures   unequal: s.e.  by folds  by pictures  theory"
    )
    for metric, gap in METRICS.items():
        for count, folds in ((60, 3), (300, 5), (1000, 5), (1000, 10), (5000, 5)):
            equal = count_verdicts(metric, count, folds, 0.0, draws)
            weaker = gap * np.sqrt(60 / count)
            other = count_verdicts(metric, count, folds, weaker, draws)
            print(f"{metric:<16} {count:>8} {folds:>6} {equal[0]:>15.1%} {equal[1]:>12.1%} {other[2]:>17.1f} "
                  f"{other[0]:>9.0%} {other[1]:>12.0%} {other[3]:>7.0%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
