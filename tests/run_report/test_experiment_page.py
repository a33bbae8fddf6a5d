"""Pages of experiments and comparisons: escaped, whole in one file, with what was concluded."""

import re

import numpy as np

from pipeline.run_report.experiment_page import write_comparison_page, write_experiment_page
from pipeline.runs.compare import build_comparison
from pipeline.runs.load import load_run
from tests.conftest import encoded
from tests.written import written


def write_page(folder, **options):
    values = {
        "title": "a <b>",
        "kind": "ladder",
        "conclusions": ["x & y"],
        "tables": {"Rows": [{"name": "<i>", "n": 1.0}]},
    }
    return write_experiment_page(folder / "page.html", **(values | options)).read_text()


def test_names_and_conclusions_are_escaped(tmp_path):
    page = write_page(tmp_path)
    assert "a &lt;b&gt;" in page and "x &amp; y" in page and "&lt;i&gt;" in page and "<i>" not in page


def test_the_picture_is_part_of_the_page_and_has_an_alternative_text(tmp_path):
    picture = encoded(np.zeros((4, 4, 3), np.uint8), "PNG")
    page = write_page(tmp_path, picture=picture)
    assert re.search(r'<img class="chart" src="data:image/png;base64,\w+[^"]*" alt="a &lt;b&gt;">', page)
    assert "http" not in re.sub("http-equiv", "", page)


def test_numbers_can_be_sorted_by_their_values(tmp_path):
    page = write_page(tmp_path, tables={"Rows": [{"name": "a", "share": 0.123456789, "count": 12345}]})
    assert 'data-value="0.123456789">0.12346<' in page and 'data-value="12345">12,345<' in page


def test_a_table_without_rows_is_left_out(tmp_path):
    assert "<table" not in write_page(tmp_path, tables={"Rows": []})


def test_the_page_of_two_runs_has_the_verdict_and_the_classes_that_moved(tmp_path):
    compared = build_comparison(load_run(written(1.0)), load_run(written(3.0, seed=1)))
    page = write_comparison_page(tmp_path / "page.html", compared).read_text()
    assert "B is better than A, beyond noise" in page and "Classes that moved" in page and "What differs" not in page
