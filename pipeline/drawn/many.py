"""Many pictures at once: drawn in as many processes as there are cores, and kept on disk."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from pipeline.drawn import world
from pipeline.errors import StarshiftError
from pipeline.files import sha256_of_json, write_atomic
from pipeline.subprocesses import shield

Job = TypeVar("Job")
Result = TypeVar("Result")
SIDE = 128


def in_processes(draw: Callable[[Job], Result], jobs: Sequence[Job], words: str) -> Iterator[Result]:
    """What `draw` makes of each job, in their order, with a bar.

    Args:
        draw: a function of a module, which processes can find.
        jobs: one argument a picture.
        words: what the bar says.

    Raises:
        StarshiftError: one of the processes was killed.
    """
    pool = ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))
    try:
        with shield():  # map hands over all jobs, and so starts all processes, before it returns
            results = pool.map(draw, jobs, chunksize=32)
        with tqdm(total=len(jobs), desc=words, unit="picture", disable=None, leave=False) as bar:
            for result in results:
                yield result
                bar.update()
    except BrokenProcessPool as error:
        raise StarshiftError(
            f"A process of `{words}` was killed, most likely since memory ended.",
            expected=f"{os.cpu_count()} processes that draw to the end",
            received=str(error),
            remedy="the same command begins this step anew",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def world_set(numbers: range, seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of every class of the world, from disk where they were drawn before.

    Args:
        numbers: of the pictures of each class.
        seed: of the world.
        folder: where they are kept.

    Returns:
        pixels (classes * len(numbers), 128, 128, 3) uint8, mapped into memory, and labels (...,) int32.
    """
    jobs = [(label, number, seed) for number in numbers for label in range(len(world.CLASSES))]
    path = folder / f"world-{sha256_of_json([list(world.CLASSES), numbers.start, numbers.stop, seed])[:12]}.npy"
    if not path.exists():
        pixels = np.empty((len(jobs), SIDE, SIDE, 3), np.uint8)
        for place, picture in enumerate(in_processes(_picture, jobs, "draw the world")):
            pixels[place] = picture
        write_atomic(path, lambda file: np.save(file, pixels))
    return np.load(path, mmap_mode="r"), np.array([label for label, _, _ in jobs], np.int32)


def _picture(job: tuple[int, int, int]) -> np.ndarray:
    return world.picture(*job)
