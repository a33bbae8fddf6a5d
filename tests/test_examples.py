"""The notebooks in examples/ run from their first cell to the last, on drawn pictures."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from pipeline.paths import REPOSITORY
from tests.conftest import drawn, encoded, two_classes

pytestmark = pytest.mark.slow


def run_notebook(name, folder):
    """Runs a notebook's cells one after the other in a folder, and returns what they print."""
    cells = json.loads((REPOSITORY / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_notebook_of_one_s_own_pictures_runs(tmp_path):
    two_classes(tmp_path)
    (tmp_path / "train").rename(tmp_path / "pictures")
    (tmp_path / "photo.jpg").write_bytes(encoded(drawn(1)))
    output = run_notebook("own_pictures", tmp_path)
    assert "accuracy" in output and "report.html" in output


def test_the_notebook_of_a_competition_runs(tmp_path):
    labels = ["id,breed"]
    with zipfile.ZipFile(tmp_path / "my-competition.zip", "w") as archive:
        for number in range(24):
            breed, tint = (("beagle", (-60, -30, 90)), ("pug", (90, -30, -60)))[number % 2]
            archive.writestr(f"train/a{number}.jpg", encoded(drawn(number, tint=tint)))
            labels.append(f"a{number},{breed}")
        archive.writestr("labels.csv", "\n".join(labels))
        archive.writestr("test/b0.jpg", encoded(drawn(99)))
        archive.writestr("sample_submission.csv", "id,beagle,pug\nb0,0.5,0.5\n")
    assert "on held-out pictures" in run_notebook("kaggle_competition", tmp_path)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
