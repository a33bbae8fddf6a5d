"""The pushed script on Kaggle's versions, with /kaggle-like folders and no network, against the same run here.

    python -m benchmarks.on_kaggle_versions --comp dog-breed --base mobilenet_v2 --size 224 --bundle BUNDLE

Builds a Python 3.12 environment with the versions of Kaggle's image and without what it lacks:
OpenVINO, simplejpeg, py7zr, invoke, kaggle. Once: 1.4 GB. Exits with 1 where predictions differ more than is allowed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import competitions
from pipeline import paths
from pipeline.cli.common import load_competition
from pipeline.config import Competition, RunOptions
from pipeline.errors import StarshiftError
from pipeline.kaggle.download import fetch_data
from pipeline.kernels import result_archive
from pipeline.kernels.bundle import build_bundle
from pipeline.kernels.result_archive import ResultArchive
from pipeline.kernels.run import build_job
from pipeline.models import base
from pipeline.runs import folder as runs
from pipeline.workflow import run

PINS = (
    "tensorflow-cpu==2.20.0",
    "keras==3.13.2",
    "numpy==2.0.2",
    "pandas==2.2.2",
    "scikit-learn==1.6.1",
    "h5py==3.16.0",
    "protobuf==5.29.6",
    "opencv-python-headless>=4.11,<5",
    "matplotlib<3.11",
    "pillow",
    "scipy",
    "tqdm",
    "requests",
    "filelock",  # torch brings it there
)
SCORE = 1e-3
"""Largest difference of the metric that is allowed."""
PROBABILITY = 5e-3
"""Largest difference of any probability that is allowed."""


def environment(python: str, folder: Path) -> str:
    """The interpreter of an environment with PINS, made where it is missing."""
    made, marker = folder / "bin" / "python", folder / "pins.json"
    if marker.exists() and json.loads(marker.read_text()) == list(PINS):
        return str(made)
    asked = [python, "-c", "import sys; print(sys.version_info[:2])"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.stdout.strip() != "(3, 12)":
        raise StarshiftError(
            "Python 3.12 is needed.", received=found.stdout + found.stderr, remedy="--python PATH names it"
        )
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS], check=True)
    marker.write_text(json.dumps(list(PINS)))
    return str(made)


def folders(root: Path, competition: Competition, raw: Path) -> None:
    """/kaggle as it is in a kernel to which the competition and a dataset with the weights are attached."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "working").mkdir(parents=True)
    place = root / "input" / "competitions" / str(competition.slug)
    place.parent.mkdir(parents=True)
    place.symlink_to(raw)
    weights = root / "input" / "datasets" / "me" / "weights"
    weights.mkdir(parents=True)
    for text in competition.recipe.bases:
        path = base.find_weights_path(base.parse_base(text, competition.recipe.size))
        if path is not None:
            (weights / path.name).symlink_to(path)


def there(python: str, root: Path, script: str) -> ResultArchive:
    """Runs the script as a kernel does. Returns what it packed."""
    (root / "script.py").write_text(script)
    alone = ["unshare", "-rn"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        alone = []
    print("network   none" if alone else "network   proxies that lead nowhere: unshare is not allowed here")
    variables = {"PATH": os.environ["PATH"], "HOME": str(root), "STARSHIFT_KAGGLE_ROOT": str(root)}
    variables |= {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "HTTPS_PROXY": "http://127.0.0.1:9"}
    subprocess.run([*alone, python, str(root / "script.py")], cwd=root / "working", env=variables, check=True)
    return result_archive.load_archive(root / "working" / result_archive.ARCHIVE_NAME)


def difference(here: Path, home: Path, name: str) -> tuple[float, float]:
    """The largest difference of a probability, and the share of pictures with the same likeliest class."""
    ids, classes, ours = runs.read_predictions(here / name)
    same_ids, same_classes, theirs = runs.read_predictions(home / name)
    assert (ids, classes) == (same_ids, same_classes), f"{name} is of other pictures"
    return float(np.nanmax(np.abs(ours - theirs))), float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)))


def compare(found: ResultArchive, here: Path, place: Path) -> bool:
    """Prints how far the two runs are apart. Returns whether that is allowed."""
    found.extract({name: place / name for name in found.files})
    home = next((place / "data" / "runs").glob("*/*/metrics.json")).parent
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (here, home))
    apart = abs(ours["score"] - theirs["score"])
    print(f"versions  {', '.join(f'{k} {v}' for k, v in found.summary['versions'].items())}")
    print(
        f"{ours['metric']}: here {ours['score']:.5f}, there {theirs['score']:.5f}; {apart:.1e} apart (allowed {SCORE})"
    )
    good = apart <= SCORE
    for name in ("oof.npz", "test.npz"):
        largest, agreeing = difference(here, home, name)
        good &= largest <= PROBABILITY
        print(
            f"{name}: probabilities at most {largest:.1e} apart (allowed {PROBABILITY}); same class for {agreeing:.2%}"
        )
    return good


def main() -> int:
    """Runs as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comp", default="dog-breed", choices=competitions.names())
    parser.add_argument("--base", action="append")
    parser.add_argument("--size", type=int)
    parser.add_argument(
        "--strategy", help="of those that train a network, predictions agree less: other versions, other sums"
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--fold", type=int, action="append")
    parser.add_argument("--bundle", type=Path, help="an archive that was downloaded by hand")
    parser.add_argument("--debug", action="store_true", help="64 pictures")
    parser.add_argument("--python", default="python3.12", help="a Python 3.12")
    parser.add_argument("--environment", type=Path, default=paths.cache_folder("environments") / "kaggle")
    given = parser.parse_args()
    competition = load_competition(
        given.comp, bases=tuple(given.base or ()), size=given.size, strategy=given.strategy, epochs=given.epochs
    )
    options = RunOptions(debug=given.debug, folds=tuple(given.fold or ()), bundle=given.bundle)
    python = environment(given.python, given.environment)
    root = paths.cache_folder("environments") / "root"
    here = run.run(competition, options)
    folders(root, competition, fetch_data(competition))
    session = {"number": 1, "seconds": 12 * 3600, "kernel": "me/test", "accelerator": "cpu"}
    script = build_bundle(build_job(competition, replace(options, bundle=None))).script(session)
    print(f"script    {len(script):,} bytes")
    started = time.perf_counter()
    good = compare(there(python, root, script), here, root / "home")
    print(f"{time.perf_counter() - started:.0f} s; {'agrees' if good else 'DOES NOT AGREE'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
