"""What Kaggle answered to a submission, read from a run's folder."""

import pytest

from pipeline.errors import StarshiftError
from pipeline.files import write_json, write_text
from pipeline.kaggle.leaderboard import SubmissionScores, read_submission_scores


def test_a_run_that_was_not_submitted_has_no_answer(tmp_path):
    assert read_submission_scores(tmp_path) is None


def test_scores_are_read_the_private_one_once_it_is_known(tmp_path):
    write_json(tmp_path / "leaderboard.json", {"public": 0.61, "private": None, "ref": 123})
    assert read_submission_scores(tmp_path) == SubmissionScores(public=0.61)
    write_json(tmp_path / "leaderboard.json", {"public": 0.61, "private": 0.59, "ref": "123", "when": "2026-07-01"})
    assert read_submission_scores(tmp_path) == SubmissionScores(public=0.61, private=0.59)


@pytest.mark.parametrize("text", ["", "[]", '{"public": "0.6"}', '{"private": NaN}', '{"public": true}'])
def test_anything_else_is_refused_with_an_example(tmp_path, text):
    write_text(tmp_path / "leaderboard.json", text)
    with pytest.raises(StarshiftError, match="no answer of Kaggle's") as caught:
        read_submission_scores(tmp_path)
    assert '"public": 0.61' in str(caught.value)
