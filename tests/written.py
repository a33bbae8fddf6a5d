"""Run folders that tests write themselves, with predictions whose worth they know."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline.config import Competition, Labels, Recipe
from pipeline.evaluation import metrics
from pipeline.files import hash_json, write_json
from pipeline.runs import folder as runs

MINE = Competition(name="mine", data="pictures", metric="log_loss", recipe=Recipe(folds=5))
PAIR = Competition(name="pair", data="pictures", metric="auc", labels=Labels(positive="b"))


def probabilities(truth: np.ndarray, classes: int, sure: float, seed: int = 0) -> np.ndarray:
    """Noisy predictions (n, classes) float32; the larger `sure`, the more of them are right."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), classes))
    logits[np.arange(len(truth)), truth] += sure
    values = np.exp(logits)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def written(
    sure: float = 2.0,
    *,
    competition: Competition = MINE,
    names: str = "abcd",
    pictures: int = 400,
    folds: tuple[int, ...] = (0, 1, 2, 3, 4),
    split: int = 0,
    seed: int = 0,
    values: np.ndarray | None = None,
    ids: str = "p",
    shuffle: bool = False,
    debug: bool = False,
    finished: bool = True,
    **recipe: object,
) -> Path:
    """Writes a run as the pipeline would. Labels depend on the picture, folds on `split`."""
    competition = replace(competition, recipe=replace(competition.recipe, **recipe))
    config = {"competition": asdict(competition), "folds": folds, "debug": debug, "engine": "auto"}
    folder = runs.create_run_folder(
        competition.name, competition.recipe.strategy, config, hash_json([config, sure, seed])
    )
    truth = np.arange(pictures) % len(names)
    fold = np.random.default_rng(split).permutation(np.arange(pictures) % competition.recipe.folds)
    values = probabilities(truth, len(names), sure, seed) if values is None else values
    held = np.where(np.isin(fold, folds)[:, None], values, np.float32("nan"))
    order = np.random.default_rng(9).permutation(pictures) if shuffle else np.arange(pictures)
    table = [{"id": f"{ids}{n}", "label": names[truth[n]], "fold": fold[n], "group": n} for n in order]
    runs.write_table(folder / "folds.csv", table)
    runs.write_predictions(folder / "oof.npz", [f"{ids}{n}" for n in order], list(names), held[order])
    write_json(folder / "environment.json", {"commit": "abc", "device": "none", "libraries": {"keras": "3"}, "seed": 0})
    each = [metrics.score(competition.metric, truth[fold == f], values[fold == f]) for f in folds]
    results = {
        "metric": competition.metric,
        "score": float(np.mean(each)),
        "spread": float(np.std(each)),
        "folds": each,
    }
    results |= {"accuracy": float((values.argmax(axis=1) == truth).mean()), "seconds": 12.3}
    if finished:
        write_json(folder / "metrics.json", results)
    return folder
