"""One picture's keypoints held against many others' at once, and one other at a time, alternating in one run.

    python -m benchmarks.matching --folder FOLDER [--pictures 600] [--rounds 5]

Each picture of FOLDER is compared with 30 others, as `invoke audit` does; what matches is the same both ways.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.features import files_of
from pipeline.audit import keypoints as geometry
from pipeline.audit.keypoints import Keypoints, detect_keypoints
from pipeline.data import images

OTHERS, SIDE = 30, 224


def keypoints_of(folder: Path, count: int) -> Keypoints:
    """Of the first different pictures of a folder by path."""
    paths = files_of(folder, count).values()
    found = detect_keypoints(np.stack([images.decode(path.read_bytes(), SIDE) for path in paths]))
    return found.reduced(np.random.default_rng(0))


def compared(keypoints: Keypoints, others: np.ndarray, step: int) -> tuple[list[np.ndarray], float]:
    """What matches, and the seconds that it took, `step` others at a time."""
    started = time.perf_counter()
    found = [
        places
        for first, some in enumerate(others)
        for start in range(0, len(some), step)
        for places in geometry.match_descriptors(keypoints, first, some[start : start + step])
    ]
    return found, time.perf_counter() - started


def main() -> None:
    """Prints microseconds a pair both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    keypoints, random = keypoints_of(flags.folder, flags.pictures), np.random.default_rng(0)
    others = np.stack([random.permutation(len(keypoints))[:OTHERS] for _ in range(len(keypoints))])
    taken = []
    with threadpool_limits(1):
        for _ in range(flags.rounds):
            (alone, slow), (together, fast) = compared(keypoints, others, 1), compared(keypoints, others, OTHERS)
            assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
            taken.append((slow, fast))
    slow, fast = (statistics.median(column) / others.size * 1e6 for column in zip(*taken, strict=True))
    ratios = [one / other for one, other in taken]
    print(f"{len(keypoints)} pictures, {others.size:,} pairs, one thread, median of {flags.rounds} rounds")
    print(f"one at a time {slow:6.1f} us a pair, {OTHERS} at once {fast:6.1f} us a pair")
    print(f"ratio         {statistics.median(ratios):6.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
