"""Submissions are joined by id, written in the sample's order, and refused when Kaggle would refuse them."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import competitions
from pipeline.config import Competition
from pipeline.data.tables import SampleSubmission, read_csv_as_text
from pipeline.errors import StarshiftError
from pipeline.evaluation import metrics, submission

CLASSES = ["boxer", "pug"]
IDS = ["a", "b", "c"]
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], np.float32)


def made(name, sample, classes=CLASSES):
    return submission.build_submission(competitions.find(name), sample, IDS, PROBABILITIES, classes)


def test_rows_are_joined_to_ids_and_follow_the_samples_order():
    table = made("dog-breed", SampleSubmission(ids=["c", "a", "b"], columns=["id", "boxer", "pug"]))
    assert list(table["id"]) == ["c", "a", "b"] and table["boxer"].tolist()[1] == pytest.approx(0.9)


def test_class_columns_follow_the_samples_order_and_not_the_models():
    table = made("dog-breed", SampleSubmission(ids=IDS, columns=["id", "pug", "boxer"]))
    assert list(table.columns) == ["id", "pug", "boxer"] and table["pug"][0] == pytest.approx(0.1)


def test_seedlings_get_a_class_name_and_cats_the_probability_of_a_dog():
    names = made("plant-seedlings", SampleSubmission(ids=IDS, columns=["file", "species"]))
    assert list(names["species"])[:2] == ["boxer", "pug"]
    dogs = made("dogs-vs-cats", SampleSubmission(ids=IDS, columns=["id", "label"]), ["cat", "dog"])
    assert dogs["label"].tolist() == pytest.approx([0.1, 0.8, 0.5])


def test_an_id_without_a_prediction_is_an_error():
    with pytest.raises(StarshiftError, match="1 ids without one"):
        made("dog-breed", SampleSubmission(ids=["a", "b", "z"], columns=["id", "boxer", "pug"]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.assign(boxer=np.nan), "values"),
        (lambda t: t.assign(boxer=1.5), "probabilities"),
        (lambda t: t.assign(boxer=0.3), "sums"),
        (lambda t: t.iloc[::-1], "order"),
        (lambda t: t[["id", "pug", "boxer"]], "columns"),
    ],
)
def test_a_spoiled_submission_is_refused(spoil, words):
    sample = SampleSubmission(ids=IDS, columns=["id", "boxer", "pug"])
    with pytest.raises(StarshiftError, match=words):
        submission.check_submission(spoil(made("dog-breed", sample)), competitions.find("dog-breed"), sample, CLASSES)


def test_ones_own_pictures_get_their_class_and_every_probability():
    table = submission.build_submission(Competition(name="own", data="."), None, IDS, PROBABILITIES, CLASSES)
    assert list(table.columns) == ["id", "label", "boxer", "pug"] and table["label"][0] == "boxer"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(2**-20, 1, width=32), min_size=5, max_size=5), min_size=1, max_size=8))
def test_written_rows_sum_to_one(tmp_path_factory, rows):
    values = np.array(rows, np.float32)
    ids = [str(number) for number in range(len(values))]
    own = Competition(name="own", data=".")
    table = submission.build_submission(own, None, ids, values, list("vwxyz"))
    path = tmp_path_factory.getbasetemp() / "written.csv"
    submission.write_submission(table, path)
    written = pd.read_csv(path, dtype={"id": str})
    submission.check_submission(written, own, None, list("vwxyz"))


def test_metrics_are_the_known_values():
    truth = np.array([0, 1, 1])
    assert metrics.score("log_loss", truth, PROBABILITIES) == pytest.approx(-np.log([0.9, 0.8, 0.5]).mean(), rel=1e-5)
    assert metrics.score("accuracy", truth, PROBABILITIES) == pytest.approx(2 / 3)
    assert metrics.score("micro_f1", truth, PROBABILITIES) == pytest.approx(2 / 3)
    assert metrics.score("auc", truth, PROBABILITIES, positive=1) == 1.0
    assert metrics.score("auc", truth, PROBABILITIES, positive=0) == 1.0
    assert metrics.compute_chance_score("log_loss", np.array([0, 1]), 2) == pytest.approx(np.log(2))


def test_an_auc_of_one_class_and_predictions_that_are_no_numbers_are_errors():
    with pytest.raises(StarshiftError, match="both classes"):
        metrics.score("auc", np.zeros(3, int), PROBABILITIES)
    with pytest.raises(StarshiftError, match="no numbers"):
        metrics.score("log_loss", np.zeros(3, int), PROBABILITIES * np.nan)


@pytest.mark.parametrize("spoiled", [np.nan, -0.5, 0.0])
def test_a_class_name_is_never_made_up_from_values_that_are_no_probabilities(spoiled):
    values = PROBABILITIES.copy()
    values[1] = spoiled
    with pytest.raises(StarshiftError, match="probabilities"):
        submission.build_submission(
            competitions.find("plant-seedlings"),
            SampleSubmission(ids=IDS, columns=["file", "species"]),
            IDS,
            values,
            CLASSES,
        )


def test_a_picture_that_was_predicted_twice_and_a_class_that_was_not_are_errors():
    own = Competition(name="own", data=".")
    with pytest.raises(StarshiftError, match="wrong ids"):
        submission.build_submission(own, None, ["a", "b", "b"], PROBABILITIES, CLASSES)
    with pytest.raises(StarshiftError, match="wrong classes"):
        made("dog-breed", SampleSubmission(ids=IDS, columns=["id", "boxer", "poodle"]))


def test_a_class_may_be_called_like_a_column():
    own = Competition(name="own", data=".")
    table = submission.build_submission(own, None, IDS, PROBABILITIES, ["id", "label"])
    assert list(table.columns) == ["id", "label", "id", "label"]


def test_an_unknown_metric_is_an_error():
    with pytest.raises(StarshiftError, match="Unknown metric"):
        metrics.score("acuracy", np.array([0, 1, 1]), PROBABILITIES)


@pytest.mark.parametrize(
    "odd", ["Icon\r", "a\rb.jpg", "a\nb.jpg", 'a"b.jpg', "a,b.jpg", " a.jpg ", "'", "\t", "007", "NA"]
)
def test_any_id_keeps_its_row_whole(odd, tmp_path):
    own = Competition(name="own", data=".")
    table = submission.build_submission(own, None, ["a", odd, "b"], PROBABILITIES, CLASSES)
    submission.write_submission(table, tmp_path / "one.csv", tmp_path / "two.csv")
    found = read_csv_as_text(tmp_path / "one.csv")
    assert list(found["id"]) == ["a", odd, "b"] and list(found.columns) == ["id", "label", *CLASSES]
    assert np.allclose(found[CLASSES].astype(float), table[CLASSES], atol=1e-8)
    with (tmp_path / "two.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["id", "a", odd, "b"]


def test_a_submission_that_does_not_read_back_is_not_written(tmp_path, monkeypatch):
    own = Competition(name="own", data=".")
    table = submission.build_submission(own, None, ["a", "b\rc", "d"], PROBABILITIES, CLASSES)
    monkeypatch.setattr(submission, "format_csv", lambda rows: "".join(",".join(map(str, row)) + "\n" for row in rows))
    with pytest.raises(StarshiftError, match="read back"):
        submission.write_submission(table, tmp_path / "one.csv")
    assert not list(tmp_path.iterdir())


def test_a_submission_that_the_disk_spoils_does_not_count(tmp_path, monkeypatch):
    table = submission.build_submission(
        Competition(name="own", data="."), None, ["a", "b", "d"], PROBABILITIES, CLASSES
    )
    (tmp_path / "latest.csv").write_text("the one before")
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: path.write_text("spoilt"))
    with pytest.raises(StarshiftError, match="bytes on disk"):
        submission.write_submission(table, tmp_path / "latest.csv")
    assert (tmp_path / "latest.csv").read_text() == "the one before"


def test_numbers_are_written_as_before(tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "p": [1 / 3, 1e-12], "n": [1, 0]})
    submission.write_submission(table, tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_bytes() == b"id,p,n\na,0.333333333,1\nb,1e-12,0\n"
