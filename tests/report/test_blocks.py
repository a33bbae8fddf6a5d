"""Blocks compared: which is best, where depth stops paying, and what is said; once through the command line."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report.blocks import WHOLE, Block, compared, conclusions, title
from tests.conftest import two_classes
from tests.test_tasks import invoke

TRUTH = np.tile([0, 1], 60)


def block(name, folds, speed=100.0):
    random = np.random.default_rng(0)
    right = random.random(len(TRUTH)) < np.mean(folds)
    held = np.eye(2)[np.where(right, TRUTH, 1 - TRUTH)] * 0.8 + 0.1
    return Block(
        recipe="base" if name == WHOLE else f"base@{name}",
        block=name,
        width=8,
        score=float(np.mean(folds)),
        spread=0.01,
        accuracy=0.9,
        seconds=1.0,
        pictures_per_second=speed,
        folds=tuple(folds),
        held=held,
    )


LOW = block("low", [0.60, 0.61, 0.62, 0.60, 0.61], 400)
MIDDLE = block("middle", [0.90, 0.91, 0.89, 0.92, 0.90], 200)
HIGH = block("high", [0.91, 0.90, 0.90, 0.92, 0.91])
POOR = block(WHOLE, [0.80, 0.81, 0.80, 0.83, 0.81])
SAME = block(WHOLE, [0.90, 0.91, 0.91, 0.91, 0.90])


def test_the_best_cut_is_found_and_where_depth_stops_paying():
    found = compared([LOW, MIDDLE, HIGH, POOR], "accuracy", TRUTH, 0.2)
    assert (found.best, found.enough) == (2, 1) and found.over_whole.estimate == pytest.approx(0.098)
    said = "\n".join(conclusions(found, "accuracy"))
    assert "high is better than the whole base, beyond noise" in said and "200.0 times" not in said
    assert (
        "from middle on, more depth gains at most one standard error" in said
        and "2.0 times as fast: --base base@middle" in said
    )
    assert 'recipe: bases=("base@high",)' in said and title(found) == "high beats the whole base"


def test_a_large_loss_is_not_called_enough_because_pictures_are_few():
    few = block("few", [0.60, 0.98, 0.62, 0.96, 0.60])
    found = compared([few, HIGH], "accuracy", TRUTH, 0.2)
    assert found.enough == found.best == 1
    assert found.over_whole.estimate == 0 and compared([few, POOR], "accuracy", TRUTH, 0.2).enough == 0


def test_a_cut_within_noise_of_the_whole_base_does_not_beat_it():
    found = compared([LOW, HIGH, SAME], "accuracy", TRUTH, 0.2)
    assert found.best == 1 and title(found) == "high is within noise of the whole base"
    assert "high is within noise of the whole base: +0.0020" in conclusions(found, "accuracy")[1]


def test_with_a_loss_lower_is_better_and_a_tie_goes_to_the_cheaper_cut():
    found = compared([LOW, MIDDLE, HIGH, POOR], "log_loss", TRUTH, 0.2)
    assert found.best == found.enough == 0 and "low is better" in conclusions(found, "log_loss")[1]
    assert compared([LOW, MIDDLE, block(WHOLE, MIDDLE.folds)], "accuracy", TRUTH, 0.2).best == 1


def test_one_fold_is_compared_over_its_pictures():
    blocks = [block(name, [score]) for name, score in (("low", 0.55), ("middle", 0.97), (WHOLE, 0.98))]
    found = compared(blocks, "accuracy", TRUTH, 0.2)
    assert (found.best, found.enough) == (2, 1) and title(found) == "middle is within noise of the whole base"


def test_the_command_compares_every_block_and_writes_the_table_and_the_curve(tmp_path, home):
    two_classes(tmp_path / "pictures")
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy",\n'
        "    recipe=Recipe(size=32, folds=3, augmented_views=2))\n"
    )
    done = invoke("blocks", "--comp", str(file), "--base", "vgg16=none", "--engine", "keras")
    assert done.returncode == 0, done.stderr
    assert "24 computed in one pass" in done.stdout and "recipe: bases=" in done.stdout
    reports = home / "data" / "reports" / "mine"
    table = pd.read_csv(reports / "blocks-vgg16-32.csv")
    assert list(table["block"]) == [*(f"block{number}_pool" for number in range(1, 5)), WHOLE]
    assert list(table["width"]) == [64, 128, 256, 512, 512] and table["recipe"].iloc[1] == "vgg16@block2_pool=none"
    assert table["score"].max() > 0.9 and f"best: {table['block'][table['score'].idxmax()]}," in done.stdout
    assert (reports / "blocks-vgg16-32.png").stat().st_size < 200_000
