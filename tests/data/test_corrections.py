"""Corrected labels lie beside the original ones, and every command reads them; a wrong file changes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

import competitions
from pipeline.config import RunOptions
from pipeline.data.corrections import apply_corrections, read_corrections, remove_corrections
from pipeline.data.folds import read_folds
from pipeline.data.labels import load_labeled_pictures
from pipeline.errors import StarshiftError
from pipeline.runs.folder import compute_split_digest
from pipeline.workflow import run as flow
from pipeline.workflow.finish import build_run_config
from tests.cli.test_tasks import invoke
from tests.conftest import two_classes
from tests.written import MINE

HEADER = "id,label,suggested,confidence,apply\n"


@pytest.fixture
def pets(tmp_path):
    """Three pictures each of blue and red."""
    two_classes(tmp_path / "pictures", each=3, tests=1)
    return replace(MINE, data=str(tmp_path / "pictures"), recipe=replace(MINE.recipe, folds=2))


@pytest.fixture
def correct(pets, tmp_path):
    """Corrects labels by a file with these rows."""

    def apply(rows, header=HEADER):
        (tmp_path / "mine.csv").write_text(header + rows)
        return apply_corrections(pets, labels_of(pets), tmp_path / "mine.csv")

    return apply


def labels_of(competition):
    train = load_labeled_pictures(competition)[0]
    return dict(zip(train["id"], train["label"], strict=True))


def test_rows_with_yes_are_corrected_and_the_others_are_not(pets, correct):
    original = labels_of(pets)
    correct("red/0.jpg,red,blue,0.9,yes\nred/1.jpg,red,blue,0.8,no\nred/2.jpg,red,blue,0.8,\n")
    assert labels_of(pets) == {**original, "red/0.jpg": "blue"}


def test_a_second_file_adds_to_the_first_one_and_the_same_file_changes_nothing(pets, correct):
    first = correct("red/0.jpg,red,blue,0.9,yes\n")
    assert correct("red/0.jpg,red,blue,0.9,yes\n") == first
    both = correct("blue/0.jpg,blue,red,,YES\n")
    assert both.labels == {"blue/0.jpg": ("blue", "red"), "red/0.jpg": ("red", "blue")}


def test_a_label_that_is_corrected_back_is_the_original_one(pets, correct):
    correct("red/0.jpg,red,blue,0.9,yes\n")
    assert correct("red/0.jpg,blue,red,0.9,yes\n").labels == {}
    assert labels_of(pets)["red/0.jpg"] == "red" and read_corrections("mine") is None


def test_undone_corrections_leave_the_original_labels(pets, correct):
    original = labels_of(pets)
    correct("red/0.jpg,red,blue,0.9,yes\n")
    assert len(remove_corrections("mine").labels) == 1 and labels_of(pets) == original
    with pytest.raises(StarshiftError, match="No labels of mine are corrected"):
        remove_corrections("mine")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "corrects nothing"),
        ("red/0.jpg,red,blue,0.9,no\n", "corrects nothing"),
        ("red/0.jpg,red,blue,0.9,maybe\n", "other words"),
        ("red/9.jpg,red,blue,0.9,yes\n", "unknown pictures"),
        ("red/0.jpg,red,green,0.9,yes\n", "unknown classes"),
        ("red/0.jpg,blue,red,0.9,no\nred/0.jpg,red,blue,0.9,yes\n", "pictures twice"),
        ("red/0.jpg,green,blue,0.9,yes\n", "other labels than the data's"),
        ("".join(f"red/{n}.jpg,red,blue,0.9,yes\n" for n in range(2)), "too few pictures"),
    ],
)
def test_a_file_that_does_not_fit_is_explained_and_changes_nothing(pets, correct, rows, words):
    with pytest.raises(StarshiftError, match=words):
        correct(rows)
    assert read_corrections("mine") is None


@pytest.mark.parametrize("header", ["id,label\n", "", "id|label|suggested|apply\n"])
def test_a_file_of_other_columns_is_no_table_of_corrections(pets, correct, header):
    with pytest.raises(StarshiftError, match=r"no table of corrected labels[^$]*id, label, suggested, apply"):
        correct("", header=header)


def test_pictures_that_are_gone_make_the_corrections_unusable(pets, correct, tmp_path):
    correct("red/0.jpg,red,blue,0.9,yes\n")
    (tmp_path / "pictures" / "train" / "red" / "0.jpg").rename(tmp_path / "pictures" / "train" / "red" / "7.jpg")
    with pytest.raises(StarshiftError, match=r"do not fit the data any more[^$]*--undo"):
        labels_of(pets)


def test_a_run_on_corrected_labels_is_another_run_with_the_folds_of_before(mine, home, caplog):
    caplog.set_level("INFO")
    competition, options = competitions.load(Path(mine)), RunOptions(engine="keras")
    before = flow.run(competition, options)
    config = build_run_config(competition, options, (0, 1, 2))
    assert "labels" not in config
    (home / "mine.csv").write_text(HEADER + "red/0.jpg,red,blue,0.9,yes\n")
    apply_corrections(competition, labels_of(competition), home / "mine.csv")
    assert build_run_config(competition, options, (0, 1, 2))["labels"]["corrected"] == 1
    after = flow.run(competition, options)
    assert "labels    1 corrected by" in caplog.text
    assert read_folds(before / "folds.csv") == read_folds(after / "folds.csv")
    assert compute_split_digest(before) != compute_split_digest(after)


def test_the_command_line_corrects_and_goes_back(mine, home, tmp_path):
    (tmp_path / "mine.csv").write_text(HEADER + "red/0.jpg,red,blue,0.9,yes\n")
    done = invoke("labels.apply", "--comp", mine, "--csv", str(tmp_path / "mine.csv"))
    assert done.returncode == 0 and "labels: 1 corrected by" in done.stdout, done.stderr
    undone = invoke("labels.apply", "--comp", mine, "--undo")
    assert undone.returncode == 0 and "1 are the original ones again" in undone.stdout
    assert "expected: --csv FILE, or --undo" in invoke("labels.apply", "--comp", mine).stderr
