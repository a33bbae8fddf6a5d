"""docs/add-a-competition.md is followed: its file, its labels and its submissions, on drawn archives of each layout."""

import ast
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import competitions
from pipeline import config
from pipeline.config import RunOptions
from pipeline.errors import StarshiftError
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.submission import build_submission, check_submission
from pipeline.models.base import parse_base
from pipeline.paths import REPOSITORY
from pipeline.workflow import run as flow
from pipeline.workflow.run import prepare_dataset
from tests.conftest import drawn, encoded

DOCUMENT = (REPOSITORY / "docs" / "add-a-competition.md").read_text()
FILE, *BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
LAYOUTS = ("csv", "folders", "names")
TINTS = {"healthy": (-60, 40, -60), "rust": (90, 0, -60), "scab": (-30, -40, 90)}
TESTS = range(900, 904)


def evaluate_lines(block):
    """The values of a block's lines after its import."""
    lines = [node for node in ast.parse(block).body if isinstance(node, ast.Expr)]
    return [eval(ast.unparse(line), vars(config)) for line in lines]


LABELS, SUBMISSIONS = map(evaluate_lines, BLOCKS)


def write_archive(path, layout):
    """An archive as the document describes it, three classes (two with labels in file names), six pictures each."""
    folders = ("train_images", "test_images") if layout == "csv" else ("train", "test")
    place = {"csv": "{n}.jpg", "folders": "{name}/{n}.png", "names": "{name}_{n}.jpg"}[layout]
    head, row = {"csv": ("image_id,rust,scab,healthy", "{n},.3,.3,.4"), "folders": ("file,species", "{n}.png,rust"),
                 "names": ("id,target", "{n},.5")}[layout]  # fmt: skip
    pictures = [(name, 10 * k + n, tint) for k, (name, tint) in enumerate(TINTS.items()) for n in range(6)
                if layout != "names" or name != "scab"]  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, n, tint in pictures:
            archive.writestr(f"{folders[0]}/{place.format(name=name, n=n)}", encoded(drawn(n, tint=tint)))
        for n in TESTS:
            suffix = ".png" if layout == "folders" else ".jpg"
            archive.writestr(f"{folders[1]}/{n}{suffix}", encoded(drawn(n)))
        if layout == "csv":
            archive.writestr("train.csv", "\n".join(["image_id,disease", *(f"{n},{name}" for name, n, _ in pictures)]))
        archive.writestr("sample_submission.csv", "\n".join([head, *(row.format(n=n) for n in TESTS)]))
    return path


@pytest.fixture
def written(tmp_path):
    """The document's file."""
    (tmp_path / "leaf_rust.py").write_text(FILE)
    return str(tmp_path / "leaf_rust.py")


def follow(written, tmp_path, layout):
    """The dataset of the document's file, with the labels and the submission of a layout."""
    place = LAYOUTS.index(layout)
    competition = replace(competitions.find(written), labels=LABELS[place], submission=SUBMISSIONS[place])
    options = RunOptions(bundle=write_archive(tmp_path / f"{layout}.zip", layout))
    return competition, prepare_dataset(competition, [parse_base("mobilenet_025=none", 32)], options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_and_submission_of_a_layout_fit_its_archive(layout, written, tmp_path):
    competition, data = follow(written, tmp_path, layout)
    classes = ["rust", "scab", "healthy"] if layout == "csv" else sorted(TINTS)[: 2 if layout == "names" else 3]
    ids = list(data.pictures.test["id"])
    assert data.pictures.classes == classes and len(ids) == len(TESTS)
    shares = [[1 / len(classes)] * len(classes)] * len(ids)
    table = build_submission(competition, data.sample, ids, shares, classes)
    check_submission(table, competition, data.sample, classes)


@pytest.mark.slow
def test_the_file_goes_the_whole_way(written, tmp_path):
    archive = write_archive(tmp_path / "leaf-rust-2026.zip", "csv")
    competition = competitions.find(written)
    recipe = replace(competition.recipe, bases=("mobilenet_025@conv_pw_3_relu=none",), size=32)
    folder = flow.run(replace(competition, recipe=recipe), RunOptions(bundle=archive, engine="keras"))
    assert (folder / "submission.csv").read_text().splitlines()[0] == "image_id,rust,scab,healthy"


def test_an_archive_that_does_not_fit_is_refused(written, tmp_path):
    with pytest.raises(StarshiftError, match="is not leaf-rust's archive"):
        flow.run(competitions.find(written), RunOptions(bundle=write_archive(tmp_path / "names.zip", "names")))


def test_the_document_names_every_metric():
    assert all(f"`{name}`" in DOCUMENT for name in METRICS)


MISTAKES = {
    "rows of train.csv have no picture": ('folder="train_images"', 'folder="test_images"'),
    "test pictures are missing": ('test="test_images"', 'test="tests"'),
    "train.csv has other columns": ('"disease"', '"illness"'),
    "sample_submission.csv has other columns": ('"one column per class"', '"class name"'),
    "Labels.positive is no class": ('csv="train.csv"', 'csv="train.csv", positive="1"'),
    "There are too few pictures to learn from": ("folds=5", "folds=7"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_ends_in_the_error_that_the_document_explains(message, written, tmp_path):
    Path(written).write_text(FILE.replace(*MISTAKES[message]))
    with pytest.raises(StarshiftError) as error:
        flow.run(competitions.find(written), RunOptions(bundle=write_archive(tmp_path / "leaf.zip", "csv")))
    assert message in str(error.value) and f"{message} |" in DOCUMENT
