"""A learnware as the base of a task that the store has not seen, against ImageNet's weights alone, on few pictures.

    python -m benchmarks.learnware_reuse --store FOLDER --comp invasive-species --comp dog-breed
    python -m benchmarks.learnware_reuse --store FOLDER --held-out RUN     # a learnware of fold 0 of that run is in it

For each competition the store's learnwares of that competition are left out, and the rest are ranked by the pictures
drawn. The best-ranked one whose base is no longer ImageNet's gives features at its own size, and so does the base that
it was made of, as ImageNet left it, at the probe's. A ridge classifier on each (l2 by leaving one out) is trained
on the drawn pictures and judged on all others, the same for both; differences over draws are paired. `--held-out RUN`
makes a task of somebody else's of the pictures that fold 0 of a run held out: like those that its learnware was trained
on, and not seen by it.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

import competitions
from pipeline import paths
from pipeline.config import Competition, RunOptions
from pipeline.data import subsets
from pipeline.data.labels import load_labeled_pictures
from pipeline.features.extractor import Extractor
from pipeline.learnware import as_base, probe
from pipeline.learnware.search import search_specifications
from pipeline.learnware.store import Store, open_store
from pipeline.learnware.types import Specification
from pipeline.models import base as bases
from pipeline.runs import load
from pipeline.workflow.context import Dataset
from pipeline.workflow.run import prepare_dataset

SIZES = (10, 50)
STRENGTHS = np.logspace(0, 6, 13)


def held_out(text: str) -> Competition:
    """The pictures that fold 0 of a run held out, as a competition of their own."""
    run = load.load_run(load.find_run_folder(text, None))
    competition = competitions.find(run.folder.parent.name)
    table, raw = load_labeled_pictures(competition)
    name = f"{competition.name}-held-out"
    folder = paths.home_folder() / "data" / "teaching" / name
    subsets.link_subset(table[table["id"].map(run.fold) == 0], raw, folder / "train")
    return Competition(name=name, data=str(folder), labels=subsets.build_subset_labels("train"), metric="accuracy")


def data_of(found: Competition, base: bases.Base) -> Dataset:
    """A competition's pictures, decoded for a base."""
    return prepare_dataset(
        replace(found, recipe=replace(found.recipe, bases=(str(base),), size=base.size)), [base], RunOptions()
    )


def seen(base: bases.Base, found: Competition) -> np.ndarray:
    """What a base gives for a competition's training pictures, (pictures, width) float32."""
    data = data_of(found, base)
    return Extractor(base, data.files).features(data.train_digests, "plain")


def drawn(labels: np.ndarray, each: int, random: np.random.Generator) -> np.ndarray:
    """So many pictures of every class, (n,) int."""
    return np.concatenate([random.permutation(np.flatnonzero(labels == c))[:each] for c in np.unique(labels)])


def accuracy(features: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    """Of a ridge classifier trained on some rows and judged on the others."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rest = np.setdiff1d(np.arange(len(labels)), rows)
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(STRENGTHS)).fit(features[rows], labels[rows])
    return float(model.score(features[rest], labels[rest]))


def candidates(store: Store, name: str) -> dict[str, tuple[Specification, bases.Base]]:
    """The learnwares of other competitions whose base is their own: specification and base, by name."""
    found = {}
    for learnware in store.learnwares():
        part = learnware.contract.bases[0]
        if (
            learnware.specification.semantic.competition != name
            and learnware.contract.strategy not in as_base.UNCHANGED_STRATEGIES
        ):
            text = f"{part.name}={as_base.load_weights_file(learnware, as_base.find_base_spec(learnware))}"
            found[learnware.name] = learnware.specification, bases.parse_base(text, part.size)
    return found


def compare(store: Store, found: Competition, draws: int) -> None:
    """Prints, for each number of pictures, both accuracies and the paired difference with its 95 % interval."""
    name, learnwares = found.name, candidates(store, found.name)
    watched = probe.load_probe_base(store.probe)
    probed, labels = seen(watched, found), data_of(found, watched).labels
    values: dict[str, np.ndarray] = {}
    for each in SIZES:
        if np.bincount(labels).min() <= each:
            print(f"{name}: a class has no {each} pictures and one more")
            continue
        both, first = [], Counter[str]()
        for number in range(draws):
            rows = drawn(labels, each, np.random.default_rng([each, number]))
            ranked = search_specifications(
                probed[rows], [one for one, _ in learnwares.values()], store.probe, store.gamma or 0.0
            )
            best = ranked.matches[0].name
            first[f"{best} ({ranked.matches[0].verdict})"] += 1
            base = learnwares[best][1]
            plain = replace(base, weights="imagenet", size=watched.size)
            for one in (base, plain):
                if str(one) not in values:
                    values[str(one)] = seen(one, found)
            both.append([accuracy(values[str(one)], labels, rows) for one in (base, plain)])
        scores = np.array(both)
        gaps = scores[:, 0] - scores[:, 1]
        half = 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))
        print(
            f"{name}, {each} pictures a class, {draws} draws: learnware {scores[:, 0].mean():.1%}, ImageNet "
            f"{scores[:, 1].mean():.1%}, difference {gaps.mean():+.1%} ({gaps.mean() - half:+.1%} to "
            f"{gaps.mean() + half:+.1%}); ranked first: {', '.join(f'{k} {v} times' for k, v in first.items())}",
            flush=True,
        )


def main() -> None:
    """Reads the flags and compares, competition by competition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="its folder; data/store where not given")
    parser.add_argument("--comp", action="append", default=[])
    parser.add_argument("--held-out", action="append", default=[], metavar="RUN")
    parser.add_argument("--draws", type=int, default=10)
    flags = parser.parse_args()
    for task in [*map(competitions.find, flags.comp), *map(held_out, flags.held_out)]:
        compare(open_store(flags.store), task, flags.draws)


if __name__ == "__main__":
    main()
