"""The process of one fold. TensorFlow is imported here and not in the process that runs the stages.

python -m pipeline.training.worker JOB.json PARENT
"""

import logging
import sys
from pathlib import Path

from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.quiet import silent
from pipeline.subprocesses import end_with
from pipeline.training import jobs


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
