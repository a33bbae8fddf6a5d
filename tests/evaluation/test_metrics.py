"""A metric that is registered once works in every command; two that the repository does not have, one of each kind."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

import competitions
from pipeline.config import Competition, RunOptions
from pipeline.ensemble.run import EnsembleRequest, finish_run, run_ensemble
from pipeline.errors import StarshiftError
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Metric
from pipeline.files import read_json, write_json
from pipeline.runs import folder as runs
from pipeline.runs.compare import compare_runs
from pipeline.runs.listing import list_runs, print_all_runs, rank_runs
from pipeline.workflow.run import prepare_dataset, run
from tests.conftest import two_classes


def brier_of_pictures(truth, probabilities):
    return ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)


BRIER = Metric(
    name="brier",
    higher_is_better=False,
    compute=lambda truth, probabilities, positive: float(brier_of_pictures(truth, probabilities).mean()),
    score_pictures=brier_of_pictures,
    corrections=("temperature",),
    number_format=".4f",
)
BALANCED = Metric(
    name="balanced",
    higher_is_better=True,
    compute=lambda truth, probabilities, positive: float(balanced_accuracy_score(truth, probabilities.argmax(axis=1))),
)


@pytest.fixture(params=[pytest.param(BRIER, marks=pytest.mark.slow), BALANCED], ids=["brier", "balanced"])
def toy(request, monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    metrics.register_metric(request.param)
    return request.param


def less_sure(folder, metric):
    """A second run: the first one's predictions with noise, and their scores."""
    other = folder.with_name(folder.name.replace(folder.name[:8], "20990101"))
    shutil.copytree(folder, other)
    random = np.random.default_rng(0)
    for part in ("oof", "test"):
        ids, classes, values = runs.read_predictions(other / f"{part}.npz")
        noisy = values + random.dirichlet(np.ones(2), len(values))
        noisy = (noisy / noisy.sum(axis=1, keepdims=True)).astype(np.float32)
        runs.write_predictions(other / f"{part}.npz", ids, classes, noisy)
        if part == "oof":
            table = pd.read_csv(other / "folds.csv").set_index("id").loc[ids]
            truth = np.searchsorted(classes, table["label"])
            folds = metrics.score_folds(metric.name, truth, noisy, table["fold"].to_numpy())
    results = read_json(other / "metrics.json")
    write_json(other / "metrics.json", {**results, "folds": folds, "score": float(np.mean(folds))})
    runs.write_digests(other)
    return other


def test_a_registered_metric_trains_ensembles_finishes_compares_and_lists(toy, tmp_path, caplog):
    caplog.set_level("INFO")
    two_classes(tmp_path / "pictures", each=30, tests=4)
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        f'COMPETITION = Competition(name="mine", data="pictures", metric="{toy.name}",\n'
        '    recipe=Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3))\n'
    )
    mine = competitions.find(str(file))
    first = run(mine, RunOptions())
    folders = [first, less_sure(first, toy)]
    results = [read_json(folder / "metrics.json") for folder in folders]
    assert {one["metric"] for one in results} == {toy.name}
    made = run_ensemble(mine, [], EnsembleRequest(methods=("mean", "greedy selection")))
    finish_run(mine, None, EnsembleRequest(kind="finish"))
    assert ("temperature" in caplog.text) == bool(toy.corrections)
    compared = compare_runs(*(folder.name for folder in folders))
    assert compared.metric == toy.name and compared.higher == toy.higher_is_better
    assert compared.by_fold.difference.estimate == pytest.approx(results[1]["score"] - results[0]["score"], abs=1e-6)
    best = rank_runs([one for one in list_runs("mine") if one.strategy == "features"], toy.name)[0]
    assert best.score == (max if toy.higher_is_better else min)(one["score"] for one in results)
    print_all_runs("mine")
    assert f"the {toy.direction.removesuffix('er')}est {toy.name} first" in caplog.text
    assert made is None or read_json(made / "metrics.json")["metric"] == toy.name


def test_a_metric_that_is_not_registered_is_refused_with_the_competition_s_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="acuracy")\n'
    )
    with pytest.raises(StarshiftError, match=r"mine\.py: Unknown metric"):
        competitions.find(str(file))


def test_a_metric_that_is_not_registered_is_refused_before_any_picture_is_read(tmp_path):
    with pytest.raises(StarshiftError, match="Unknown metric"):
        prepare_dataset(Competition(name="mine", data=str(tmp_path), metric="acuracy"), [], RunOptions())


def test_scores_are_shown_in_the_metric_s_own_format():
    assert BRIER.format(0.25, 0.1) == "0.2500 ± 0.1000" and metrics.METRICS["auc"].format(0.5) == "0.50000"


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_the_scores_of_pictures_average_to_the_score(metric):
    random = np.random.default_rng(0)
    truth, probabilities = random.integers(0, 3, 60), random.dirichlet(np.ones(3), 60)
    if metric.score_pictures is None:
        return
    mean = metric.score_pictures(truth, probabilities).mean()
    assert mean == pytest.approx(metric.compute(truth, probabilities, None), rel=1e-9)
