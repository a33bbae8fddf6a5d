"""Submitting through the real client: exactly once, whatever breaks, and the score comes into the run's folder."""

from types import SimpleNamespace

import numpy as np
import pytest
from invoke import Context

from pipeline import paths
from pipeline.cli.kaggle import submit as submit_task
from pipeline.config import Competition, Labels, Recipe, Submission
from pipeline.data.tables import SampleSubmission
from pipeline.errors import StarshiftError
from pipeline.evaluation import submission
from pipeline.files import hash_file, read_json, write_json, write_text
from pipeline.kaggle import retry
from pipeline.kaggle.leaderboard import read_submission_scores
from pipeline.runs import folder as runs
from pipeline.workflow import submit
from tests.kaggle.scoring import scorer
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions
from tests.written import probabilities, written

SLUG = "pets-slug"
PETS = Competition(
    name="pets",
    slug=SLUG,
    labels=Labels(csv="labels.csv", image="id", label="breed"),
    submission=Submission(image="id", layout="one column per class"),
    recipe=Recipe(folds=5),
)
NAMES = ["cat", "dog", "owl"]
IDS = [f"t{number}" for number in range(30)]
ANSWERS = {name: NAMES[number % 3] for number, name in enumerate(IDS)}
SCORER = scorer(PETS, ANSWERS)
SAMPLE = "id,cat,dog,owl\n" + "".join(f"{name},0.34,0.33,0.33\n" for name in IDS)
LOST = ("lost", "cut", "corrupt", "html")
pytestmark = pytest.mark.filterwarnings("ignore")


def finished(sure: float = 2.0, **options):
    """A finished run with its submission."""
    folder = written(sure, competition=PETS, names="abc", pictures=60, **options)
    test = probabilities(np.arange(30) % 3, 3, sure, seed=5)
    runs.write_predictions(folder / "test.npz", IDS, NAMES, test)
    table = submission.build_submission(PETS, SampleSubmission(ids=IDS, columns=["id", *NAMES]), IDS, test, NAMES)
    submission.write_submission(table, folder / "submission.csv")
    return folder


def data_here():
    write_text(paths.competition_folder("pets") / "raw" / "sample_submission.csv", SAMPLE)
    write_json(paths.competition_folder("pets") / "complete.json", {"members": 1})


@pytest.fixture
def world(kaggle, monkeypatch):
    """Kaggle with the competition, its data here, and no long waits."""
    for name, value in (("FIRST_POLL", 0.01), ("MAX_POLL", 0.05), ("LOST_REPLY_SECONDS", 0.05)):
        monkeypatch.setattr(retry, name, value)
    data_here()
    storage = Storage(kaggle)
    competitions = Competitions(kaggle, storage)
    competitions.scorers[SLUG] = SCORER
    return SimpleNamespace(server=kaggle, storage=storage, competitions=competitions)


def sent(world):
    return [one["text"] for one in world.competitions.submissions]


def test_a_run_is_submitted_scored_and_its_answer_kept(world, caplog):
    caplog.set_level("INFO")
    folder = finished()
    assert submit.submit_run(PETS, message="first try") == folder
    text = (folder / "submission.csv").read_text()
    stored, (public, private) = read_json(folder / "leaderboard.json"), SCORER(text)
    assert sent(world) == [text]
    assert (stored["public"], stored["private"]) == (float(public), float(private)) and stored["status"] == "complete"
    assert (
        read_submission_scores(folder).private == float(private)
        and stored["ref"] == world.competitions.submissions[0]["ref"]
    )
    mark = f"{folder.name} sha256:{hash_file(folder / 'submission.csv')[:16]}"
    assert stored["message"] == f"{mark} first try" == world.competitions.submissions[0]["description"]
    assert f"public {float(public):.5f}, private {float(private):.5f}" in caplog.text and "4 left" not in caplog.text


def test_a_score_is_placed_on_a_known_leaderboard(world, caplog):
    from dataclasses import replace

    caplog.set_level("INFO")
    known = replace(PETS, slug="dog-breed-identification")
    world.competitions.scorers[known.slug] = lambda _: ("0.40", "0.3305")
    finished()
    submit.submit_run(known)
    assert "the public score would be rank" in caplog.text
    assert "the private score would be rank 513 of 1,280 on the final leaderboard (top 40.0 %), no medal" in caplog.text


def test_the_best_run_is_taken_of_those_that_trained_every_fold(world):
    finished(1.0)
    best = finished(3.0)
    finished(6.0, folds=(0,))
    finished(7.0, debug=True)
    written(8.0, competition=PETS, names="abc", pictures=60)
    assert submit.submit_run(PETS, dry=True) == best


