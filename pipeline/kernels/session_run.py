"""The run inside a Kaggle kernel: an order's competition through the same flow, with what is attached to the kernel.

python -m pipeline.kernels.session_run ORDER.json
"""

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

from pipeline import logs, paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.files import hash_file, write_text
from pipeline.kaggle import inputs
from pipeline.kernels import job
from pipeline.kernels.job import JobSpec, WeightsSpec
from pipeline.models import base as bases
from pipeline.run_options import RunOptions
from pipeline.workflow import run as flow

log = logging.getLogger(__name__)


def find_attached_weights(weights: WeightsSpec) -> Path | None:
    """The attached file of a base's weights; None where it is not attached.

    Raises:
        StarshiftError: files of its name are attached, and none of them is the one that was ordered.
    """
    found = list(inputs.find_files(weights.name))
    digests = {path: hash_file(path) for path in found} if weights.sha256 else {}
    right = [path for path in found if not weights.sha256 or digests[path] == weights.sha256]
    if found and not right:
        raise StarshiftError(
            f"The attached {weights.name} is another file than the one that was ordered.",
            expected=f"SHA-256 {weights.sha256}",
            received=", ".join(f"{path}: {digest}" for path, digest in digests.items()),
            remedy="invoke weights --comp COMP puts the right one into the dataset",
        )
    return right[0] if right else None


def link_weights(competition: Competition, weights: tuple[WeightsSpec, ...]) -> Competition:
    """The same with weights that can be loaded here: linked to where Keras looks, or the recipe naming the file."""
    renamed = {}
    for one in weights:
        place, base = find_attached_weights(one), bases.BASE_SYNTAX.fullmatch(one.base)
        log.info("weights   %s: %s", one.name, place or "not attached; Keras downloads it where the internet is on")
        if place is None or base is None:
            continue
        if base["weights"] and not re.fullmatch(bases.PUBLISHED_WEIGHTS, base["weights"]):
            renamed[one.base] = one.base.removesuffix(base["weights"]) + str(place)
            continue
        path = bases.find_weights_path(bases.parse_base(one.base, competition.recipe.size))
        if path is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(place)
    chosen = tuple(renamed.get(text, text) for text in competition.recipe.bases)
    return replace(competition, recipe=replace(competition.recipe, bases=chosen))


def run_job(order: JobSpec) -> Path:
    """Makes the run. Returns its folder."""
    if order.split:
        name, text = order.split
        write_text(paths.competition_folder(order.competition.name) / name, text)
    options = RunOptions(folds=order.folds, debug=order.debug, engine=order.engine, board=order.board)
    return flow.run(link_weights(order.competition, order.weights), options)


def main() -> int:
    """Runs as a command: a user's error is printed without a traceback, and exits with 1."""
    logs.set_up()
    try:
        run_job(job.read_job(Path(sys.argv[1])))
    except StarshiftError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
