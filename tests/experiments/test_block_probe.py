"""Blocks compared: which is best, where depth stops paying, and what is said; once through the command line."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions
from pipeline.experiments.block_probe import (
    WHOLE_BASE,
    BlockResult,
    find_best_block,
    format_conclusions,
    format_headline,
)
from tests.cli.test_tasks import invoke
from tests.conftest import two_classes

TRUTH, FOLD = np.tile([0, 1], 250), np.arange(500) // 100


def block(name, folds, speed=100.0):
    """A block whose accuracy is so high on each fold; of two, the better one has the other's right pictures, too."""
    right = np.arange(500) % 100 < np.round(100 * np.repeat(folds, 500 // len(folds)))
    held = np.eye(2)[np.where(right, TRUTH, 1 - TRUTH)] * 0.8 + 0.1
    return BlockResult(
        recipe="base" if name == WHOLE_BASE else f"base@{name}",
        block=name,
        width=8,
        score=float(np.mean(folds)),
        spread=0.01,
        accuracy=0.9,
        seconds=1.0,
        pictures_per_second=speed,
        folds=tuple(folds),
        oof=held,
    )


def tried(blocks, metric="accuracy", fold_of=FOLD):
    labels, predictions = TRUTH[: len(fold_of)], np.stack([each.oof for each in blocks])
    held = OOFPredictions(part=MemberPredictions(predictions), labels=labels, fold_of=fold_of, metric=metric)
    return find_best_block([replace(each, score=held.score(each.oof)) for each in blocks], held)


LOW = block("low", [0.60, 0.61, 0.62, 0.60, 0.61], 400)
MIDDLE = block("middle", [0.90, 0.91, 0.89, 0.92, 0.90], 200)
HIGH = block("high", [0.91, 0.90, 0.90, 0.92, 0.91])
POOR = block(WHOLE_BASE, [0.80, 0.81, 0.80, 0.83, 0.81])
SAME = block(WHOLE_BASE, [0.90, 0.91, 0.91, 0.91, 0.90])


def test_the_best_cut_is_found_and_where_depth_stops_paying():
    found = tried([LOW, MIDDLE, HIGH, POOR])
    assert (found.best, found.enough) == (2, 1) and found.over_whole.estimate == pytest.approx(0.098)
    said = "\n".join(format_conclusions(found, "accuracy"))
    assert "high is better than the whole base, beyond noise" in said and "200.0 times" not in said
    assert (
        "from middle on, more depth gains at most one standard error" in said
        and "2.0 times as fast: --base base@middle" in said
    )
    assert 'recipe: bases=("base@high",)' in said and format_headline(found) == "high is better than the whole base"


def test_a_large_loss_is_not_called_enough_because_pictures_are_few():
    few = block("few", [0.60, 0.98, 0.62, 0.96, 0.60])
    found = tried([few, HIGH])
    assert found.enough == found.best == 1


def test_a_cut_within_noise_of_the_whole_base_does_not_beat_it():
    found = tried([LOW, HIGH, SAME])
    assert found.best == 1 and format_headline(found) == "high is within noise of the whole base"
    assert "high is within noise of the whole base: +0.0020" in format_conclusions(found, "accuracy")[1]


def test_with_a_loss_lower_is_better_and_a_tie_goes_to_the_cheaper_cut():
    found = tried([LOW, HIGH, MIDDLE, POOR], "log_loss")
    assert found.best == found.enough == 1 and "high is better" in format_conclusions(found, "log_loss")[1]
    assert tried([LOW, MIDDLE, block(WHOLE_BASE, MIDDLE.folds)]).best == 1


def test_one_fold_is_compared_over_its_pictures():
    blocks = [block(name, [score]) for name, score in (("low", 0.55), ("middle", 0.97), (WHOLE_BASE, 0.98))]
    blocks = [replace(each, oof=each.oof[:100]) for each in blocks]
    blocks[1] = replace(blocks[1], oof=np.roll(blocks[1].oof, 2, axis=0))
    found = tried(blocks, fold_of=np.zeros(100, int))
    assert (found.best, found.enough) == (2, 1) and format_headline(found) == "middle is within noise of the whole base"


def test_the_command_compares_every_block_and_writes_the_table_and_the_curve(tmp_path, home):
    two_classes(tmp_path / "pictures")
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy",\n'
        "    recipe=Recipe(size=32, folds=3, augmented_views=2))\n"
    )
    done = invoke("blocks", "--comp", str(file), "--base", "vgg16=none", "--size", "32", "--engine", "keras", "--json")
    assert done.returncode == 0, done.stderr
    assert "24 computed in one pass" in done.stderr
    (document,) = json.loads(done.stdout).values()
    reports = home / "data" / "reports" / "mine"
    table = pd.read_csv(reports / "blocks-vgg16-32.csv")
    assert list(table["block"]) == [*(f"block{number}_pool" for number in range(1, 5)), WHOLE_BASE]
    assert list(table["width"]) == [64, 128, 256, 512, 512] and table["recipe"].iloc[1] == "vgg16@block2_pool=none"
    assert table["score"].max() > 0.9 and document["best"] == table["recipe"][table["score"].idxmax()]
    assert [one["block"] for one in document["blocks"]] == list(table["block"])
    assert (reports / "blocks-vgg16-32.png").stat().st_size < 200_000


def test_a_cut_that_is_right_once_more_on_every_fold_does_not_beat_the_whole_base():
    whole = [0.90, 0.91, 0.91, 0.91, 0.90]
    best = block("best", [score + 0.01 for score in whole])
    assert format_headline(tried([best, block(WHOLE_BASE, whole)])) == "best is within noise of the whole base"
    best = block("best", [score + 0.02 for score in whole])
    assert format_headline(tried([best, block(WHOLE_BASE, whole)])) == "best is better than the whole base"
