"""What a linear head's l2 is worth with a scale of its logits, and without one.

    python -m benchmarks.head_scale --comp dog-breed --base mobilenet_v2 --size 224

For every l2 of the L2: the mean held-out log loss of heads as they are, and with the scale that the other folds'
held-out pictures ask for; accuracy is the same for both, in the plain view. Then what a run comes to in all views of
the recipe: with the l2 chosen without a scale, and with the two chosen together. Features come from the cache.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

import competitions
from pipeline.config import RunOptions
from pipeline.errors import require
from pipeline.features.extractor import Extractor
from pipeline.models.base import list_networks
from pipeline.training.heads import logistic_regression
from pipeline.training.heads.logistic_regression import cross_entropy
from pipeline.workflow.run import prepare_dataset


def main() -> None:
    """Reads the flags, and prints a line a l2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comp", required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--size", type=int)
    parser.add_argument("--bundle", type=Path)
    flags = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = competitions.find(flags.comp)
    competition = replace(found, recipe=replace(found.recipe, bases=(flags.base,), size=flags.size))
    require(competition.recipe.folds > 1, "A scale is asked of other folds.", expected="folds=2 or more in the recipe",
            received=competition.recipe.folds)  # fmt: skip
    (base,) = list_networks(competition.recipe)
    data = prepare_dataset(competition, [base], RunOptions(bundle=flags.bundle))
    extractor, digests = Extractor(base, data.files), data.train_digests
    views = {view: extractor.features(digests, view) for view in {"plain", *competition.recipe.views}}
    seen = views["plain"]
    fold_of, classes = data.fold_of, len(data.pictures.classes)
    folds = [
        logistic_regression.FoldFeatures(
            number=number,
            features=seen[fold_of != number],
            labels=data.labels[fold_of != number],
            held_features=seen[fold_of == number],
            held_labels=data.labels[fold_of == number],
        )
        for number in range(competition.recipe.folds)
    ]
    print("l2  as it is   scaled   scale  accuracy")
    for l2 in logistic_regression.L2_VALUES:
        plain = logistic_regression.fit(folds, classes, l2, 1.0)[1]
        heads, scaled = logistic_regression.fit(folds, classes, l2)
        right = [
            (head.probabilities(fold.held_features).argmax(axis=1) == fold.held_labels).mean()
            for head, fold in zip(heads, folds, strict=True)
        ]
        losses = [np.mean([record["val_loss"] for record in each]) for each in (plain, scaled)]
        scale = np.mean([record["scale"] for record in scaled])
        print(f"{l2:8.1e}  {losses[0]:8.4f} {losses[1]:8.4f} {scale:7.2f} {np.mean(right):9.1%}", flush=True)
    for name, scale in (("as it is", 1.0), ("scaled", None)):
        heads = logistic_regression.fit(folds, classes, scale=scale)[0]
        losses = []
        for head, fold in zip(heads, folds, strict=True):
            held = fold_of == fold.number
            answers = np.mean([head.probabilities(views[view][held]) for view in competition.recipe.views], axis=0)
            losses.append(cross_entropy(answers, fold.held_labels))
        print(
            f"{name:8}  {np.mean(losses):8.4f} ± {np.std(losses, ddof=1):.4f} in {', '.join(competition.recipe.views)}"
        )


if __name__ == "__main__":
    main()
