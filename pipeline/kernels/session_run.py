"""Runs a job inside a Kaggle kernel, with the weights that are attached to it.

python -m pipeline.kernels.session_run ORDER.json
"""

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

from pipeline import logs, paths
from pipeline.config import Competition, RunOptions
from pipeline.data.corrections import find_corrections_path
from pipeline.errors import StarshiftError, require
from pipeline.files import hash_file, write_text
from pipeline.kaggle import inputs
from pipeline.kernels.job import JobSpec, WeightsSpec, read_job
from pipeline.models import base as bases
from pipeline.workflow import run as flow

log = logging.getLogger(__name__)


def find_attached_weights(weights: WeightsSpec) -> Path | None:
    """Returns the attached file of a base's weights; None where it is not attached.

    Raises:
        StarshiftError: files of its name are attached, and none of them has the job's digest.
    """
    digests = {path: hash_file(path) if weights.sha256 else "" for path in inputs.find_files(weights.name)}
    matches = [path for path, digest in digests.items() if digest == weights.sha256]
    require(
        matches or not digests,
        f"The attached {weights.name} is another file than the one that was ordered.",
        expected=f"SHA-256 {weights.sha256}",
        received=", ".join(f"{path}: {digest}" for path, digest in digests.items()),
        remedy="invoke weights --comp COMP puts the right one into the dataset",
    )
    return matches[0] if matches else None


def link_weights(competition: Competition, weights: tuple[WeightsSpec, ...]) -> Competition:
    """Links attached weights to Keras's folder, or names the file in the recipe. Returns the competition."""
    renamed = {}
    for one in weights:
        file, base = find_attached_weights(one), bases.BASE_SYNTAX.fullmatch(one.base)
        log.info("weights   %s: %s", one.name, file or "not attached; it is downloaded where the internet is on")
        if file is None or base is None:
            continue
        if base["weights"] and not re.fullmatch(bases.PUBLISHED_WEIGHTS, base["weights"]):
            renamed[one.base] = one.base.removesuffix(base["weights"]) + str(file)
            continue
        path = bases.find_weights_path(bases.parse_base(one.base, competition.recipe.size))
        if path is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(file)
    names = tuple(renamed.get(text, text) for text in competition.recipe.bases)
    return replace(competition, recipe=replace(competition.recipe, bases=names))


def run_job(job: JobSpec) -> Path:
    """Runs a job. Returns the run's folder."""
    if job.split:
        name, text = job.split
        write_text(paths.competition_folder(job.competition.name) / name, text)
    if job.corrections:
        write_text(find_corrections_path(job.competition.name), job.corrections)
    options = RunOptions(folds=job.folds, debug=job.debug, engine=job.engine, tensorboard=job.tensorboard)
    return flow.run(link_weights(job.competition, job.weights), options)


def main() -> int:
    """Runs as a command: a user's error is printed without a traceback, and exits with 1."""
    logs.set_up()
    try:
        run_job(read_job(Path(sys.argv[1])))
    except StarshiftError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
