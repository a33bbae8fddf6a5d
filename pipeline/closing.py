"""The last words of a run: what it came to, where it would stand, what is still ahead of it, and what to try next."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, runs
from pipeline.config import Competition, Recipe
from pipeline.files import read_json
from pipeline.kaggle.standing import Standing, sentences
from pipeline.models.scratch import networks_of
from pipeline.predict import metrics
from pipeline.recipe import FROM_NOTHING

log = logging.getLogger(__name__)


def with_spread(results: dict[str, Any]) -> str:
    """The score and its spread over folds, where there are several."""
    folds = len(results["folds"])
    return f"{results['score']:.5f} ± {results['spread']:.5f}" if folds > 1 else f"{results['score']:.5f} (one fold)"


def tell(
    competition: Competition,
    results: dict[str, Any],
    written: list[Path],
    standing: Standing | None = None,
    before: tuple[Path, float] | None = None,
) -> None:
    """The last words: the score and where it would stand, the files, the run that is `before` it, what to try next."""
    name = competition.metric
    log.info("")
    log.info("%s %s (chance %.5f)", name, with_spread(results), results["chance"])
    for line in sentences(standing) if standing else ():
        log.info("  %s", line)
    memory = results["megabytes"]
    taken = "" if memory is None else f", the largest process took {memory:.0f} MB of memory"
    log.info("%.1f s%s", results["seconds"], taken)
    for path in written:
        log.info("wrote %s", paths.shown(path))
    if before is not None:
        log.info("the best on these folds is still %s, with %.5f", before[0].name, before[1])
    log.info("next: %s", advice(competition.recipe))


def ahead(folder: Path, results: dict[str, Any], folds: Sequence[int]) -> tuple[Path, float] | None:
    """The best run ahead of this one on the very same pictures and folds, and its score there; None is this one.

    Args:
        folder: of this run.
        results: its.
        folds: that it was trained on; others are compared on these alone.
    """
    sign = 1 if metrics.higher_is_better(results["metric"]) else -1
    split, best = runs.split_of(folder), None
    for other, told in runs.listed(folder.parent.name):
        config = read_json(other / "config.json") or {}
        each = dict(zip(config.get("folds", ()), told["folds"], strict=False))
        if config.get("debug") or told["metric"] != results["metric"] or not set(folds) <= set(each):
            continue
        score = float(np.mean([each[fold] for fold in folds]))
        if sign * score > sign * (best[1] if best else results["score"]) and runs.split_of(other) == split:
            best = other, score
    return best


def advice(recipe: Recipe) -> str:
    """What usually helps next, given what this recipe lacks."""
    if recipe.rung in FROM_NOTHING:
        return "--rung features: what a pretrained base knows already"
    if recipe.rung == "frozen":
        return "--rung finetune: the top of the base learns too"
    if recipe.rung == "finetune":
        return "--unfreeze all, or a lower block; another --seed to see what is noise"
    networks = networks_of(recipe)
    moments = any(base.by_moments for base in networks)  # such a base is not trained
    if networks[0].entry.ours and not moments:
        return "--rung finetune: the top of the base learns too"
    if len(recipe.bases) == 1:
        other = next(name for name in ("xception", "inception_v3") if not recipe.bases[0].startswith(name))
        return f"a second base: --base {recipe.bases[0]} --base {other}" + ("" if moments else "; or --rung finetune")
    if "flip" not in recipe.views:
        return 'views=("plain", "flip") in the recipe'
    if recipe.augmented_views == 0:
        return "augmented_views=2 in the recipe: the head trains on augmented views too"
    return "invoke ensemble" if moments else "--rung finetune, and another --seed to see what is noise"