def test_a_named_run_is_taken_by_the_beginning_of_its_name(world):
    first = finished(1.0)
    finished(3.0)
    assert submit.submit_run(PETS, first.name, dry=True) == first
    with pytest.raises(StarshiftError, match="No run is called 'nothing'"):
        submit.submit_run(PETS, "nothing", dry=True)


def test_a_dry_run_needs_no_credentials_and_asks_nothing(world, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    folder = finished()
    submit.submit_run(PETS, dry=True)
    assert world.server.requests == [] and not (folder / "leaderboard.json").exists()
    assert "30 rows" in caplog.text and f"{folder.name} sha256:" in caplog.text


def test_what_was_submitted_is_not_submitted_again(world):
    finished()
    submit.submit_run(PETS)
    submit.submit_run(PETS, message="again")
    assert len(sent(world)) == 1 and world.server.count("CreateSubmission") == 1


@pytest.mark.parametrize("fault", LOST)
def test_a_submission_whose_reply_was_lost_is_recognised_and_not_sent_twice(world, fault):
    world.server.faults["CreateSubmission", fault] = 1
    world.competitions.hidden = 2
    folder = finished()
    submit.submit_run(PETS)
    assert len(sent(world)) == world.server.count("CreateSubmission") == 1
    assert read_json(folder / "leaderboard.json")["status"] == "complete"


def test_a_submission_that_is_met_with_silence_is_recognised_too(world, impatient):
    world.server.faults["CreateSubmission", "silence"] = 1
    finished()
    submit.submit_run(PETS)
    assert len(sent(world)) == world.server.count("CreateSubmission") == 1


@pytest.mark.parametrize("fault", ["reset", "500", "503"])
def test_a_submission_that_did_not_arrive_is_said_so_once_and_a_second_run_sends_it(world, fault):
    world.server.faults["CreateSubmission", fault] = 1
    folder = finished()
    with pytest.raises(StarshiftError, match=r"did not arrive(.|\n)*run again"):
        submit.submit_run(PETS)
    assert world.server.count("CreateSubmission") == 1 and not (folder / "leaderboard.json").exists()
    submit.submit_run(PETS)
    assert len(sent(world)) == 1


@pytest.mark.parametrize("fault", ["429", "gateway"])
def test_what_kaggle_put_off_is_asked_again_for_it_did_nothing(world, fault):
    world.server.faults["CreateSubmission", fault] = 2
    finished()
    submit.submit_run(PETS)
    assert world.server.count("CreateSubmission") == 3 and len(sent(world)) == 1


@pytest.mark.parametrize("fault", ["cut", "reset", "lost", "500", "503"])
def test_an_upload_that_fails_is_begun_anew_and_arrives_whole(world, fault):
    world.server.faults["upload", fault] = 2
    folder = finished()
    submit.submit_run(PETS)
    assert sent(world) == [(folder / "submission.csv").read_text()] and world.server.count("CreateSubmission") == 1
    assert world.server.count("StartSubmissionUpload") == 3


@pytest.mark.parametrize(("fault", "words"), [("500", "sending the submission failed"), ("403", "storage refuses")])
def test_an_upload_that_never_succeeds_is_an_error_and_nothing_is_submitted(world, fault, words):
    world.server.faults["upload", fault] = 99
    finished()
    with pytest.raises(StarshiftError, match=words):
        submit.submit_run(PETS)
    assert world.server.count("CreateSubmission") == 0


def test_an_answer_without_a_number_is_no_submission(world):
    world.server.calls["CreateSubmission"] = lambda _: {"message": "Could not submit to competition"}
    folder = finished()
    with pytest.raises(StarshiftError, match=r"did not take the submission(.|\n)*Could not submit to competition"):
        submit.submit_run(PETS)
    assert not (folder / "leaderboard.json").exists()


def test_where_none_is_left_today_nothing_is_sent(world):
    world.competitions.left = 0
    world.competitions.submissions.append({"ref": 1, "slug": "other", "description": "", "text": ""})
    finished()
    with pytest.raises(StarshiftError, match=r"No submission to pets-slug is left today(.|\n)*00:00 UTC"):
        submit.submit_run(PETS)
    assert world.server.count("StartSubmissionUpload") == 0


def test_who_does_not_take_part_is_sent_to_the_rules(world):
    world.competitions.entered = False
    finished()
    with pytest.raises(StarshiftError, match=r"does not take part(.|\n)*pets-slug/rules"):
        submit.submit_run(PETS)


def test_kaggles_reason_for_not_scoring_is_shown_and_the_next_try_is_a_new_submission(world):
    def wrong(_):
        raise ValueError("Evaluation Exception: Submission must have 418 rows")

    world.competitions.scorers[SLUG] = wrong
    folder = finished()
    with pytest.raises(StarshiftError, match="Submission must have 418 rows"):
        submit.submit_run(PETS)
    assert read_json(folder / "leaderboard.json")["status"] == "error" and read_submission_scores(folder).public is None
    world.competitions.scorers[SLUG] = SCORER
    submit.submit_run(PETS)
    assert len(sent(world)) == 2 and read_json(folder / "leaderboard.json")["status"] == "complete"


def test_an_old_submission_that_could_not_be_scored_is_not_taken_for_a_new_one_whose_reply_was_lost(world):
    def wrong(_):
        raise ValueError("ERROR: Unexpected Column")

    world.competitions.scorers[SLUG] = wrong
    finished()
    with pytest.raises(StarshiftError, match="Unexpected Column"):
        submit.submit_run(PETS)
    world.server.faults["CreateSubmission", "reset"] = 1
    with pytest.raises(StarshiftError, match="did not arrive"):
        submit.submit_run(PETS)


def test_a_new_submission_that_is_not_found_at_first_is_waited_for(world):
    world.competitions.hidden = 3
    folder = finished()
    submit.submit_run(PETS)
    assert world.server.count("GetSubmission") > 3 and read_json(folder / "leaderboard.json")["status"] == "complete"


def test_a_score_that_does_not_come_in_time_is_fetched_by_the_next_run(world, monkeypatch):
    monkeypatch.setattr(retry, "POLL_TIMEOUT", 0.05)
    world.competitions.looks = 1000
    folder = finished()
    with pytest.raises(StarshiftError, match="has no score yet"):
        submit.submit_run(PETS)
    assert read_json(folder / "leaderboard.json")["status"] == "pending"
    world.competitions.looks = 1
    submit.submit_run(PETS)
    assert len(sent(world)) == 1 and read_json(folder / "leaderboard.json")["public"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("t7,", "t8,", 1), "ids or their order"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "ids or their order"),
        (lambda text: text.replace("id,cat,dog", "id,dog,cat"), "columns"),
        (lambda text: text.replace("\nt3,0", "\nt3,x", 1), "values"),
        (lambda text: text.replace("\nt3,0", "\nt3,7", 1), "probabilities"),
    ],
)
def test_a_file_that_kaggle_would_refuse_is_refused_before_anything_is_sent(world, change, words):
    folder = finished()
    path = folder / "submission.csv"
    write_text(path, change(path.read_text()))
    with pytest.raises(StarshiftError, match=f"wrong {words}"):
        submit.submit_run(PETS)
    assert world.server.requests == []


