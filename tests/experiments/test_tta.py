"""The views of a run, through the command line: measured where they were held out, weighed the same for the test."""

import json

import numpy as np
import pytest

from pipeline.experiments import tta
from pipeline.files import read_json, write_json
from pipeline.runs import folder as runs
from pipeline.runs import load
from tests.cli.test_tasks import invoke
from tests.conftest import drawn, encoded, two_classes
from tests.written import MINE, written


@pytest.fixture
def folder(tmp_path, home):
    two_classes(tmp_path / "pictures", each=20)
    (tmp_path / "pictures" / "test" / "9.jpg").write_bytes(b"")
    for name, step in (("a", 1), ("b", -1)):
        (tmp_path / "pictures" / "test" / f"{name}.png").write_bytes(encoded(drawn(7, 32, 32)[::step, ::step], "PNG"))
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="log_loss", recipe=Recipe(\n'
        '    bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3, views=("flip", "rotate180", "plain")))\n'
    )
    none = invoke("views", "--comp", str(file))
    assert none.returncode == 1 and "no run that was predicted in several views" in none.stderr
    done = invoke("run", "--comp", str(file), "--engine", "keras")
    assert done.returncode == 0, done.stderr
    done = invoke("views", "--comp", str(file), "--json")
    assert done.returncode == 0 and "3 views of 40 pictures, log_loss" in done.stderr, done.stderr
    document = json.loads(done.stdout)
    assert [one["view"] for one in document["views"]] == ["plain", "flip", "rotate180"]
    assert set(document["weights"]) == {"plain", "flip", "rotate180"}
    assert len(list((home / "data" / "reports" / "mine").glob("views-*.csv"))) == 1
    return next((home / "data" / "runs" / "mine").iterdir())


@pytest.mark.slow
def test_views_are_measured_and_the_test_predictions_are_their_mean(folder):
    names, held = tta.load_oof_views(load.load_run(folder))
    assert names[0] == "plain" and held.part.predictions.shape == (3, 40, 2)
    ids, _, test = runs.read_predictions(folder / "test.npz")
    seen = runs.read_view_predictions(folder / "test.npz")
    np.testing.assert_allclose(np.mean([seen[name] for name in names], axis=0), test, atol=1e-6)
    assert list(test[ids.index("9.jpg")]) == [0.5, 0.5]
    plain, turned = seen["plain"], seen["rotate180"]
    one, upside_down = ids.index("a.png"), ids.index("b.png")
    np.testing.assert_allclose(plain[one], turned[upside_down], atol=1e-4)
    assert np.abs(plain - turned).max() > 1e-3


def test_the_best_run_of_most_folds_is_looked_at():
    views = {"plain": 0.5, "flip": 0.5}
    for sure, folds in ((2.0, (0, 1, 2, 3, 4)), (3.0, (0, 1, 2, 3, 4)), (1.0, (0, 1, 2, 3, 4)), (5.0, (0, 1))):
        folder = written(sure, folds=folds)
        write_json(folder / "metrics.json", {**read_json(folder / "metrics.json"), "views": views})
        if sure == 3.0:
            wanted = folder
    assert tta.find_best_run(MINE.name) == wanted


def test_a_run_on_other_labels_is_not_called_better_than_the_newest():
    views = {"plain": 0.5, "flip": 0.5}
    old, new = written(3.0), written(2.0, seed=1)
    old = old.rename(old.with_name("20260101-000000-features-00000000"))
    for folder in (old, new):
        write_json(folder / "metrics.json", {**read_json(folder / "metrics.json"), "views": views})
    text = (old / "folds.csv").read_text()
    (old / "folds.csv").write_text(text.replace("p1,b", "p1,a"))
    assert tta.find_best_run(MINE.name) == new
