"""A run with pseudo-labels, the whole way: refused where it cannot be, dropped where it does not help, else written."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Competition, Recipe, RunOptions
from pipeline.errors import StarshiftError
from pipeline.experiments import pseudo_labeling
from pipeline.files import read_json
from pipeline.output import collect_json
from pipeline.training import linear_probe
from pipeline.training.pseudo_labels import PseudoLabelRule
from tests.conftest import two_classes


@pytest.fixture
def mine(tmp_path) -> Competition:
    two_classes(tmp_path / "pictures", each=15, tests=8)
    recipe = Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3, views=("plain",))
    return Competition(name="mine", data=str(tmp_path / "pictures"), metric="accuracy", recipe=recipe)


def test_what_does_not_help_is_not_written_and_what_does_is_a_run_like_any_other(mine, home, monkeypatch, caplog):
    caplog.set_level("INFO")
    rule, options = PseudoLabelRule(precision=0.9, least=0.6), RunOptions(engine="keras")
    assert pseudo_labeling.run_pseudo_labels(mine, rule, options) is None
    assert "pseudo-labels do not help beyond noise" in caplog.text and "of 8 test pictures" in caplog.text
    assert not list((home / "data" / "runs").glob("mine/*"))
    monkeypatch.setattr(pseudo_labeling, "evaluate_gain", lambda *_: True)
    folder = pseudo_labeling.run_pseudo_labels(mine, rule, options)
    names = {path.name for path in folder.iterdir()}
    assert {"oof.npz", "test.npz", "folds.csv", "history.csv", "model.keras", "submission.csv", "metrics.json"} <= names
    config, results = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    assert config["pseudo"]["precision"] == 0.9 and config["competition"]["recipe"]["strategy"] == "pseudo"
    assert len(results["pseudo"]) == 3 and results["score"] > 0.9 and results["before"] > 0.9
    assert len(pd.read_csv(folder / "submission.csv")) == 8


def test_heads_without_pseudo_labels_are_as_sure_as_those_of_the_plain_run(mine, monkeypatch, capsys):
    seen, lessons = [], []
    train, learned = linear_probe.train_heads, pseudo_labeling.train_heads
    monkeypatch.setattr(
        linear_probe, "train_heads", lambda *given, **named: seen.append(train(*given, **named)) or seen[-1]
    )
    monkeypatch.setattr(pseudo_labeling, "train_heads", lambda *given: lessons.append(learned(*given)) or lessons[-1])
    timid = replace(mine, metric="log_loss", recipe=replace(mine.recipe, l2=3e-2))
    with collect_json():
        pseudo_labeling.run_pseudo_labels(timid, PseudoLabelRule(), RunOptions(engine="keras"))
    document = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in document["steps"]] == ["labels alone", "pseudo-labels"] and not document["made"]
    assert min(record["scale"] for record in seen[0].history if record["chosen"]) > 1.2
    assert np.abs(lessons[0].before.oof - seen[0].oof).max() < 0.05


def test_what_has_no_linear_head_on_features_or_no_folds_is_refused(mine):
    for changes in ({"strategy": "frozen"}, {"head": "mlp"}, {"folds": 2}):
        with pytest.raises(StarshiftError, match="need"):
            pseudo_labeling.run_pseudo_labels(
                replace(mine, recipe=replace(mine.recipe, **changes)), PseudoLabelRule(), RunOptions()
            )
