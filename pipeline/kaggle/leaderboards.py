"""The final leaderboards: the score at the top x % of teams, one record a competition, by Kaggle's slug. Data only.

Source: the competitions' published final standings, in percentiles as this project's notes on the competitions hold
them (drawn from MLE-bench and MLE-Dojo). `leak` and `frontier` are inferred, no one stated them.
"""

from dataclasses import dataclass

TOP = (0, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
"""Percent of teams: 0 is the first one, 100 the last."""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """One competition's final standing.

    Args:
        metric: as a competition file names it.
        higher: whether a larger score is a better one.
        teams: how many there were.
        train: number of Kaggle's training pictures.
        scores: at each of TOP, from the first team to the last.
        leak: scores beyond this one are only reached by a leak; None where none is known.
        frontier: between which two scores honest work ends, the weaker one first; None where nobody stated it.
        caveats: why cross-validation flatters here, and what is known to leak.
    """

    metric: str
    higher: bool
    teams: int
    train: int
    scores: tuple[float, ...]
    leak: float | None = None
    frontier: tuple[float, float] | None = None
    caveats: tuple[str, ...] = ()


LEADERBOARDS = {
    "dog-breed-identification": Leaderboard(
        metric="log_loss",
        higher=False,
        teams=1280,
        train=10222,
        scores=(0.0, 0.0, 0.00098, 0.00343, 0.0037, 0.0055, 0.01219, 0.05252, 0.17918, 0.20443, 0.2179, 0.24231,
                0.33054, 0.47205, 0.73032, 1.62211, 4.17034, 4.78749, 34.29327),
        leak=0.10,
        frontier=(0.20, 0.14),
        caveats=("the breeds are part of ImageNet: its bases have seen these very pictures, so validation flatters",),
    ),
    "invasive-species-monitoring": Leaderboard(
        metric="auc",
        higher=True,
        teams=511,
        train=2295,
        scores=(0.9977, 0.99579, 0.99553, 0.99505, 0.99469, 0.9937, 0.99285, 0.99226, 0.9909, 0.98931, 0.9878, 0.98623,
                0.98027, 0.97006, 0.95786, 0.93969, 0.88982, 0.61374, 0.46758),
    ),
    "plant-seedlings-classification": Leaderboard(
        metric="micro_f1",
        higher=True,
        teams=833,
        train=4750,
        scores=(1.0, 0.99496, 0.99244, 0.99118, 0.98866, 0.98614, 0.98488, 0.98362, 0.97984, 0.97858, 0.97607, 0.97229,
                0.96977, 0.95591, 0.93324, 0.89546, 0.83627, 0.64987, 0.04534),
        caveats=("the same plant was photographed at several ages: folds that part its pictures flatter",
                 "the original picture size predicts the species: a leak to be disclosed where it is used"),
    ),
    "dogs-vs-cats-redux-kernels-edition": Leaderboard(
        metric="binary_log_loss",
        higher=False,
        teams=1314,
        train=25000,
        scores=(0.03302, 0.03804, 0.03928, 0.04395, 0.04726, 0.05051, 0.05624, 0.06149, 0.07375, 0.08109, 0.09099,
                0.09703, 0.10756, 0.12203, 0.20273, 0.46257, 0.70143, 1.83628, 19.45806),
    ),
}  # fmt: skip
