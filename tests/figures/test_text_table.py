"""Tables are aligned, and fit the terminal or lose nothing."""

import pytest

from pipeline.figures import text_table
from pipeline.figures.text_table import format_records, format_text_table, is_numeric


@pytest.fixture
def columns(monkeypatch):
    """Sets the width of the terminal."""
    return lambda width: monkeypatch.setattr(text_table, "find_width", lambda: width)


def test_numbers_end_at_the_right_and_words_begin_at_the_left():
    assert format_text_table(["name", "MB"], [["a", "1,234.5"], ["long name", "2.0"]]) == [
        "name            MB",
        "a          1,234.5",
        "long name      2.0",
    ]


@pytest.mark.parametrize(
    "cell",
    ["1", "1,234.5", "-0.5", "+0.1 ± 0.2", "12%", "9.7 %", "3e-05", "5/5", "< 0.001", "+0.1 ± unknown", "1.5 s",
     "50.4% (48.1% to 52.7%)", "+0.1 ± 0.2, but p = 0.3", "\x1b[1m0.5\x1b[0m"],
)  # fmt: skip
def test_numbers_have_signs_units_spreads_and_intervals(cell):
    assert is_numeric([cell, ""])


@pytest.mark.parametrize("cell", ["20261124-203219", "fold 0/5", "held out", "2 of 5", "3a"])
def test_a_name_with_digits_is_no_number(cell):
    assert not is_numeric([cell])


def test_numbers_of_which_some_have_a_spread_keep_their_points_below_each_other():
    lines = format_text_table(["score"], [["0.50000 ± 0.10000"], ["0.60000"]])
    assert lines[1].index(".") == lines[2].index(".")


def test_colours_do_not_shift_columns():
    lines = format_text_table(["verdict", "n"], [["\x1b[32mbetter\x1b[0m", "1"], ["within noise", "22"]])
    assert lines[1] == "\x1b[32mbetter\x1b[0m         1" and lines[2] == "within noise  22"


def test_without_a_terminal_nothing_is_cut():
    assert format_text_table(["a"], [["x" * 500]])[1] == "x" * 500


def test_on_a_narrow_terminal_the_widest_text_is_cut_and_no_number(columns):
    columns(40)
    lines = format_text_table(["name", "note", "n"], [["short", "x" * 60, "123,456"]])
    assert max(map(len, lines)) == 40 and "…" in lines[1] and lines[1].endswith("123,456")


def test_what_does_not_fit_at_all_follows_below_beside_the_first_column(columns):
    columns(30)
    header = ["rank", *(f"number {letter}" for letter in "abcd")]
    lines = format_text_table(header, [["1", *["12,345.678"] * 4], ["2", *["0.5"] * 4]])
    keys = [line.split()[0] if line else "" for line in lines]
    assert max(map(len, lines)) <= 30 and keys == ["rank", "1", "2", "", "rank", "1", "2"]
    assert sum(line.count("12,345.678") for line in lines) == 4


def test_names_are_whole_where_columns_follow_below(columns):
    columns(50)
    row = ["1", "20261124-203219-features-9cb9875a", *["0.12345 ± 0.12345"] * 3]
    assert any("20261124-203219-features-9cb9875a" in line for line in format_text_table(list("abcde"), [row]))


def test_a_template_with_a_field_that_is_not_known_is_empty():
    records = [{"name": "a", "score": 0.5}, {"name": "b", "score": None}]
    assert format_records(records, {"name": "{name}", "score": "{score:.3f}"})[1:] == ["a     0.500", "b"]


def test_a_column_without_values_is_left_out():
    lines = format_records([{"name": "a", "note": None}], {"name": "{name}", "note": "{note}"})
    assert lines == ["name", "a"]


def test_a_cell_may_be_computed():
    assert format_records([{"n": 2}], {"double": lambda record: str(2 * record["n"])}) == ["double", "     4"]


def test_no_records_are_no_table():
    assert format_records([], {"name": "{name}"}) == []
