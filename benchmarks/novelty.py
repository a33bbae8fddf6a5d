"""How often `invoke predict` says "not sure: unlike the training pictures", for pictures like them and unlike them.

    python -m benchmarks.novelty --comp dog-breed --run latest --images FOLDER --images OTHER_FOLDER
    python -m benchmarks.novelty --comp dog-breed --run latest --left-out 20      # classes that were never seen

The first takes at most 400 pictures of each folder. The second leaves classes out of the training pictures, five times,
and asks of their pictures and of a fifth of the others.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.runs import novelty, predictor
from pipeline.runs.load import find_run_folder, load_run
from pipeline.runs.novelty import Neighbours, load_neighbours

MOST, DRAWS = 400, 5


def ask_folder(folder: Path, images: str) -> None:
    """Prints the share of a folder's pictures that a run is not sure of."""
    files = predictor.find_pictures(images)
    step = max(1, len(files) // MOST)
    answer = predictor.predict_pictures(predictor.load_predictor(folder), dict(list(files.items())[::step][:MOST]))
    assert answer.novel is not None, "the run's features are not on this machine"
    print(
        f"{images}: {answer.novel.mean():.1%} of {len(answer.novel)} pictures are called unlike the training pictures"
    )


def leave_classes_out(known: Neighbours, groups: np.ndarray, count: int) -> None:
    """Prints the shares of unseen classes and of unseen pictures of the other classes that are called unlike."""
    labels, shares = np.array(known.labels), []
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        left = np.isin(labels, random.choice(np.unique(labels), count, replace=False))
        new = ~left & (random.random(len(labels)) < 0.2)
        kept = ~left & ~new
        reference = known.features[kept]
        threshold = novelty.estimate_threshold(reference, groups[kept])
        flagged = novelty.compute_distances(known.features, reference) > threshold
        shares.append((flagged[left].mean(), flagged[new].mean()))
    unseen, fresh = (f"{np.mean(one):.1%} ± {np.std(one, ddof=1):.1%}" for one in zip(*shares, strict=True))
    print(f"{count} of {len(np.unique(labels))} classes left out, {DRAWS} draws: called unlike are {unseen} of their")
    print(f"pictures, and {fresh} of new pictures of the other classes")


def main() -> None:
    """Runs as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comp", required=True)
    parser.add_argument("--run", default="latest")
    parser.add_argument("--images", action="append", default=[])
    parser.add_argument("--left-out", type=int, default=0)
    wanted = parser.parse_args()
    folder = find_run_folder(wanted.run, wanted.comp)
    for images in wanted.images:
        ask_folder(folder, images)
    if wanted.left_out:
        run = load_run(folder)
        known = load_neighbours(run)
        assert known is not None, "the run's features are not on this machine"
        leave_classes_out(known, run.folds["group"].to_numpy(str), wanted.left_out)


if __name__ == "__main__":
    main()
