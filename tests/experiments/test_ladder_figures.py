"""Figures: every word lies inside and none on another, whatever the numbers; the files are small."""

import io
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from pipeline.experiments import block_probe, staircase
from pipeline.experiments.block_probe import BlockResult, plot_depth_curve
from pipeline.experiments.staircase import LadderStep, format_duration, format_headline, plot_staircase

PARTS = (1000, 1000)
LADDER = [
    LadderStep(name="scratch", validation=[0.7], test=[0.7, 0.71], pictures=PARTS, seconds=412, trained=3453121),
    LadderStep(name="augmented", validation=[0.84, 0.83], test=[0.83, 0.84], pictures=PARTS, seconds=5, trained=99),
    LadderStep(name="features", validation=[0.98, 0.98], test=[0.978, 0.98], pictures=PARTS, seconds=8000, trained=9),
    LadderStep(
        name="finetune", validation=[0.988, 0.987], test=[0.986, 0.985], pictures=PARTS, seconds=60,
        trained=23_842_240, verdict="within noise",
    ),
]  # fmt: skip


def block(name: str, width: int, score: float, spread: float = 0.0) -> BlockResult:
    return BlockResult(
        recipe="", block=name, width=width, score=score, spread=spread, accuracy=0.0, seconds=0.0,
        pictures_per_second=0.0, folds=(), oof=np.empty(0),
    )  # fmt: skip


BLOCKS = [block(f"block_{n}_project_BN", 16 * n, 0.7 + 0.02 * n, 0.01) for n in range(1, 14)]
LONG = [block(f"convnext_base_downsampling_block_{n}", 128, 0.9 - 0.2 * n) for n in range(3)]


@pytest.fixture
def words(monkeypatch):
    """Draws, and gives back the boxes of all words by their text, and the figure's own box."""

    def draw(function, *arguments, **named):
        kept = []
        for module in (block_probe, staircase):
            monkeypatch.setattr(module, "render_png", lambda made: kept.append(made) or b"")
        function(*arguments, **named)
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.text import Text

        canvas = FigureCanvasAgg(kept[0])
        canvas.draw()
        shown = [text for text in kept[0].findobj(Text) if text.get_visible() and text.get_text()]
        return [(text, text.get_window_extent(canvas.get_renderer())) for text in shown], kept[0].bbox

    return draw


def check(boxes, page):
    """All words lie on the page; those that are not turned do not touch each other."""
    for text, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.width + 1 and box.y1 <= page.height + 1
        assert inside, f"{text.get_text()} leaves the page"
    for (first, one), (second, other) in combinations([pair for pair in boxes if pair[0].get_rotation() == 0], 2):
        apart = one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
        assert apart, f"{first.get_text()!r} lies on {second.get_text()!r}"


@pytest.mark.parametrize("steps", [LADDER, LADDER[2:], LADDER[:1], [replace(LADDER[3], test=[1.0], validation=[1.0])]])
def test_no_word_of_a_staircase_leaves_the_page_or_lies_on_another(words, steps):
    boxes, page = words(plot_staircase, steps, chance=0.5)
    check(boxes, page)
    shown = {text.get_text() for text, _ in boxes}
    assert {step.name for step in steps} <= shown and format_headline(steps) in shown


def test_each_step_says_what_it_gained_and_what_it_cost(words):
    shown = {text.get_text() for text, _ in words(plot_staircase, LADDER, chance=0.5)[0]}
    assert {"+13.0 points", "+0.7 points, within noise", "7 min", "2.2 h", "23.84 M trained parameters"} <= shown
    assert {"70.5%", "97.9%", "98.6%", "chance 50%"} <= shown


@pytest.mark.parametrize("depths", [BLOCKS, LONG, BLOCKS[:2]])
def test_no_word_of_a_depth_curve_leaves_the_page_or_lies_on_another(words, depths):
    boxes, page = words(
        plot_depth_curve, depths, metric="log_loss", best=len(depths) - 1, enough=1, title="mobilenet " * 9
    )
    check(boxes, page)
    assert {depth.block for depth in depths} <= {text.get_text() for text, _ in boxes}


def test_figures_are_small_png_files():
    for data in (
        plot_staircase(LADDER, chance=0.5),
        plot_depth_curve(BLOCKS, metric="auc", best=3, enough=2, title="found"),
    ):
        assert len(data) < 200_000
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "PNG" and min(picture.size) > 500


def test_a_finding_names_the_largest_step_and_admits_where_there_is_none():
    assert format_headline(LADDER) == "From 70.5% to 98.6%; the largest step is “features”, +14.4 points"
    assert format_headline(LADDER[::-1]) == "finetune reaches 98.6% on test, and no later strategy more"


def test_seconds_are_said_in_the_unit_that_a_reader_would_take():
    assert [format_duration(seconds) for seconds in (0.44, 48, 700, 11160)] == ["0.4 s", "48 s", "12 min", "3.1 h"]
