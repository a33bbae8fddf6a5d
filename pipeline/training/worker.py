"""The process of one fold. TensorFlow is imported here and not in the process that runs the stages.

python -m pipeline.training.worker JOB.json PARENT
"""

import logging
import os
import sys
import threading
import time
from pathlib import Path

from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.quiet import silent
from pipeline.training import jobs


def end_with(parent: int, every: float = 1.0) -> None:
    """Ends this process soon after the one that started it: killed, it must leave nobody who writes on in its place.

    Args:
        parent: number of the process that started this one.
        every: seconds between two looks.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Does the job in a file; leaves a user's error in FOLD.error.json and exits with 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for loud in ("tensorflow", "absl", "h5py"):
        logging.getLogger(loud).setLevel(logging.ERROR)
    end_with(int(sys.argv[2]))
    job = jobs.read(Path(sys.argv[1]))
    with silent():
        from pipeline.training import device, fold

        words = device.prepare(job.seed + job.fold, job.regime.precision)
    try:
        fold.work(job, words)
    except StarshiftError as error:
        write_json(job.stem.with_suffix(".error.json"), error.words)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
