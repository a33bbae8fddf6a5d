"""The list of runs: the best first, whatever the metric, with what Kaggle said."""

import json
from dataclasses import replace

import pytest

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.runs import listing
from pipeline.runs.listing import (
    find_common_settings,
    format_agreement,
    format_regression,
    format_run_table,
    format_settings,
    rank_runs,
    shorten_base_name,
)
from tests.cli.test_tasks import invoke
from tests.written import MINE, PAIR, written


def test_the_best_is_first_for_a_loss_and_for_a_share():
    for sure in (1.0, 3.0, 2.0):
        written(sure)
        written(sure, competition=PAIR, names="ab")
    losses = [one.score for one in rank_runs(listing.list_runs("mine"), "log_loss")]
    shares = [one.score for one in rank_runs(listing.list_runs("pair"), "auc")]
    assert losses == sorted(losses) and shares == sorted(shares, reverse=True) and losses[0] < losses[-1]


def test_debug_and_unfinished_runs_come_last_and_are_marked():
    written(9.0, debug=True)
    written(2.0, finished=False)
    worst = written(0.1)
    found = rank_runs(listing.list_runs("mine"), "log_loss")
    assert [one.state for one in found] == ["finished", "debug", "unfinished"] and found[0].run == worst.name
    lines = format_run_table(found)
    assert lines[1].split()[0] == "1" and "debug" in lines[2] and "unfinished" in lines[3]


def test_only_what_sets_a_run_apart_is_shown():
    for sure in (1.0, 2.0):
        written(sure)
    written(3.0, size=96, head="mlp", strategy="finetune", training=Training(epochs=7))
    found = rank_runs(listing.list_runs("mine"), "log_loss")
    most = find_common_settings(found)
    assert format_settings(found[0], most) == "head=mlp size=96 epochs=7" and format_settings(found[1], most) == ""
    assert format_settings(replace(found[0], strategy="features"), most) == "head=mlp size=96", "it has no epochs"
    assert format_settings(replace(found[0], strategy="ensemble"), most) == "", "its members have their own"


def test_columns_are_aligned_and_kaggles_scores_are_there_only_when_there_are_any():
    folder = written(1.0)
    written(2.0)
    lines = format_run_table(listing.list_runs("mine"))
    assert "public" not in lines[0] and "top %" not in lines[0]
    write_json(folder / "leaderboard.json", {"public": 0.71, "private": 0.72, "ref": "1"})
    lines = format_run_table(listing.list_runs("mine"))
    place = lines[0].index("private") + len("private")
    there = [line[:place].endswith("0.72000") for line in lines[1:]]
    assert sorted(there) == [False, True] and len(lines[1 + there.index(False)]) < place


def test_leaderboard_scores_are_held_against_cross_validation():
    said = format_agreement([0.5, 0.6, 0.7], [0.55, 0.66, 0.74])
    assert "3 runs: rank correlation +1.00, offset +0.05000" in said
    assert "rank correlation -1.00" in format_agreement([0.5, 0.6], [0.6, 0.5])
    assert "all the same" in format_agreement([0.5, 0.6], [0.5, 0.5])


def test_a_line_through_three_submissions_says_where_another_run_is_expected():
    (line,) = format_regression([0.5, 0.6, 0.7], [1.1, 1.3, 1.5], 0.4)
    assert "leaderboard = +0.10000 +2.000 x cross-validation" in line and "expected at 0.90000" in line
    assert "95 % interval 0.90000 to 0.90000" in line, "no scatter"
    (wide,) = format_regression([0.5, 0.6, 0.7], [1.1, 1.25, 1.5], 0.4)
    assert "expected at 0.88333 (95 % interval -0.0637" in wide, "computed by hand"


def test_two_submissions_or_equal_ones_have_no_line():
    assert format_regression([0.5, 0.6], [0.5, 0.6], 0.5) == [] == format_regression([0.5] * 3, [0.5, 0.6, 0.7], 0.5)


def test_public_and_private_scores_are_not_mixed(caplog):
    caplog.set_level("INFO")
    for sure, private in ((1.0, 0.9), (2.0, 0.5), (3.0, None)):
        write_json(written(sure) / "leaderboard.json", {"public": 0.1 * sure, "private": private})
    listing.print_all_runs("mine")
    assert "public leaderboard against cross-validation, 3 runs" in caplog.text and "regression" in caplog.text
    assert "private leaderboard against cross-validation, 2 runs" in caplog.text


def test_submitted_runs_of_one_metric_are_compared_when_there_are_two(caplog):
    caplog.set_level("INFO")
    for sure, public in ((1.0, 0.9), (3.0, 0.2)):
        write_json(written(sure) / "leaderboard.json", {"public": public, "private": None})
    listing.print_all_runs("mine")
    assert "leaderboard against cross-validation, 2 runs: rank correlation +1.00" in caplog.text
    assert "next: invoke compare" in caplog.text


def test_metrics_are_not_mixed(caplog):
    caplog.set_level("INFO")
    written(1.0)
    written(1.0, competition=replace(MINE, metric="accuracy"))
    listing.print_all_runs("mine")
    assert "mine, 1 runs, the lowest log_loss first" in caplog.text
    assert "mine, 1 runs, the highest accuracy first" in caplog.text


def test_a_score_on_a_kaggle_competition_has_its_place_beside_it():
    dogs = replace(MINE, name="dog-breed", data=None, slug="dog-breed-identification")
    written(1.0, competition=dogs)
    one = listing.list_runs("dog-breed")[0]
    assert 0 < one.top < 100 and "top %" in format_run_table([one])[0]


def test_runs_on_other_folds_are_said_to_be_no_matter_in_which_order_their_pictures_are(caplog):
    caplog.set_level("INFO")
    written(1.0)
    written(2.0, shuffle=True)
    listing.print_all_runs("mine")
    assert "not all were scored on the same folds" not in caplog.text
    written(3.0, split=1)
    listing.print_all_runs("mine")
    assert "not all were scored on the same folds" in caplog.text


def test_without_runs_the_command_to_make_one_is_named():
    with pytest.raises(StarshiftError, match="invoke run --comp sprouts"):
        listing.print_all_runs("sprouts")
    with pytest.raises(StarshiftError, match="no competition called"):
        listing.print_all_runs("nope")


def test_the_command_line_lists_and_compares(home):
    first, second = written(1.0), written(3.0, strategy="frozen")
    listed = invoke("runs", "--comp", "mine")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.index("frozen") < listed.stdout.index("features")
    found = json.loads(invoke("runs", "--json").stdout)
    assert [one["run"] for one in found["mine"]] == [second.name, first.name]
    assert found["mine"][0]["folder"] == str(second)
    done = invoke("compare", first.name, second.name)
    assert done.returncode == 0 and "recipe.strategy" in done.stdout and "beyond noise" in done.stdout, done.stderr
    wrong = invoke("compare", "x", "y")
    assert wrong.returncode == 1 and "No run is called 'x'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_base_is_named_without_paths_and_digests():
    assert (
        shorten_base_name("inception_v3@mixed7+second:71f658154dd6741f=/home/me/w.h5")
        == "inception_v3@mixed7+second:71f6=file"
    )
    assert (
        shorten_base_name("mobilenet_v2=imagenet:224") == "mobilenet_v2=imagenet:224"
        and shorten_base_name("vgg16+max") == "vgg16+max"
    )
