"""The talk's experiment: every rung on the same pictures, what each step gained, and what it cost.

The ladder's pictures are links in a folder with a table of labels, so that each rung is a plain run of a competition of
one's own; pixels and features are cached by content and shared with every other run. The test part's labels stay apart.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline import flow, paths, runs, schooling
from pipeline.config import Competition, Recipe, require
from pipeline.dataset import excerpt
from pipeline.dataset.labels import labelled
from pipeline.files import read_json, write_text
from pipeline.regime import Training
from pipeline.report.climbed import Climbed, told

log = logging.getLogger(__name__)
SIZES = (2000, 1000, 1000)
RUNGS = ("scratch", "augmented", "features", "frozen", "frozen end to end", "finetune")
DEFAULT_RUNGS = ("scratch", "augmented", "features", "frozen", "finetune")


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The pictures that every rung sees.

    Args:
        competition: the excerpt, with a hold-out for validation.
        answers: class by id, of the test part.
        sizes: number of training, validation and test pictures.
    """

    competition: Competition
    answers: dict[str, str]
    sizes: tuple[int, int, int]


def prepared(
    competition: Competition, sizes: tuple[int, int, int] = SIZES, seed: int = 0, bundle: Path | None = None
) -> Ladder:
    """Draws the ladder's pictures from a competition's labelled ones, as many of each class as there can be.

    Args:
        competition: fetched where it is not there yet.
        sizes: training, validation and test pictures. Where there are too few, the last two share what the first
            leaves, as long as that is at least a tenth.
        seed: of the draw.
        bundle: an archive that was downloaded by hand.
    """
    table, raw = labelled(competition, bundle)
    table = table.drop_duplicates("sha256").assign(label=table["label"].str.strip())  # as labels in tables are read
    sizes = excerpt.fitting(sizes, len(table))
    chosen = excerpt.balanced(table, sum(sizes), np.random.default_rng(seed))
    test = excerpt.balanced(chosen, sizes[2], np.random.default_rng(seed))
    rest = chosen.drop(test.index)
    name = f"{competition.name}-ladder-{'-'.join(map(str, sizes))}-seed{seed}"
    folder = paths.home() / "data" / "ladders" / name
    excerpt.link(rest, raw, folder / "train")
    excerpt.link(test, raw, folder / "test", flat=True)
    write_text(folder / "answers.csv", excerpt.answers_text(test))
    recipe = replace(competition.recipe, folds=1, holdout=sizes[1] / (sizes[0] + sizes[1]), split_seed=seed)
    own = Competition(
        name=name,
        data=str(folder),
        labels=excerpt.labels_of("train", competition.labels.positive),
        metric=competition.metric,
        recipe=recipe,
    )
    answers = {excerpt.file_name(row): row.label for row in test.itertuples()}
    return Ladder(competition=own, answers=answers, sizes=sizes)


def three(counts: Sequence[int]) -> tuple[int, int, int]:
    """Training, validation and test pictures, each at least two."""
    require(
        len(counts) == 3 and min(counts) > 1,
        "A ladder has three parts.",
        expected="three numbers such as 2000,1000,1000",
        received=tuple(counts),
    )
    return counts[0], counts[1], counts[2]


def recipe_of(rung: str, recipe: Recipe, seed: int) -> Recipe:
    """A rung's recipe; `frozen end to end` is the talk's way of the rung `frozen`."""
    require(rung in RUNGS, "Unknown rung.", expected=" | ".join(RUNGS), received=rung)
    training = replace(recipe.training, end_to_end=True) if rung == "frozen end to end" else recipe.training
    return replace(recipe, rung=rung.removesuffix(" end to end"), training=training, seed=seed)


def climb(ladder: Ladder, rungs: Sequence[str], seeds: Sequence[int], options: flow.Options) -> list[Climbed]:
    """Runs every rung with every seed, unless that very run is finished already."""
    found = []
    for seed in seeds:
        for place, rung in enumerate(rungs):
            competition = replace(ladder.competition, recipe=recipe_of(rung, ladder.competition.recipe, seed))
            log.info("")
            log.info("rung      %s, seed %d", rung, seed)
            # the split depends on the pictures and the seed alone: made again it is the same, unless pictures changed
            ahead = replace(options, keep=kept_for(rungs[place + 1 :], ladder.competition.recipe), resplit=True)
            folder = flow.finished(competition, options) or flow.run(competition, ahead)
            found.append(result_of(folder, rung, seed, ladder.answers))
    return found


def kept_for(later: Sequence[str], recipe: Recipe) -> Training | None:
    """How `finetune` trains where it follows: the rungs before it keep the activations that it will want.

    They look through the whole base anyway, so that its pictures need not pass the lower part again.
    """
    return recipe_of("finetune", recipe, 0).regime if "finetune" in later else None


def result_of(folder: Path, rung: str, seed: int, answers: dict[str, str]) -> Climbed:
    """What a finished run came to, its test predictions held against the answers."""
    results = read_json(folder / "metrics.json")
    return Climbed(
        rung=rung, seed=seed, validation=results["accuracy"],
        right=runs.correct(folder / "test.npz", answers), seconds=results["seconds"],
        trained=results["parameters"],
    )  # fmt: skip


def ladder(
    competition: Competition,
    *,
    rungs: Sequence[str] = DEFAULT_RUNGS,
    seeds: int = 1,
    sizes: tuple[int, int, int] = SIZES,
    options: flow.Options | None = None,
) -> list[Climbed]:
    """The whole experiment: prepares the pictures, runs every rung with every seed, tells what came of it.

    Args:
        competition: whose labelled pictures are climbed on; its recipe names the base.
        rungs: some of RUNGS, from the bottom upwards.
        seeds: how many; the split stays the same.
        sizes: training, validation and test pictures.
        options: engine and bundle.
    """
    options = options or flow.Options()
    for recipe in (recipe_of(rung, competition.recipe, seed=0) for rung in rungs):
        if recipe.rung != "features":
            schooling.trained_base(recipe)
    made = prepared(competition, sizes, competition.recipe.split_seed, options.bundle)
    climbed = climb(made, rungs, range(seeds), replace(options, bundle=None, practice=True))
    shares = np.unique(list(made.answers.values()), return_counts=True)[1] / len(made.answers)
    base = "+".join(competition.recipe.bases).replace("/", "_")
    for path in told(made.competition.name, base, climbed, made.sizes[1:], float(shares.max())):
        log.info("wrote %s", paths.shown(path))
    return climbed
