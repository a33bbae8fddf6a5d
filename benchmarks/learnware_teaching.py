"""A learnware of the store teaches a small student a task of few pictures, none of which it has seen.

    python -m benchmarks.learnware_teaching --comp dog-breed --each 10

So many labelled pictures of each class are somebody's own task; the rest are somebody else's, whose run becomes a
learnware. Then `invoke distill --teacher store:NAME` with five folds of the few: teacher, student on labels alone,
student distilled. Pictures are links, so that decoded pixels and features are shared with every other run.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

import competitions
from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions
from pipeline.data import subsets
from pipeline.data.labels import load_labeled_pictures
from pipeline.distillation import run as distilling
from pipeline.learnware import publish, store
from pipeline.training.soft_targets import DistillationConfig
from pipeline.workflow import run as flow
from pipeline.workflow.finish import find_finished_run

FOLDS = 5


def parts(competition: Competition, each: int, seed: int, bundle: Path | None) -> tuple[Competition, Competition]:
    """The task of few pictures and the task of all others, as competitions of their own."""
    table, raw = load_labeled_pictures(competition, bundle)
    table = table.drop_duplicates("sha256")
    few = subsets.select_balanced(table, each * table["label"].nunique(), np.random.default_rng(seed))
    found = []
    for what, pictures in (("few", few), ("others", table.drop(few.index))):
        folder = paths.home_folder() / "data" / "teaching" / f"{competition.name}-{each}-seed{seed}-{what}"
        subsets.link_subset(pictures, raw, folder / "train")
        found.append(
            Competition(
                name=f"{competition.name}-{each}-seed{seed}-{what}",
                data=str(folder),
                labels=subsets.build_subset_labels("train", competition.labels.positive),
                metric=competition.metric,
            )
        )
    return found[0], found[1]


def main() -> None:
    """Makes both tasks, the learnware and the students; the command `distill` tells what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comp", required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--each", type=int, default=10, help="pictures a class of the task of few pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--teacher", default="mobilenet_v2", help="the learnware's base")
    parser.add_argument("--student", default="mobilenet_025")
    parser.add_argument("--weight", type=float, default=0.9)
    parser.add_argument("--augmented-views", type=int, default=0, help="cached, that the student's head trains on")
    parser.add_argument("--patient", action="store_true", help="the teacher answers for the very view")
    flags = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    few, others = parts(competitions.find(flags.comp), flags.each, flags.seed, flags.bundle)
    options = RunOptions(skip_submission=True)
    recipe = Recipe(bases=(flags.teacher,), size=224, folds=FOLDS)
    known = replace(others, recipe=recipe)
    run = find_finished_run(known, options) or flow.run(known, options)
    shelf = store.open_or_create_store(paths.home_folder() / "data" / "teaching" / "store")
    name = f"{others.name}-{run.name.rpartition('-')[2]}"
    if not shelf.path(name).exists():
        publish.publish_run(run, shelf, publish.PublishRequest(name=name), options)
    learner = replace(few, recipe=replace(recipe, bases=(flags.student,), augmented_views=flags.augmented_views))
    asked = DistillationConfig(teachers=(f"store:{shelf.folder}/{name}",), weight=flags.weight, patient=flags.patient)
    distilling.run_distillation(learner, asked, options)


if __name__ == "__main__":
    main()
