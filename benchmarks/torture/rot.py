"""Damages one file of a home and calls what reads it."""

import dataclasses
import json
import logging
import os
import random
import shutil
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

MUTATIONS = ("bit", "byte", "zeros", "noise", "cut", "empty", "longer", "swapped")


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Damages bytes in one of the ways that disks, transfers and people do."""
    kind, raw = chance.choice(MUTATIONS), bytearray(data)
    if not raw or kind == "empty":
        return b"" if raw else b"\0"
    start = chance.randrange(len(raw))
    length = min(chance.choice([1, 16, 512, 4096]), len(raw) - start)
    if kind == "bit":
        raw[start] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        raw[start] = chance.randrange(256)
    elif kind == "zeros":
        raw[start : start + length] = bytes(length)
    elif kind == "noise":
        raw[start : start + length] = chance.randbytes(length)
    elif kind == "cut":
        del raw[start:]
    elif kind == "longer":
        raw += chance.randbytes(chance.choice([1, 100]))
    else:
        raw[start : start + length] = raw[start : start + length][::-1]
    return bytes(raw)


def load_recipes(place: Path) -> dict[str, Any]:
    """Loads the competition, once on features and once with a small network."""
    import competitions
    from pipeline.config import Training

    features = competitions.load(place / "mine.py")
    scratch = replace(features.recipe, strategy="scratch", folds=2, training=Training(epochs=1))
    return {"features": features, "scratch": replace(features, recipe=scratch)}


def prepare(place: Path) -> None:
    """Makes a home with two runs on features, one of a network, an ensemble's material, and a store of learnwares."""
    from pipeline.config import RunOptions
    from pipeline.workflow.run import run
    from tests.conftest import write_competition

    os.environ |= {"STARSHIFT_HOME": str(place / "pristine"), "KERAS_HOME": str(place / "keras")}
    logging.disable(logging.WARNING)
    write_competition(place)
    recipes = load_recipes(place)
    run(recipes["features"], RunOptions())
    other = replace(recipes["features"], recipe=replace(recipes["features"].recipe, head="lda"))
    run(other, RunOptions())
    run(recipes["scratch"], RunOptions())
    logging.disable(logging.NOTSET)
    expected = {}
    for kind in READERS:
        copy = place / f"copy-{kind}"
        shutil.copytree(place / "pristine", copy)
        os.environ["STARSHIFT_HOME"] = str(copy)
        if kind == "scratch":
            unfinish(copy)
        expected[kind] = answer(place, kind)[0]
    (place / "expected.json").write_text(json.dumps(expected))


def find_runs(kind: str) -> list[Path]:
    """Finds the folders of the runs of a strategy, oldest first."""
    folder = Path(os.environ["STARSHIFT_HOME"]) / "data" / "runs" / "mine"
    return sorted(one for one in folder.iterdir() if f"-{kind}-" in one.name)


def round_values(values: np.ndarray) -> list:
    """Rounds what may differ in the last digits."""
    return np.round(np.asarray(values, np.float64), 4).tolist()


def run_again(place: Path, kind: str) -> Any:
    """Runs the same command once more, from whatever the home has."""
    from pipeline.config import RunOptions
    from pipeline.runs.load import load_run
    from pipeline.workflow.run import run

    competition = load_recipes(place)[kind]
    finished = load_run(run(competition, RunOptions(force=kind == "features")))
    return round_values(finished.align(finished.held_ids))


def read_runs(place: Path) -> Any:
    """Lists, loads, compares and evaluates the runs on features, asks one, and writes its report."""
    from pipeline.api import evaluate, predict
    from pipeline.run_report.write import write_report
    from pipeline.runs import listing
    from pipeline.runs.compare import build_comparison, build_record
    from pipeline.runs.load import load_run

    first, second = find_runs("features")[:2]
    listed = [dataclasses.asdict(one) for one in listing.list_runs("mine")]
    scores = [[one["run"], one["score"], one["state"]] for one in listed if "-features-" in one["run"]]
    runs = [load_run(folder) for folder in (first, second)]
    compared = build_record(build_comparison(*runs))["difference"]
    found = evaluate(runs[0])
    asked = predict(runs[0], sorted((place / "pictures" / "test").glob("[0-3].jpg")))
    write_report(first)
    return [scores, compared, round_values([found.score.estimate, found.accuracy.estimate]), round_values(asked)]


READERS = {
    "features": lambda place: run_again(place, "features"),
    "scratch": lambda place: run_again(place, "scratch"),
    "runs": read_runs,
}


class Heard(logging.Handler):
    """Collects warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a warning's text."""
        self.lines.append(record.getMessage())


def answer(place: Path, kind: str) -> tuple[Any, list[str]]:
    """Calls a reader. Returns what it found, as JSON has it, and the warnings."""
    heard = Heard()
    logging.getLogger().addHandler(heard)
    try:
        return json.loads(json.dumps(READERS[kind](place))), heard.lines
    finally:
        logging.getLogger().removeHandler(heard)


def choose_reader(file: Path) -> str:
    """Chooses what reads a file of the home."""
    if "runs" in file.parts:
        return "scratch" if "-scratch-" in str(file) else "runs"
    return "features"


def list_artefacts(home: Path) -> list[Path]:
    """Lists what is read again, sorted; pages, lists of packages and submissions are for people."""
    kept = [path for path in sorted(home.rglob("*")) if path.is_file() and "submissions" not in path.parts]
    return [path.relative_to(home) for path in kept if path.suffix not in (".html", ".png", ".md", ".lock", ".log")]


def unfinish(home: Path) -> None:
    """Makes the network's run one that was interrupted at its end."""
    (folder,) = [one for one in (home / "data" / "runs" / "mine").iterdir() if "-scratch-" in one.name]
    for path in folder.iterdir():
        if path.is_file() and path.name != "config.json":
            path.unlink()


def try_rot(place: Path, number: int) -> tuple[str, str]:
    """Damages one file of a copy of the home, and reads it."""
    from pipeline.errors import StarshiftError

    chance, home = random.Random(number), place / f"home-{number}"
    shutil.copytree(place / "pristine", home)
    os.environ["STARSHIFT_HOME"] = str(home)
    try:
        files: dict[str, list[Path]] = {}
        interrupted = chance.random() < 0.5
        if interrupted:
            unfinish(home)
        for file in list_artefacts(home):
            if interrupted or "-scratch-" not in str(file):
                files.setdefault("/".join(file.parts[1:3]) + choose_reader(file), []).append(file)
        file = chance.choice(files[chance.choice(sorted(files))])
        before = (home / file).read_bytes()
        after = mutate(before, chance)
        (home / file).write_bytes(after)
        kind, what = choose_reader(file), f"{file} ({len(before)} to {len(after)} bytes)"
        try:
            found, warnings = answer(place, kind)
        except StarshiftError as error:
            return "clear", f"{what}: {error.message}"
        except Exception:
            return "wrong", f"{what}: {traceback.format_exc(limit=-3)}"
        expected = json.loads((place / "expected.json").read_text())[kind]
        if found == expected:
            return "right", ""
        return ("clear", f"{what}: {warnings}") if warnings else ("wrong", f"{what}: another result, without a word")
    finally:
        shutil.rmtree(home, ignore_errors=True)


TRIALS = {"rot": try_rot}