@pytest.mark.parametrize("zipped", [False, True])
def test_without_the_data_here_the_sample_alone_is_fetched(world, zipped):
    import io
    import shutil
    import zipfile

    shutil.rmtree(paths.competition_folder("pets"))
    data = SAMPLE.encode()
    if zipped:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("sample_submission.csv", data)
        data = file.getvalue()
    world.competitions.singles[SLUG, "sample_submission.csv" + ".zip" * zipped] = data
    folder = finished()
    submit.submit_run(PETS)
    assert len(sent(world)) == 1
    write_text(folder / "submission.csv", "id,cat,dog,owl\nt0,1,0,0\n")
    with pytest.raises(StarshiftError, match="wrong ids"):
        submit.submit_run(PETS)


def test_ones_own_pictures_cannot_be_submitted():
    with pytest.raises(StarshiftError, match="no competition of Kaggle's"):
        submit.submit_run(Competition(name="mine", data="pictures"))


def test_where_there_is_no_run_the_command_to_make_one_is_named(world):
    with pytest.raises(StarshiftError, match="invoke run --comp pets"):
        submit.submit_run(PETS)


def test_the_task_shows_one_clear_error_and_no_traceback(world, tmp_path, capsys):
    path = tmp_path / "pets.py"
    path.write_text("from tests.kaggle.test_submissions import PETS as COMPETITION  # noqa: F401\n")
    finished()
    world.competitions.left = 1
    submit_task(Context(), comp=str(path), message="by hand")
    assert "sent     submission" in capsys.readouterr().out
    finished(4.0)
    with pytest.raises(SystemExit) as caught:
        submit_task(Context(), comp=str(path))
    said = capsys.readouterr()
    assert caught.value.code == 1 and said.err.count("error:") == 1 and "Traceback" not in said.err


def test_a_competition_that_is_not_described_takes_files(world):
    world.server.faults["GetCompetition", "400"] = 1
    finished()
    submit.submit_run(PETS)
    assert world.server.count("CreateSubmission") == 1
