"""Scouting: planted sets are told apart, one that hurts is refused, and the command writes what it says."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Competition, Recipe
from pipeline.ensemble.calibration import FoldScorer
from pipeline.ensemble.member_selection import CombinationScores, select_members
from pipeline.experiments import base_search
from pipeline.experiments.base_search_report import format_recipe
from pipeline.training.heads import ridge
from tests.cli.test_tasks import invoke
from tests.conftest import two_classes


def planted(pictures=600, classes=6):
    """Two sets that each tell half of the classes apart, a copy of the first one, and a set of noise."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(pictures) % classes)
    centres = random.normal(size=(classes, 20))
    first, second = centres.copy(), centres.copy()
    first[: classes // 2], second[classes // 2 :] = first[0], second[-1]
    seen = [each[labels] + random.normal(0, 1.2, (pictures, 20)) for each in (first, second)]
    seen += [seen[0] + random.normal(0, 0.05, (pictures, 20)), random.normal(size=(pictures, 150))]
    return [one.astype(np.float32) for one in seen], labels, np.arange(pictures) % 5


def tried(metric):
    sets, labels, fold_of = planted()
    judge = FoldScorer(metric=metric, labels=labels, fold_of=fold_of)
    return base_search.evaluate_combinations([ridge.compute_principal_components(one, 64) for one in sets], judge, 6)


def test_every_combination_is_tried_and_the_two_that_belong_together_win():
    for metric in ("log_loss", "accuracy"):
        found = tried(metric)
        assert len({one.members for one, _ in found}) == 15
        assert {len(one.path) for one, _ in found} == {len(ridge.L2_VALUES)}
        trials = CombinationScores(
            folds={one.members: one.folds for one, _ in found},
            pictures={one.members: pictures for one, pictures in found},
            fold_of=planted()[2],
            metric=metric,
        )
        assert all(pictures.mean() == pytest.approx(np.mean(one.folds), abs=1e-5) for one, pictures in found)
        growth = select_members(trials)
        assert 1 in growth.winner and len(growth.winner & {0, 2}) == 1 and 3 not in growth.winner
        refused = {step.member: step.gain.verdict for step in growth.steps if step.decision == "refused"}
        assert len(refused) == 2 and {step.decision for step in growth.steps} == {"added", "refused"}
        assert refused[3] == "worse" or metric == "accuracy"


def test_a_strength_is_chosen_by_the_other_folds():
    table = np.array([[0.9, 0.1, 0.1], [0.5, 0.6, 0.6], [0.2, 0.7, 0.2]])
    found = base_search.select_l2(frozenset([0]), np.pad(table, ((0, len(ridge.L2_VALUES) - 3), (0, 0))), higher=True)
    assert found.folds == (0.5, 0.6, 0.6) and found.l2 == ridge.L2_VALUES[1]
    lower = base_search.select_l2(
        frozenset([0]), np.pad(table, ((0, len(ridge.L2_VALUES) - 3), (0, 0)), constant_values=9), higher=False
    )
    assert lower.folds == (0.9, 0.7, 0.2) and lower.path[0] < lower.path[1]


def test_the_recipe_line_says_what_differs_and_can_be_pasted():
    recipe = Recipe(bases=("mobilenet_v2", "resnet50@conv4_block6_out"), size=160, views=("plain",))
    assert eval(format_recipe(recipe)) == recipe and "folds" not in format_recipe(recipe)


def test_the_command_ranks_combinations_refuses_and_writes_the_table_and_the_figure(tmp_path, home):
    two_classes(tmp_path / "pictures", each=20)
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy",\n'
        '    recipe=Recipe(size=32, folds=4, views=("plain",)))\n'
    )
    flags = ("scout", "--comp", str(file), "--engine", "keras")
    bases = ("--base", "mobilenet_025@conv_pw_3_relu=none", "--base", "mobilenet_025@conv_pw_2_relu=none:1")
    done = invoke(*flags, *bases, "--json")
    assert done.returncode == 0, done.stderr
    assert "3 combinations x 4 folds x 9 values of l2" in done.stderr
    document = json.loads(done.stdout)
    assert document["recipe"].startswith("Recipe(bases=(") and "head" not in document
    assert [(step["decision"], step["gain"]["verdict"]) for step in document["steps"]] == [("refused", "within noise")]
    assert len(document["combinations"]) == 3 and len(document["bases"]) == 2
    folder = home / "data" / "reports" / "mine"
    table = pd.read_csv(folder / "scout.csv")
    assert (
        table.filter(like="at ").shape == (3, 9)
        and table["winner"].sum() == 1
        and table["score"].is_monotonic_decreasing
    )
    assert (folder / "scout.png").read_bytes()[:4] == b"\x89PNG"
    many = [word for seed in range(9) for word in ("--base", f"mobilenet_025=none:{seed}")]
    wrong = invoke(*flags, *many)
    assert wrong.returncode == 1 and "at most 8" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("together", "head", "taken", "words"),
    [
        (0.78, 0.9, {0, 1}, "though the ranking had refused it"),
        (0.78, 0.77, {0}, "within noise"),
        (0.7, 0.9, {0}, ""),
    ],
)
def test_the_head_that_counts_has_a_say_on_a_combination_that_the_ranking_has_ahead(
    monkeypatch, caplog, together, head, taken, words
):
    one, two, both = (frozenset(members) for members in ({0}, {1}, {0, 1}))
    labels, place = np.arange(400) % 2, np.arange(400) % 100

    def right(share):
        return place < 100 * share

    scores = {one: 0.74, two: 0.5, both: together}
    trials = CombinationScores(
        folds={members: [share] * 4 for members, share in scores.items()},
        pictures={members: right(share) * 1.0 for members, share in scores.items()},
        fold_of=np.arange(400) // 100,
        metric="accuracy",
    )
    told = SimpleNamespace(trials=trials, growth=SimpleNamespace(winner=one), format_members=lambda members: "joined")
    data = SimpleNamespace(labels=labels, fold_of=trials.fold_of, positive=None, group_of=None)
    asked = []

    def evaluate(competition, data, options):
        asked.append(competition.recipe.bases)
        seen = right(head if len(competition.recipe.bases) == 2 else 0.76)
        oof = np.eye(2)[np.where(seen, labels, 1 - labels)]
        return {"folds": [0.5] * 4, "score": 0.0, "spread": 0.0, "accuracy": 0.0}, oof

    monkeypatch.setattr(base_search, "evaluate_head", evaluate)
    caplog.set_level("INFO")
    competition = Competition(
        name="mine", data="pictures", metric="accuracy", recipe=Recipe(bases=("mobilenet_v2", "xception"))
    )
    assert base_search.confirm_winner(competition, data, None, told) == taken
    assert len(asked) == (2 if words else 0) and words in caplog.text
