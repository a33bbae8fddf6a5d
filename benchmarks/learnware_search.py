"""Search by one's own pictures, on four real tasks: is each set's own learnware first, are mixtures and strangers told?

    python -m benchmarks.learnware_search                       all of it, on cached features (the default probe)
    python -m benchmarks.learnware_search --seconds             only what a specification takes, 5,000 x 1,280, K = 50

Specifications are made of each competition's training pictures but one fold; sets are drawn from that fold, which no
specification has seen. Strangers are textures, drawn here: noise, gratings and checks.
"""

import argparse
import itertools
import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

import competitions
from benchmarks.textures import textures
from pipeline.config import RunOptions
from pipeline.learnware import kernel_mean_embedding, probe
from pipeline.learnware.search import DOES_NOT_FIT, FITS, SearchResult, search_specifications
from pipeline.learnware.specification import fit_specification
from pipeline.learnware.types import ModelMetadata, Probe, Specification
from pipeline.models.base import parse_base
from pipeline.workflow.run import prepare_dataset

TASKS = ("dogs-vs-cats", "dog-breed", "plant-seedlings", "invasive-species")
SIZES = (5, 20, 100, 500)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A competition's features and labels, the held-out fold apart."""

    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    held: np.ndarray


def task_of(name: str, base: str, size: int) -> Task:
    """A competition's training pictures, as the probe sees them; fold 0 is held out."""
    seen = parse_base(base, size)
    competition = competitions.find(name)
    competition = replace(competition, recipe=replace(competition.recipe, bases=(base,), size=size))
    data = prepare_dataset(competition, [seen], RunOptions())
    features = probe.extract_features(seen, data.files, data.train_digests)
    held = data.fold_of == 0
    return Task(features=features, labels=data.labels, classes=tuple(data.pictures.classes), held=held)


def words(name: str, classes: tuple[str, ...], pictures: int) -> ModelMetadata:
    """What a search shows of a learnware; nobody trained one here."""
    return ModelMetadata(
        **dict.fromkeys(("name", "task", "competition"), name),
        **{"classes": classes, "metric": "accuracy", "score": None, "spread": None, "base": "", "strategy": "features"},
        **{"data": "", "pictures": pictures, "licence": "", "size": 224, "megabytes": 0.0},
        **{"pictures_per_second": None, "parameters": 0},
    )


def specified(name: str, task: Task, seen_by: Probe, gamma: float) -> Specification:
    """The specification of a task, without the held-out fold."""
    features, labels = task.features[~task.held], task.labels[~task.held]
    return fit_specification(features, labels, task.classes, seen_by, gamma, words(name, task.classes, len(features)))


class Store:
    """The specifications of all tasks, and how to search among them."""

    def __init__(self, tasks: dict[str, Task], base: str, size: int) -> None:
        self.seen_by = probe.build_probe(parse_base(base, size))
        self.gamma = kernel_mean_embedding.estimate_gamma(tasks[TASKS[0]].features[~tasks[TASKS[0]].held], 0)
        self.specifications = [specified(name, task, self.seen_by, self.gamma) for name, task in tasks.items()]
        print(f"gamma {self.gamma:.4f}, by the median rule on {TASKS[0]}")

    def search(self, features: np.ndarray) -> SearchResult:
        """As `invoke store.search`."""
        return search_specifications(features, self.specifications, self.seen_by, self.gamma)


def ranked(store: Store, held: dict[str, np.ndarray], draws: int, random: np.random.Generator) -> None:
    """How often a held-out set's own learnware is first, how often it is said to fit, and that anything does."""
    print(f"\n{draws} sets of each size, drawn from each held-out fold")
    for name, rows in held.items():
        for size in (*[size for size in SIZES if size < len(rows)], len(rows)):
            found = [
                store.search(rows[random.permutation(len(rows))[:size]])
                for _ in range(draws if size < len(rows) else 1)
            ]
            own = [next(match for match in one.matches if match.name == name) for one in found]
            first = np.mean([one.matches[0].name == name for one in found])
            another = [any(m.verdict == FITS and m.name != name for m in one.matches) for one in found]
            verdicts = Counter(match.verdict for match in own)
            print(
                f"{name:17} {size:5} pictures: first {first:6.1%}; MMD^2 {np.mean([m.distance for m in own]):.4f} "
                f"± {np.std([m.distance for m in own]):.4f}, limit {own[0].limit:.4f} (sets of {own[0].compared}); "
                f"{dict(verdicts)}; nothing fits {np.mean([not one.fits for one in found]):.1%}; "
                f"fits another too {np.mean(another):.1%}"
            )


