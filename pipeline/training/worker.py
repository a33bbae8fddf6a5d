"""The process of one fold. TensorFlow is imported here and not in the process that runs the stages.

python -m pipeline.training.worker JOB.json
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.training import jobs


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps from the terminal what TensorFlow's C++ says about the processor while it is imported."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main() -> int:
    """Does the job in a file; leaves a user's error in FOLD.error.json and exits with 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for loud in ("tensorflow", "absl", "h5py"):
        logging.getLogger(loud).setLevel(logging.ERROR)
    job = jobs.read(Path(sys.argv[1]))
    with quietly():
        from pipeline.training import device, fold

        words = device.prepare(job.seed + job.fold)
    try:
        fold.work(job, words)
    except StarshiftError as error:
        words_of = [error.message, error.expected, error.received, error.remedy]
        write_json(job.stem.with_suffix(".error.json"), words_of)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
