"""A run on the loopback server's Kaggle, in one session, in three that their clock ends, and in many that are killed.

    python -m benchmarks.kaggle_sessions --comp dog-breed --bundle FILE --base mobilenet_025 --size 96 [--kills 20]

Weights are taken from KERAS_HOME. Prints the sessions, what each kill cost (finished folds and rows of features that
the parcel did not have yet, and its age), and whether the predictions are the same to the bit.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.cli.common import load_competition
from pipeline.config import Competition, Recipe, RunOptions, Training
from pipeline.kaggle import archives
from pipeline.kernels import follow, planning, records, run, weights
from pipeline.kernels.result_archive import ARCHIVE_NAME, ResultArchive, list_result_files, load_archive
from pipeline.kernels.session import PROGRESS_PREFIX
from pipeline.runs import folder as runs
from tests.kaggle.server import USER, Kaggle, environment
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_kernels import Kernels, Session
from tests.kaggle.serving_storage import Storage

STARTUP = 1.0
"""Seconds of a container's start, which count."""
MARGIN = 12.0
"""Seconds of a session that stand for planning.MARGIN_HOURS."""


def serve(folder: Path, competition: Competition, bundle: Path) -> Kernels:
    """Starts the server with the competition's files and the recipe's weights on it, and signs in."""
    server = Kaggle()
    os.environ |= environment(server, folder / "user")
    storage = Storage(server)
    kernels = Kernels(server, storage, folder / "kernels", stored=Datasets(server, storage))
    archives.unpack_archive(bundle, folder / "mounted")
    kernels.competitions[str(competition.slug)] = folder / "mounted"
    files = {path.name: path.read_bytes() for path in weights.list_weights(competition).values()}
    assert kernels.stored is not None
    kernels.stored.put(f"{USER}/{weights.DATASET_SLUG}", files)
    kernels.clock.startup = STARTUP
    follow.POLL_SECONDS = 0.5
    planning.MARGIN_HOURS = MARGIN / 3600
    return kernels


def make_run(kernels: Kernels, competition: Competition, folder: Path, hours: Iterator[float]) -> Path:
    """Makes the run from a home that knows nothing of it; tries again where two kills came without progress."""
    os.environ["STARSHIFT_HOME"] = str(folder / "home")
    kernels.folder = folder / "kernels"
    planning.compute_session_hours = lambda *_: next(hours)  # type: ignore[assignment]
    made = None
    while made is None:
        try:
            options = run.KernelOptions(accelerator="cpu")
            made = run.run_on_kaggle(competition, RunOptions(engine="keras"), options)
        except run.StarshiftError as error:
            if "came no further" not in str(error):
                raise
            print("killed twice without progress", flush=True)
    ended = [(one.state, round(one.summary["took"])) for one in records.list_records(competition.name)]
    print(f"{len(ended)} sessions: {', '.join(f'{state} after {took} s' for state, took in ended)}", flush=True)
    return made


def kill_sessions(
    kernels: Kernels, competition: str, times: int, chance: random.Random, longest: float, costs: list[dict]
) -> None:
    """Kills so many sessions at random moments, and notes what each kill cost."""
    number, sessions = 0, kernels.sessions
    while len(costs) < times and kernels.sessions is sessions:
        while kernels.sessions is sessions and (len(sessions) <= number or not has_begun(kernels.latest())):
            time.sleep(0.1)
        number, session = number + 1, kernels.latest()
        time.sleep(chance.uniform(0.0, longest))
        if session.status == "RUNNING":
            killed = time.time()
            session.expire(keeps=True)
            costs.append(compute_cost(session, competition, killed))
            print(f"kill {len(costs)}: {json.dumps(costs[-1])}", flush=True)


def has_begun(session: Session) -> bool:
    """Whether the run inside is at work."""
    return any(event["data"].startswith(PROGRESS_PREFIX) for event in session.events)


def compute_cost(session: Session, competition: str, killed: float) -> dict:
    """What a killed session had in its home and not in its parcel."""
    parcel = session.working / ARCHIVE_NAME
    archive: ResultArchive | None = load_archive(parcel) if parcel.exists() else None
    packed = set(archive.files) if archive else set()
    files = [path.relative_to(session.home) for path in list_result_files(session.home, competition)]
    results = [path for path in files if path.suffixes == [".json"]]
    folds = {path.as_posix() for path in results if path.parent.name == "folds"}
    shards = {path.as_posix() for path in results if "features" in path.parts}
    cost = {}
    for name, there in (("folds", folds), ("shards", shards)):
        cost |= {name: len(there), f"{name} lost": len(there - packed)}
    return cost | {"age of the parcel": round(killed - parcel.stat().st_mtime, 1) if archive else None}


def are_equal(one: Path, other: Path) -> bool:
    """Whether two runs predict the same, to the bit."""
    pairs = [[runs.read_predictions(folder / name) for folder in (one, other)] for name in ("oof.npz", "test.npz")]
    return all(a[0] == b[0] and np.array_equal(a[2], b[2]) for a, b in pairs)


def main() -> int:
    """Makes the run in three ways. Returns 1 where predictions differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--comp", "--bundle", "--base"):
        parser.add_argument(flag, required=True)
    for flag, number in (("--size", 96), ("--folds", 3), ("--epochs", 3), ("--kills", 20), ("--seed", 0)):
        parser.add_argument(flag, type=int, default=number)
    flags = parser.parse_args()
    training = Training(epochs=flags.epochs, patience=flags.epochs)
    recipe = Recipe(bases=(flags.base,), size=flags.size, folds=flags.folds, strategy="finetune", training=training)
    competition = replace(load_competition(flags.comp), recipe=recipe)
    with tempfile.TemporaryDirectory(prefix="kaggle-sessions-") as name:
        folder = Path(name)
        kernels = serve(folder, competition, Path(flags.bundle))
        one = make_run(kernels, competition, folder / "one", iter(lambda: 9.0, None))
        took = records.list_records(competition.name)[0].summary["took"]
        costs: list[dict] = []
        chance, equal = random.Random(flags.seed), True
        while len(costs) < flags.kills:  # a run may end between two kills
            kernels.sessions = {}
            arguments = (kernels, competition.name, flags.kills, chance, 0.5 * took, costs)
            threading.Thread(target=kill_sessions, args=arguments, daemon=True).start()
            place = Path(tempfile.mkdtemp(dir=folder))
            equal &= are_equal(one, make_run(kernels, competition, place, iter(lambda: 9.0, None)))
        lost = {key: sum(cost[key] for cost in costs) for key in ("folds lost", "shards lost")}
        ages = [cost["age of the parcel"] for cost in costs if cost["age of the parcel"] is not None]
        print(f"{len(costs)} kills: {json.dumps(lost)}, the oldest parcel {max(ages, default=0.0)} s old")
        print(f"killed sessions: {'the same to the bit' if equal else 'DIFFERENT'}", flush=True)
        kernels.sessions = {}
        part = (0.45 * took + MARGIN) / 3600
        three = make_run(kernels, competition, folder / "three", iter([part, part, 9.0]))
        print(f"three sessions: {'the same to the bit' if are_equal(one, three) else 'DIFFERENT'}", flush=True)
        return 0 if equal and are_equal(one, three) else 1


if __name__ == "__main__":
    sys.exit(main())