def singles(store: Store, held: dict[str, np.ndarray]) -> None:
    """Where single held-out pictures belong."""
    print("\nsingle pictures of the held-out folds: belong to, and share at home in each learnware")
    for name, rows in held.items():
        found = store.search(rows)
        belongs = Counter(str(one) for one in found.belongs)
        home = {match.name: f"{match.at_home:.1%}" for match in found.matches}
        print(f"{name:17} {dict(belongs.most_common())}; {home}")


def mixtures(store: Store, held: dict[str, np.ndarray], draws: int, random: np.random.Generator) -> None:
    """70 of 100 pictures from one task and 30 from another, all ordered pairs: how far off the weights are."""
    for size in (100, 200, 300):
        worst, errors = (0.0, ""), []
        for one, other in itertools.permutations(held, 2):
            for _ in range(draws):
                parts = [
                    held[name][random.permutation(len(held[name]))[: round(size * share)]]
                    for name, share in ((one, 0.7), (other, 0.3))
                ]
                found = store.search(np.concatenate(parts))
                weight = {match.name: match.weight for match in found.matches}
                error = max(abs(weight[name] - {one: 0.7, other: 0.3}.get(name, 0)) for name in weight)
                errors.append((error, found.covered))
                worst = max(worst, (error, f"{one} and {other}: {weight}"))
        values = np.array([error for error, _ in errors])
        print(
            f"\n70/30 mixtures, {size} pictures, 12 ordered pairs x {draws}: error of a weight {values.mean():.3f} "
            f"± {values.std():.3f}, largest {worst[0]:.3f} ({worst[1]}); within 0.1: {(values <= 0.1).mean():.1%}; "
            f"covered together {np.mean([covered for _, covered in errors]):.1%}"
        )


def strangers(store: Store, rows: np.ndarray, draws: int, random: np.random.Generator) -> None:
    """How often textures are said to fit nothing."""
    print("\ndrawn textures")
    for size in (*[size for size in SIZES if size < len(rows)], len(rows)):
        found = [
            store.search(rows[random.permutation(len(rows))[:size]]) for _ in range(draws if size < len(rows) else 1)
        ]
        nearest = found[0].matches[0]
        none = np.mean([all(match.verdict == DOES_NOT_FIT for match in one.matches) and not one.fits for one in found])
        print(
            f"{size:4} pictures: nothing fits {none:.1%}; nearest {nearest.name}, MMD^2 {nearest.distance:.3f}, "
            f"limit {nearest.limit:.3f}; pictures at home anywhere "
            f"{np.mean([one is not None for each in found for one in each.belongs]):.1%}"
        )


def seconds(seen_by: Probe, features: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], rounds: int) -> None:
    """What a specification of 5,000 pictures takes; where there are fewer, some come twice."""
    chosen = np.resize(np.arange(len(features)), 5000)
    gamma = kernel_mean_embedding.estimate_gamma(features, 0)
    for number in range(rounds):
        started, worked = time.perf_counter(), time.process_time()
        fit_specification(features[chosen], labels[chosen], classes, seen_by, gamma, words("timed", classes, 5000))
        print(
            f"specification of 5,000 x {features.shape[1]}, K = 50, {len(classes)} classes, round {number}: "
            f"{time.perf_counter() - started:.2f} s on the clock, {time.process_time() - worked:.2f} s of processor"
        )


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=probe.DEFAULT_BASE)
    parser.add_argument("--size", type=int, help="the base's own where not given")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    tasks = {name: task_of(name, given.base, given.size) for name in (TASKS[1:2] if given.seconds else TASKS)}
    breeds = tasks["dog-breed"]
    seen_by = probe.build_probe(parse_base(given.base, given.size))
    seconds(seen_by, breeds.features, breeds.labels, breeds.classes, given.rounds)
    if given.seconds:
        return
    store, random = Store(tasks, given.base, given.size), np.random.default_rng(0)
    held = {name: task.features[task.held] for name, task in tasks.items()}
    ranked(store, held, given.draws, random)
    singles(store, held)
    mixtures(store, held, max(1, given.draws // 5), random)
    strangers(store, textures(given.base, given.size), given.draws, random)


if __name__ == "__main__":
    main()
