"""Which bases to use together: every combination of feature sets tried with a linear classifier of every strength.

Like flow, it knows the order of the rooms: features from the cache, combinations, what they say, and a real head on the
winner at last.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import flow, paths
from pipeline.closing import with_spread
from pipeline.config import Competition, Recipe
from pipeline.errors import require
from pipeline.experiments import combinations
from pipeline.features.extract import Extractor
from pipeline.models.bases import parse
from pipeline.options import Options
from pipeline.predict import metrics
from pipeline.predict.growth import Members, Trials, grow
from pipeline.predict.sharpness import Judge
from pipeline.preparation import Data, prepare, stage
from pipeline.report import scouted
from pipeline.results import measured, positive_class
from pipeline.training import features, ridge

log = logging.getLogger(__name__)
VIEW = "plain"
MOST_SETS = 8


def scout(competition: Competition, options: Options, *, verify: bool = True, most: int | None = None) -> list[Path]:
    """Tries every combination of the recipe's bases. Returns the table and the figure that it wrote.

    Args:
        competition: its recipe names the bases, the size and the folds.
        options: `engine` is used.
        verify: train a real head on the best base and on the winner.
        most: principal directions a set; None takes as many as the time allows.
    """
    recipe = competition.recipe
    require(
        len(recipe.bases) <= MOST_SETS,
        "Too many bases: each one doubles the combinations.",
        expected=f"at most {MOST_SETS}",
        received=len(recipe.bases),
    )
    require(recipe.folds > 1, "Scouting compares over folds.", expected="2 folds or more", received=recipe.folds)
    data = prepare(competition, [parse(text, recipe.size) for text in recipe.bases], options)
    competition = data.competition
    recipe = competition.recipe
    sets = feature_sets(recipe, data, options, most)
    fold_of = data.pictures.train["fold"].to_numpy()
    judge = Judge(
        metric=competition.metric,
        labels=data.labels,
        fold_of=fold_of,
        positive=positive_class(competition, data),
    )
    with stage("scout") as said:
        tried = combinations.every(sets, judge, len(data.pictures.classes))
        said.append(f"{len(tried)} combinations x {recipe.folds} folds x {len(ridge.STRENGTHS)} strengths")
    trials = Trials(
        {one.members: one.folds for one in tried},
        1 / recipe.folds,
        metrics.higher_is_better(judge.metric),
        metrics.resolution(judge.metric, judge.labels, judge.fold_of, judge.positive),
    )
    growth = grow(trials)
    told = scouted.Scouted(
        names=recipe.bases,
        widths=[one.width for one in sets],
        trials=trials,
        strengths={one.members: one.strength for one in tried},
        paths={one.members: dict(zip(ridge.STRENGTHS, one.path, strict=True)) for one in tried},
        growth=growth,
        metric=competition.metric,
    )
    written = scouted.tell(competition, told)
    taken = confirmed(competition, data, options, told) if verify else growth.winner
    log.info("recipe=%s", scouted.line_of(with_bases(recipe, taken)))
    for path in written:
        log.info("wrote %s", paths.shown(path))
    return written


def feature_sets(recipe: Recipe, data: Data, options: Options, most: int | None) -> list[ridge.Directions]:
    """What each base sees of the training pictures, as it is, in its leading directions."""
    digests = list(data.pictures.train["sha256"])
    extractors = [Extractor(parse(text, recipe.size), data.files, wanted=options.engine) for text in recipe.bases]
    with stage("features") as said:
        values = [extractor.features(digests, VIEW) for extractor in extractors]
        computed = sum(extractor.computed for extractor in extractors)
        said.append(f"{len(digests):,} pictures in {len(values)} sets, {computed:,} computed, the rest cached")
    with stage("turn") as said:
        widths = [one.shape[1] for one in values]
        most = most or ridge.most_directions(widths, recipe.folds, combinations.BUDGET)
        sets = combinations.turned(values, most)
        said.append(f"at most {most} directions a set, {min(one.kept for one in sets):.1%} of the variance or more")
    return sets


def with_bases(recipe: Recipe, members: Members) -> Recipe:
    """The recipe with some of its bases only."""
    return replace(recipe, bases=tuple(recipe.bases[member] for member in sorted(members)))


def confirmed(competition: Competition, data: Data, options: Options, told: scouted.Scouted) -> Members:
    """Trains the recipe's own head on the best base and on the winner; the latter has to be better, beyond noise.

    Where the quick classifier sees no combination ahead beyond noise, the one that it ranks first is given the chance:
    the head that counts may see more.
    """
    trials, winner = told.trials, told.growth.winner
    best = next(members for members in trials.ranked() if len(members) == 1)
    refused = winner == best
    if refused:
        winner = next((members for members in trials.ranked() if len(members) > 1), best)
    if winner == best or trials.gain(winner, best).estimate <= 0:
        return best
    folds = {}
    for members in (best, winner):
        recipe = with_bases(competition.recipe, members)
        with stage("head") as said:
            results = head(replace(competition, recipe=recipe), data, options)
            folds[members] = results["folds"]
            score = f"{competition.metric} {with_spread(results)}"
            said.append(f"{told.joined(members)}: {score}, accuracy {results['accuracy']:.1%}")
    gain = replace(trials, folds=folds).gain(winner, best)
    log.info("%s", scouted.verdict(gain, competition.recipe.head, refused=refused))
    return winner if gain.is_positive else best


def head(competition: Competition, data: Data, options: Options) -> dict[str, Any]:
    """What the recipe's own head and views reach out of folds, as `results.measured` has it."""
    recipe = competition.recipe
    digests = list(data.pictures.train["sha256"])
    extractors = [Extractor(parse(text, recipe.size), data.files, wanted=options.engine) for text in recipe.bases]
    seen = flow.extract(extractors, digests, tuple(dict.fromkeys((*recipe.training_views, *recipe.views))))
    trained = features.train(
        recipe,
        train_features=seen,
        test_features={view: values[:0] for view, values in seen.items()},
        labels=data.labels,
        fold_of=data.pictures.train["fold"].to_numpy(),
        folds=range(recipe.folds),
        classes=len(data.pictures.classes),
    )
    return measured(competition, data, trained)
