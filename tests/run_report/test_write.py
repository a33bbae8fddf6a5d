"""The page of a run: whole in one file, escaped, accessible, and written whatever is missing."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json, write_text
from pipeline.run_report import write
from pipeline.run_report.examples import NO_FEATURES, NO_PICTURES
from pipeline.runs import folder as runs
from tests.run_report.conftest import BASE, cache_pictures
from tests.written import MINE, written

HOSTILE = ["<script>alert(1)</script>", "a&b", "'\"", "{{ 7 * 7 }}"]


def page_of(folder, digests=None):
    return write.write_report(folder, {} if digests is None else digests).read_text()


def visible(page):
    """The page without style and script."""
    return re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)


def test_a_class_that_is_a_script_is_escaped(cached_run):
    folder = written(0.5, names=HOSTILE, pictures=200, bases=(BASE,))
    page = page_of(folder, cache_pictures(folder))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page and r"\u003cscript\u003ealert(1)" in page


def test_a_class_that_is_a_template_is_not_rendered():
    assert "{{ 7 * 7 }}" in page_of(written(0.5, names=HOSTILE, pictures=200))


def test_nothing_is_loaded_from_elsewhere(cached_run):
    page = page_of(*cached_run)
    assert not re.search(r"https?://|<link(?! rel=\"icon\" href=\"data:)|@import", page)
    sources = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", page)
    assert sources and all(source.startswith(("data:", "#", "$")) for source in sources)


def test_the_browser_is_told_to_load_nothing():
    assert "default-src 'none'; img-src data:" in page_of(written())


def test_the_report_of_120_classes_is_smaller_than_5_megabytes():
    names = [f"class {number:03}" for number in range(120)]
    folder = written(2.0, names=names, pictures=720, bases=(BASE,))
    path = write.write_report(folder, cache_pictures(folder, noise=True))
    assert 1e6 < path.stat().st_size < 5e6


def test_of_many_classes_every_one_stands_in_a_group_that_can_be_opened():
    names = [f"class {number:03}" for number in range(120)]
    page = page_of(written(2.0, names=names, pictures=720))
    rows = re.findall(r"<tr><th scope=\"row\">(class \d+)</th><td", page)
    groups = re.findall(r"<details id=\"(group-\d+)\">", page)
    assert set(rows) == set(names) and all(f'href="#{group}"' in page for group in groups)


def test_a_run_without_history_features_or_audit_still_gets_its_report():
    page = page_of(written())
    assert NO_FEATURES in page and NO_PICTURES in page
    assert "no curve" in page and "There is no audit" in page and "was not recorded" in page


def test_the_worst_picture_is_shown_with_nearest_pictures_of_other_folds(cached_run):
    folder, digests = cached_run
    result = write.ValidationResult.load(write.load_run(folder))
    sections = write.PictureSections(result, digests)
    card = sections.build_worst()["cards"][0]
    fold_of = dict(zip(result.ids, result.oof.fold_of, strict=True))
    assert card["source"].startswith("data:image/jpeg") and len(card["nearest"]) == 3
    assert all(fold_of[other["name"]] != fold_of[card["name"]] for other in card["nearest"])
    assert all(other["label"] == card["label"] for other in card["nearest"])


def test_every_picture_has_an_alternative_text_and_every_heading_its_level(cached_run):
    page = visible(page_of(*cached_run))
    images, levels = re.findall(r"<img [^>]*>", page), [int(level) for level in re.findall(r"<h(\d)", page)]
    assert images and all(re.search(r'alt="Picture p\d+', image) for image in images)
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_link_of_the_contents_has_its_section(cached_run):
    page = page_of(*cached_run)
    assert all(f'<h2 id="{anchor}">' in page and f'href="#{anchor}"' in page for anchor, _ in write.CONTENTS)


def test_learning_curves_have_a_line_for_each_fold():
    folder = written()
    rows = [f"{fold},{epoch},{1 / (epoch + 1)},0.5,0.8,{epoch == 1}" for fold in (0, 1) for epoch in range(3)]
    write_text(folder / "history.csv", "\n".join(["fold,epoch,loss,val_loss,score,chosen", *rows, ""]))
    page = page_of(folder)
    assert page.count("Loss by epoch") == 2 and page.count('<polyline class="line grey dashed"') == 1 + 2


def test_stages_are_shown_with_their_time():
    folder = written()
    stages = [{"name": "pixels", "seconds": 12.5, "peak_megabytes": 345.6}]
    write_json(folder / "metrics.json", {**read_json(folder / "metrics.json"), "stages": stages})
    assert re.search(r"pixels</th><td class=\"number\">12\.5</td><td class=\"number\">346", page_of(folder))


def test_labels_that_the_audit_suspects_are_shown():
    folder = written()
    finding = {"check": "labels", "level": "look", "said": "1 label is suspected", "advice": ""}
    suspect = {"picture": "train/p7", "label": "d", "guess": "b"}
    record = {"title": "The audit", "findings": [finding], "suspects": [suspect], "pairs": []}
    write_json(paths.reports_folder(MINE.name) / "audit.json", record)
    page = page_of(folder)
    assert "1 label is suspected" in page and "the audit suspects <b>b</b>" in page


def test_the_steps_of_an_ensemble_are_shown_with_their_gains():
    folder = written()
    step = {"kind": "step", "name": "temperature", "score": 0.5, "spread": 0.1, "against": "ensemble", "gain": 0.02,
            "gain_low": 0.01, "gain_high": 0.03, "p_value": None, "verdict": "better, kept", "kept": True,
            "note": "divided by 1.2"}  # fmt: skip
    write_json(folder / "metrics.json", {**read_json(folder / "metrics.json"), "steps": [step]})
    page = page_of(folder)
    assert re.search(r"<td[^>]*>better</td><td>kept</td>", page), "a run of 0.2 has both in one phrase"
    assert "+0.02000" in page and "+0.01000 to +0.03000" in page and "divided by 1.2" in page


def test_an_unfinished_run_has_no_report():
    with pytest.raises(StarshiftError, match="not finished"):
        write.write_report(written(finished=False))


def test_nearest_pictures_of_a_single_fold_are_among_those_that_it_was_trained_on():
    folder = written(1.0, pictures=100, bases=(BASE,), folds=(2,))
    run = write.load_run(folder)
    card = write.PictureSections(write.ValidationResult.load(run), cache_pictures(folder)).build_worst()["cards"][0]
    assert len(card["nearest"]) == 3 and all(run.fold[other["name"]] != 2 for other in card["nearest"])


@pytest.mark.parametrize("folds", [(0, 1, 2, 3, 4), (0,)])
def test_the_mean_of_the_views_is_compared_with_the_first_view(folds):
    folder = written(1.0, folds=folds)
    with np.load(folder / "oof.npz") as stored:
        arrays = dict(stored)
    worse = (arrays["probabilities"] + 1) / 5
    runs.write_predictions(
        folder / "oof.npz", arrays["ids"], arrays["classes"], arrays["probabilities"], plain=worse, flip=worse
    )
    plain, flip, mean = write.results.build_steps(write.ValidationResult.load(write.load_run(folder)))
    assert (plain["verdict"], flip["verdict"], mean["verdict"]) == ("", "", "better")
    assert mean["against"] == "view plain" and mean["gain"].startswith("+") and " to +" in mean["ends"]


def test_a_test_picture_is_not_shown_as_the_training_picture_of_the_same_id(cached_run):
    folder, digests = cached_run
    pair = {"first": "train/p1", "second": "test/p2", "kinds": ["train and test"]}
    record = {"title": "The audit", "findings": [], "suspects": [], "pairs": [pair]}
    write_json(paths.reports_folder(MINE.name) / "audit.json", record)
    sections = write.PictureSections(write.ValidationResult.load(write.load_run(folder)), digests)
    (copy,) = sections.build_audit()["copies"]
    assert [bool(picture["source"]) for picture in copy["pictures"]] == [True, False]


def test_the_command_writes_the_report_of_an_older_run():
    folder = written()
    command = [sys.executable, "-m", "invoke", "report", "--run", folder.name]
    done = subprocess.run(command, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{folder.name}/report.html" in done.stdout, done.stderr
    assert (folder / "report.html").is_file()
