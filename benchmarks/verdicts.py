"""How often equal models are called different, and how often a difference is found: simulated pairs, by metric.

    python -m benchmarks.verdicts --draws 2000

Two models of one task give logits of the same signal with noise of their own (correlated, as that of related models).
Equal models have the same noise; of unequal ones the second has a weaker signal. `pictures` is the verdict of every
command (McNemar's exact test, DeLong's interval for an AUC, Student's over pictures for a log loss), `folds` the
interval that stands beside it (t over folds, corrected for shared training pictures: Nadeau and Bengio 2003). The
difference of unequal models is given in standard errors: its mean over draws, divided by its standard deviation.
`theory` is how often a two-sided z-test at 5 % finds that; for an accuracy, how often McNemar's exact test does, given
the shares of pictures that only one of the two has right.
"""

import argparse
from functools import cache

import numpy as np
from scipy.stats import binom, binomtest, norm

from pipeline.evaluation.intervals import compare_paired, estimate_difference, estimate_fold_difference
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
    order = random.permutation(count)
    fold_of = np.empty(count, int)
    fold_of[order[np.argsort(truth[order], kind="stable")]] = np.arange(count) % folds  # each fold has both classes
    return OOFPredictions.build(parts, truth, fold_of, metric, 1)


@cache
def is_found(gained: int, moved: int) -> bool:
    """Whether McNemar's exact test calls so many gained of so many moved a difference."""
    return bool(binomtest(gained, moved).pvalue <= 0.05) if moved else False


def compute_mcnemar_power(count: int, gained: float, lost: float) -> float:
    """Computes how often McNemar's exact test finds a difference, from the expected shares of pictures."""
    moved = np.arange(count + 1)
    chances = binom.pmf(moved, count, gained + lost)
    power = 0.0
    for number in moved[chances > 1e-6]:
        ups = np.arange(number + 1)
        found = np.array([is_found(int(up), int(number)) for up in ups])
        power += chances[number] * float(binom.pmf(ups, number, gained / (gained + lost))[found].sum())
    return power


def count_verdicts(metric: str, count: int, folds: int, weaker: float, draws: int) -> tuple[float, float, float, float]:
    """Counts how often a pair is called different, by folds and pictures; the difference in standard errors, theory."""
    random = np.random.default_rng([count, folds, round(1000 * weaker)])
    found, differences, shares = np.zeros(2), [], np.zeros(2)
    for _ in range(draws):
        oof = draw_pair(random, metric, count, folds, weaker)
        before, after = oof.part.predictions
        by_pictures = estimate_difference(oof, before, after)
        found += [not estimate_fold_difference(oof, before, after).within_noise, not by_pictures.within_noise]
        differences.append(by_pictures.estimate)
        pair = compare_paired(oof.labels, before.argmax(axis=1), after.argmax(axis=1))
        shares += np.array([pair.gained, pair.lost]) / count / draws
    size = abs(float(np.mean(differences))) / float(np.std(differences))
    theory = float(norm.sf(norm.isf(0.025) - size) + norm.cdf(-norm.isf(0.025) - size))
    if oof.scorer.counts_correct:
        theory = compute_mcnemar_power(count, *shares)
    return (*(found / draws), size, theory)


def main() -> None:
    """Prints a row for each metric, number of pictures and number of folds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    print("metric           pictures  folds   equal: pictures  folds   unequal: s.e.  pictures  theory  folds")
    for metric, gap in METRICS.items():
        for count, folds in ((60, 3), (300, 5), (1000, 5), (1000, 10), (5000, 5)):
            equal = count_verdicts(metric, count, folds, 0.0, draws)
            other = count_verdicts(metric, count, folds, gap * np.sqrt(60 / count), draws)
            print(f"{metric:<16} {count:>8} {folds:>6} {equal[1]:>17.1%} {equal[0]:>6.1%} {other[2]:>15.1f} "
                  f"{other[1]:>9.0%} {other[3]:>7.0%} {other[0]:>6.0%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
