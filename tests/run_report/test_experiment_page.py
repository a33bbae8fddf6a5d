"""Pages of experiments and comparisons: escaped, whole in one file, with what was concluded."""

import re
from dataclasses import replace

import numpy as np

from pipeline.run_report.experiment_page import write_comparison_page, write_experiment_page, write_runs_page
from pipeline.runs.compare import build_comparison
from pipeline.runs.listing import list_ranked_runs
from pipeline.runs.load import load_run
from tests.conftest import encoded
from tests.written import MINE, written


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


def write_list(folder):
    """The page of the runs of MINE, in a folder beside the runs' own."""
    return write_runs_page(folder / "pages" / "runs.html", {"mine": list_ranked_runs("mine")}).read_text()


def test_the_page_of_runs_has_the_best_first(tmp_path):
    worse, better = written(1.0), written(3.0)
    page = write_list(tmp_path)
    assert page.index(f">{better.name}<") < page.index(f">{worse.name}<")


def test_a_run_on_the_page_links_to_its_report_relative_to_the_page(tmp_path, home):
    folder = written(2.0)
    (folder / "report.html").write_text("the report")
    (link,) = re.findall('<a href="([^"]+)">' + folder.name, write_list(tmp_path))
    assert not link.startswith("/") and (tmp_path / "pages" / link).read_text() == "the report"


def test_a_run_without_a_report_is_not_linked(tmp_path):
    folder = written(2.0)
    assert re.search(f"<td>{folder.name}</td>", write_list(tmp_path))


def test_the_page_of_runs_has_score_and_spread_chance_and_standing(tmp_path):
    dogs = replace(MINE, name="dog-breed", data=None, slug="dog-breed-identification")
    written(2.0, competition=dogs)
    (one,) = list_ranked_runs("dog-breed")
    page = write_runs_page(tmp_path / "runs.html", {"dog-breed": [replace(one, chance=4.787)]}).read_text()
    assert f'data-value="{one.score}">{one.score:.5f} ± {one.spread:.5f}<' in page
    assert ">4.787<" in page and f'data-value="{one.top}"' in page


def test_a_run_that_is_not_finished_has_no_rank_on_the_page(tmp_path):
    written(2.0, finished=False)
    assert "unfinished" in write_list(tmp_path) and 'data-value="1">1<' not in write_list(tmp_path)
