"""Charts: round ticks, and values at their pixels."""

import pytest

from pipeline.run_report.charts import Axis, Chart, Series, find_ticks


def chart(points, **options):
    return Chart(title="t", x_label="x", y_label="y", series=[Series(name="s", style="blue", points=points)], **options)


@pytest.mark.parametrize(
    ("ends", "ticks"), [((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]), ((0.03, 0.29), [0.1, 0.2]), ((7, 93), [20, 40, 60, 80])]
)
def test_ticks_are_round(ends, ticks):
    assert find_ticks(*ends).tolist() == ticks


def test_a_larger_value_is_further_up():
    one = chart([(0, 1), (1, 3)])
    (_, low), (_, high) = one.drawn[0]["points"]
    assert high < low


def test_on_a_logarithmic_axis_powers_of_ten_are_equally_far_apart():
    axis = Axis(1e-4, 1e-2, 0, 100, logarithmic=True)
    assert [axis.place(value) for value in (1e-4, 1e-3, 1e-2)] == [0, 50, 100]
    assert [text for _, text in axis.ticks] == ["0.0001", "0.001", "0.01"]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_single_point_has_a_place_within_the_plot(logarithmic):
    one = chart([(1e-3, 0.0)], logarithmic=logarithmic)
    ((x, y),) = one.drawn[0]["points"]
    assert one.x.start < x < one.x.end and one.y.end < y < one.y.start


def test_the_legend_has_each_name_once():
    series = [Series(name="fold", style="blue", points=[(0, 0), (1, 1)])] * 3
    one = Chart(title="t", x_label="x", y_label="y", series=series)
    assert one.legend == [("blue", "fold")]
