"""The ladder: every strategy on the same pictures, through the command line, and what is told of it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import competitions
from pipeline.config import Labels, Training
from pipeline.data.labels import build_picture_table
from pipeline.experiments import ladder
from pipeline.experiments.ladder import StrategyResult
from pipeline.files import write_text
from pipeline.models.base import parse_base
from pipeline.training import cross_validation
from tests.cli.test_tasks import invoke
from tests.conftest import two_classes


@pytest.fixture
def mine(tmp_path):
    two_classes(tmp_path / "pictures", each=24)
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe, Training\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy", recipe=Recipe(\n'
        '    bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, views=("plain",),\n'
        "    training=Training(epochs=2, batch_size=8)))\n"
    )
    return str(file)


def test_strategies_climb_on_one_split_and_a_second_time_costs_nothing(mine, home):
    command = ("ladder", "--comp", mine, "--sizes", "24,12,12", "--engine", "keras")
    strategies = ("--strategy", "scratch", "--strategy", "features")
    done = invoke(*command, *strategies)
    assert done.returncode == 0, done.stderr
    folder = next((home / "data" / "reports").iterdir())
    rows = list(csv.DictReader(next(folder.glob("ladder-*.csv")).read_text().splitlines()))
    assert [row["strategy"] for row in rows] == ["scratch", "features"]
    assert float(rows[1]["test"]) > 0.9 and int(rows[0]["trained"]) > int(rows[1]["trained"]) > 0
    assert next(folder.glob("staircase-*.png")).read_bytes()[:4] == b"\x89PNG"
    assert "features is" in done.stdout
    again = invoke(*command, *strategies, "--json")
    assert again.returncode == 0 and "training" not in again.stderr, again.stderr
    climbed = json.loads(again.stdout)["strategies"]
    assert [row["strategy"] for row in climbed] == ["scratch", "features"] and climbed[1]["verdict"]
    assert not list((home / "submissions").glob("*/*.csv"))


def test_labels_that_are_no_names_of_folders_stay_apart_and_write_nothing_outside(mine, home):
    competition = competitions.load(Path(mine))
    folder, odd = Path(str(competition.data)), {"red": "N/A", "blue": "../../../N/A"}
    rows = [f"{path.relative_to(folder)},{odd[path.parent.name]}\n" for path in folder.glob("train/*/*.jpg")]
    (folder / "labels.csv").write_text("id,label\n" + "".join(rows))
    found = replace(competition, labels=Labels(folder=".", csv="labels.csv", test="test"))
    made = ladder.prepare_ladder(found, (24, 12, 12))
    own = build_picture_table(made.competition, Path(str(made.competition.data)), None, home / "memory.json")
    assert own.classes == sorted(odd.values()) and set(own.train["label"].value_counts()) == {18}
    assert sorted(made.answers.values()) == ["../../../N/A"] * 6 + ["N/A"] * 6
    outside = [path for path in home.rglob("*.jpg") if not path.is_relative_to(home / "data" / "ladders")]
    assert not outside and len(list(home.rglob("*.jpg"))) == 48


@pytest.mark.slow
def test_a_ladder_whose_pictures_changed_makes_its_split_again(mine, home):
    stale = home / "data" / "competitions" / "mine-ladder-24-12-12-seed0" / "holdout-0.333333-seed0.csv"
    write_text(stale, "id,fold\nred/0.jpg,0\n")
    done = invoke("ladder", "--comp", mine, "--sizes", "24,12,12", "--engine", "keras", "--strategy", "features")
    assert done.returncode == 0, done.stderr
    assert len(stale.read_text().splitlines()) == 37


def test_the_strategies_before_finetune_keep_its_activations_where_it_starts_from_cached_ones(mine):
    recipe = competitions.load(Path(mine)).recipe
    later = ("frozen", "finetune")
    training = ladder.find_finetune_training(later, recipe)
    assert (
        training.unfreeze == "0.3"
        and training.epochs == 2
        and ladder.find_finetune_training(("frozen",), recipe) is None
    )
    base = parse_base("mobilenet_025=none", 32)
    asked = {"plain": ["a", "b"]}
    assert (
        cross_validation.build_activation_capture(base, training, asked).base.cut
        and cross_validation.build_activation_capture(base, None, asked) is None
    )
    for changed in (Training(sizes=(32, 48)), Training(cached_views=0)):
        training = ladder.find_finetune_training(later, replace(recipe, training=changed))
        assert cross_validation.build_activation_capture(base, training, asked) is None, (
            "finetune would not find them of use"
        )


def test_a_ladder_without_pictures_enough_says_so(mine):
    done = invoke("ladder", "--comp", mine, "--sizes", "400,100,100")
    assert done.returncode == 1 and "too few labelled pictures" in done.stderr and "Traceback" not in done.stderr
    wrong = invoke("ladder", "--comp", mine, "--strategy", "flying", "--sizes", "24,12,12")
    assert wrong.returncode == 1 and "scratch | augmented" in wrong.stderr
    moments = ("--base", "mobilenet_025@conv_pw_3_relu+second=none", "--strategy", "features", "--strategy", "finetune")
    refused = invoke("ladder", "--comp", mine, *moments, "--sizes", "24,12,12")
    assert refused.returncode == 1 and "The strategy finetune trains a base whose maps are averaged" in refused.stderr
    assert "table" not in refused.stdout, "said before any picture is looked at"


def test_a_step_within_noise_is_said_to_be_so():
    def one(strategy, right):
        hits = np.arange(100) < right
        return StrategyResult(strategy=strategy, seed=0, validation=right / 100, right=hits, seconds=1.0, trained=10)

    assert ladder.compare_strategies([one("a", 70)], [one("b", 72)]).verdict == "within noise"
    compared = ladder.compare_strategies([one("a", 70)], [one("b", 95)])
    assert compared.verdict == "better" and "b is better than a, beyond noise" in compared.sentence


def test_a_step_of_several_seeds_is_their_mean_and_its_noise_is_that_of_seeds_too():
    def some(strategy, *shares):
        return [
            StrategyResult(
                strategy=strategy, seed=seed, validation=0.5, right=np.arange(500) < right, seconds=1.0, trained=10
            )
            for seed, right in enumerate(shares)
        ]

    sure = ladder.compare_strategies(some("a", 400, 402, 398), some("b", 440, 441, 439))
    assert sure.verdict == "better" and "b is better than a, beyond noise: +8.0 points" in sure.sentence
    unsure = ladder.compare_strategies(some("a", 300, 402, 498), some("b", 440, 441, 439))
    assert unsure.verdict == "within noise" and "b is within noise of a: +8.0 points" in unsure.sentence


def test_a_line_of_several_seeds_has_the_wider_interval():
    def one(seed, right):
        hits = np.arange(100) < right
        return StrategyResult(strategy="a", seed=seed, validation=0.5, right=hits, seconds=2.0 + seed, trained=10)

    alone = ladder.build_table_row("a", [one(0, 80)], 100)
    several = ladder.build_table_row("a", [one(0, 70), one(1, 90)], 100)
    assert several["test"] == alone["test"] == 0.8 and several["seconds"] == 2.5
    assert several["test_high"] - several["test_low"] > alone["test_high"] - alone["test_low"]


def of_seeds(strategy, right):
    return [
        StrategyResult(strategy=strategy, seed=n, validation=0.5, right=right, seconds=1.0, trained=1) for n in range(3)
    ]


@pytest.mark.parametrize(("few", "words"), [(5, "is within noise of"), (6, "is better than")])
def test_seeds_that_all_gain_every_picture_are_judged_by_how_many_there_are(few, words):
    before, after = of_seeds("scratch", np.zeros(few, bool)), of_seeds("features", np.ones(few, bool))
    assert words in ladder.compare_strategies(before, after).sentence


def test_seeds_of_one_accuracy_are_as_sure_as_their_pictures_allow():
    row = ladder.build_table_row("x", of_seeds("x", np.arange(20) < 15), 20)
    assert 0 <= row["test_low"] < 0.75 < row["test_high"] <= 1
