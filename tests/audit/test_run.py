"""The audit goes the whole way: what was planted is on the page, and grouped folds keep it on one side."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.audit.conftest import gravel, seen
from tests.cli.test_tasks import invoke
from tests.conftest import encoded


@pytest.fixture
def mine(tmp_path):
    """Two classes of gravel; a copy in the other class, a smaller copy in the test set, and scenes seen twice."""
    pictures = tmp_path / "pictures"
    for number in range(44):
        folder = pictures / ("test" if number >= 36 else f"train/{'ab'[number % 2]}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded(seen(gravel(number)), "PNG"))
    (pictures / "train" / "b" / "<copy>.png").write_bytes(encoded(seen(gravel(0)), "PNG"))
    smaller = cv2.resize(seen(gravel(1)), (64, 64), interpolation=cv2.INTER_AREA)
    (pictures / "test" / "smaller.jpg").write_bytes(encoded(smaller, quality=60))
    for number in range(2, 12):
        path = pictures / "train" / "ab"[number % 2] / f"again-{number}.png"
        path.write_bytes(encoded(seen(gravel(number), 40 + number, 1.1), "PNG"))
    (pictures / "train" / "a" / "broken.png").write_bytes(b"no picture")
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy",\n'
        '    recipe=Recipe(bases=("petite",), size=128, folds=3, views=("plain",)))\n'
    )
    return str(file)


def test_what_was_planted_is_found_and_grouped_folds_keep_it_together(mine, home):
    early = invoke("run", "--comp", mine, "--engine", "keras", "--grouped")
    assert early.returncode == 1 and f"invoke audit --comp {mine}" in early.stderr and "Traceback" not in early.stderr
    done = invoke("audit", "--comp", mine, "--engine", "keras", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads((home / "data" / "reports" / "mine" / "audit.json").read_text())
    assert json.loads(done.stdout) == record
    pairs = {(pair["first"], pair["second"]): pair["kinds"] for pair in record["pairs"]}
    assert "two labels" in pairs["train/a/0.png", "train/b/<copy>.png"]
    assert pairs["train/b/1.png", "test/smaller.jpg"] == ["train and test"] and len(pairs) == 2
    assert list(record["unreadable"]) == ["train/a/broken.png"]
    assert record["links"] >= 8 and record["false_links"] == 0
    page = (home / "data" / "reports" / "mine" / "audit.html").read_text()
    assert "&lt;copy&gt;.png" in page and "<copy>" not in page and "http" not in page
    assert page.count("data:image/jpeg;base64,") > 20
    for check in ("readable", "copies", "scenes", "folds", "files", "labels", "drift"):
        assert sum(line.startswith(f"{check} ") for line in done.stderr.splitlines()) >= 1, check
    run = invoke("run", "--comp", mine, "--engine", "keras", "--grouped")
    assert run.returncode == 0, run.stderr
    folder = home / "data" / "competitions" / "mine"
    groups = json.loads((folder / "groups.json").read_text())["groups"]
    table = pd.read_csv(next((home / "data" / "runs" / "mine").iterdir()) / "folds.csv", dtype=str)
    assert len(set(groups.values())) < len(table) - 8
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    again = table[table["id"].str.contains("again")]
    first = table.set_index("id")["fold"]
    together = [first[row.id.replace("again-", "")] == row.fold for row in again.itertuples()]
    assert np.mean(together) >= 0.8
    assert {path.name for path in folder.glob("folds-*")} == {"folds-3-seed0.csv", "folds-3-seed0-estimated.csv"}
