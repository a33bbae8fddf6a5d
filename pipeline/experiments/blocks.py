"""How good a base's features are at each of its blocks: where general ends and special begins, for one's own pictures.

Like flow, it knows the order of the rooms: it prepares, fills the cache at every cut, trains heads on each, and tells.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.config import Competition, Recipe
from pipeline.features import depth
from pipeline.features.extract import Extractor
from pipeline.models.bases import Base, parse
from pipeline.options import Options, folds_asked
from pipeline.predict.held import Held, Part
from pipeline.preparation import Data, prepare, stage
from pipeline.report.blocks import WHOLE, Block, compared, tell
from pipeline.results import measured, positive_class
from pipeline.training import features

log = logging.getLogger(__name__)


def compare(competition: Competition, options: Options) -> list[Path]:
    """Compares the blocks of each of the recipe's bases. Returns the curves and tables that it wrote.

    Args:
        competition: its recipe names whole bases, the folds and the size; the head is the linear one.
        options: `folds` and `engine` are used.
    """
    recipe = replace(competition.recipe, head="linear", views=(depth.VIEW,), train_views=(depth.VIEW,))
    recipe = replace(recipe, augmented_views=0)
    folds = folds_asked(recipe, options)
    every = [depth.cuts(parse(text, recipe.size)) for text in recipe.bases]
    data = prepare(competition, [cuts[-1] for cuts in every], options)
    written = []
    for cuts in every:
        blocks = at_every_cut(competition, recipe, cuts, data, folds, options.engine)
        share = 1 / recipe.folds if recipe.folds > 1 else recipe.holdout
        found = compared(blocks, held_by(blocks, competition, data, folds), share)
        file = f"blocks-{cuts[-1].name}-{cuts[-1].size}"
        written += tell(competition.name, str(cuts[-1]), file, competition.metric, found)
    for path in written:
        log.info("wrote %s", paths.shown(path))
    return written


def held_by(blocks: Sequence[Block], competition: Competition, data: Data, folds: Sequence[int]) -> Held:
    """The pictures that the folds hold out, predicted by every block."""
    fold_of = data.pictures.train["fold"].to_numpy()
    rows = np.isin(fold_of, folds)
    return Held(
        part=Part(np.stack([block.held for block in blocks])),
        labels=data.labels[rows],
        fold_of=fold_of[rows],
        metric=competition.metric,
        positive=positive_class(competition, data),
    )


def at_every_cut(
    competition: Competition, recipe: Recipe, cuts: list[Base], data: Data, folds: Sequence[int], engine: str
) -> list[Block]:
    """The stages for one base: features in one pass, speeds, and heads at each cut."""
    digests = list(data.pictures.train["sha256"])
    with stage("features") as said:
        count = depth.fill(cuts, data.files, digests, engine)
        said.append(f"{len(digests):,} pictures at {len(cuts)} cuts of {cuts[-1]}, {count:,} computed in one pass")
    with stage("speed") as said:
        speeds = depth.speeds(cuts)
        said.append(f"{speeds[-1]:,.0f} pictures/s through the whole of {cuts[-1]}, by Keras")
    with stage("heads") as said:
        blocks = [tried(competition, recipe, cut, data, folds, each) for cut, each in zip(cuts, speeds, strict=True)]
        said.append(f"{len(blocks)} cuts x {len(folds)} folds")
    if np.array_equal(blocks[-2].held, blocks[-1].held):
        del blocks[-2]  # the last block of many bases is their end
    return blocks


def tried(competition: Competition, recipe: Recipe, cut: Base, data: Data, folds: Sequence[int], speed: float) -> Block:
    """Trains heads on the features of one cut, which are in the cache."""
    values = Extractor(cut, data.files, wanted="keras").features(list(data.pictures.train["sha256"]), depth.VIEW)
    fold_of = data.pictures.train["fold"].to_numpy()
    started = time.perf_counter()
    trained = features.train(
        recipe,
        train_features={depth.VIEW: values},
        test_features={depth.VIEW: values[:0]},
        labels=data.labels,
        fold_of=fold_of,
        folds=folds,
        classes=len(data.pictures.classes),
    )
    seconds = time.perf_counter() - started
    results = measured(competition, data, trained)
    return Block(
        recipe=str(cut),
        block=cut.cut or WHOLE,
        width=values.shape[1],
        score=results["score"],
        spread=results["spread"],
        accuracy=results["accuracy"],
        seconds=round(seconds, 2),
        pictures_per_second=speed,
        folds=tuple(results["folds"]),
        held=trained.oof[np.isin(fold_of, folds)],
    )
