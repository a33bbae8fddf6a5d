"""Code competitions: a kernel predicts the hidden test set with a run's models, within its time."""

import shutil
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline import paths
from pipeline.config import Recipe, RunOptions
from pipeline.errors import StarshiftError
from pipeline.kaggle import retry
from pipeline.kernels import bundle, code_submission, kernel_inference, records
from pipeline.kernels.code_submission import CodeSubmissionOptions, submit_code
from pipeline.runs import novelty
from pipeline.runs.folder import read_config, read_predictions
from pipeline.workflow import run, submit
from tests.conftest import drawn, encoded
from tests.kaggle.scoring import scorer
from tests.kaggle.server import USER
from tests.kaggle.serving_submissions import Competitions
from tests.kernels.conftest import PETS, SLUG

pytestmark = pytest.mark.filterwarnings("ignore")
HIDDEN = {f"h{number}.jpg": ("blue", "red")[number % 2] for number in range(10)}
TINTS = {"blue": (-60, -30, 90), "red": (90, -30, -60)}


@pytest.fixture(scope="module")
def hidden(tmp_path_factory, pets):
    """The competition with other test pictures, as Kaggle mounts it when it runs a kernel again."""
    folder = tmp_path_factory.mktemp("hidden") / "pets"
    shutil.copytree(pets, folder, ignore=shutil.ignore_patterns("test", "*.csv"))
    (folder / "test").mkdir()
    for number, (name, label) in enumerate(HIDDEN.items()):
        (folder / "test" / name).write_bytes(encoded(drawn(500 + number, tint=TINTS[label])))
    (folder / "sample_submission.csv").write_text("id,label\n" + "".join(f"{name},0.5\n" for name in HIDDEN))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pets):
    """A home with a finished run."""
    home = tmp_path_factory.mktemp("trained")
    bundle = home / "pets.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for file in sorted(pets.rglob("*.*")):
            archive.write(file, file.relative_to(pets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARSHIFT_HOME", str(home))
        run.run(replace(PETS, recipe=replace(PETS.recipe, folds=2)), RunOptions(engine="keras", bundle=bundle))
    return home


@pytest.fixture
def folder(trained, home):
    shutil.copytree(trained / "data", home / "data")
    return next(paths.runs_folder("pets").iterdir())


@pytest.fixture
def world(kernels, kaggle, hidden, folder, monkeypatch):
    for name, value in (("FIRST_POLL", 0.01), ("MAX_POLL", 0.05)):
        monkeypatch.setattr(retry, name, value)
    competitions = Competitions(kaggle, kernels.storage)
    competitions.scorers[SLUG] = scorer(PETS, HIDDEN)
    competitions.kernels_only.add(SLUG)
    competitions.hidden_sets[SLUG], competitions.kernels = hidden, kernels
    return SimpleNamespace(server=kaggle, kernels=kernels, competitions=competitions, folder=folder)


@pytest.fixture
def mounted(tmp_path, monkeypatch, folder, hidden):
    """Inside a kernel that has the hidden test set and the run."""
    archive, root = code_submission.pack_run(folder), tmp_path / "kaggle"
    for place, target in (("competitions/pets-slug", hidden), ("datasets/me/run", archive.parent)):
        (root / "input" / place).parent.mkdir(parents=True)
        (root / "input" / place).symlink_to(target)
    (root / "working").mkdir()
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(root))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "scratch"))
    return root


def complete(world, monkeypatch, text="id,label\n"):
    """Stands for kernels that run: each is complete as soon as it is pushed, with this submission; no code is sent."""
    save = world.kernels.save
    monkeypatch.setattr(bundle, "read_sources", dict)

    def save_and_end(body):
        answer = save(body)
        session = world.kernels.latest(body["slug"].partition("/")[2])
        (session.working / "submission.csv").write_text(text)
        session.end()
        return answer

    world.server.calls["SaveKernel"] = world.kernels.save = save_and_end


ANSWERS = "id,label\n" + "".join(f"{name},{0.9 if label == 'red' else 0.2}\n" for name, label in HIDDEN.items())


def test_a_kernel_predicts_the_hidden_test_set_with_the_run_s_models(mounted, folder):
    config = read_config(folder)
    there = kernel_inference.restore_run("pets", folder.name, config["fingerprint"])
    path = kernel_inference.write_hidden_submission(PETS, there, lambda: 60.0)
    table = pd.read_csv(path)
    assert list(table["id"]) == list(HIDDEN) and path == mounted / "working" / "submission.csv"
    right = (table["label"] > 0.5) == [label == "red" for label in HIDDEN.values()]
    assert right.mean() > 0.8 and not (there / "heads.npz").exists(), "bases' weights are not needed"


def test_the_visible_test_set_is_predicted_as_the_run_did(mounted, folder, pets):
    (mounted / "input" / "competitions" / "pets-slug").unlink()
    (mounted / "input" / "competitions" / "pets-slug").symlink_to(pets)
    there = kernel_inference.restore_run("pets", folder.name, read_config(folder)["fingerprint"])
    table = pd.read_csv(kernel_inference.write_hidden_submission(PETS, there, lambda: 60.0), index_col="id")
    ids, classes, probabilities = read_predictions(folder / "test.npz")
    assert np.allclose(table.loc[ids, "label"], probabilities[:, classes.index("red")], atol=1e-3)


def test_a_run_that_is_not_attached_is_named(mounted):
    with pytest.raises(StarshiftError, match="The run is not attached"):
        kernel_inference.restore_run("pets", "another", "0" * 64)


def predict_slowly(monkeypatch, seconds: float, views=("plain", "flip"), pictures: int = 8):
    """Predicts pictures of which each takes a second a view. Returns how many were, and with how many views each."""
    clock, used = [0.0], []
    monkeypatch.setattr(kernel_inference, "PART_SIZE", 2)
    monkeypatch.setattr(kernel_inference, "take_fewer_views", lambda one: SimpleNamespace(views=one.views[:1]))

    def predict(predictor, files):
        clock[0] += len(files) * len(predictor.views)
        used.extend([len(predictor.views)] * len(files))
        return SimpleNamespace(names=list(files), probabilities=np.full((len(files), 2), 0.5))

    monkeypatch.setattr(kernel_inference, "predict_pictures", predict)
    files = {str(number): paths.REPOSITORY for number in range(pictures)}
    rows = kernel_inference.predict_in_time(SimpleNamespace(views=views), files, lambda: seconds - clock[0])
    assert len(rows) == len(used)
    return used


def test_with_time_enough_every_picture_has_all_views(monkeypatch):
    assert predict_slowly(monkeypatch, 100) == [2] * 8


def test_where_time_is_short_the_rest_has_one_view(monkeypatch, caplog):
    assert predict_slowly(monkeypatch, 11) == [2, 2, *[1] * 6] and "the last 6 pictures" in caplog.text


def test_where_time_is_up_the_rest_is_left_out_and_said(monkeypatch, caplog):
    assert len(predict_slowly(monkeypatch, 7)) == 6 and "2 of 8 pictures get the classes' shares" in caplog.text


def test_pictures_without_a_prediction_get_the_shares_of_the_classes(mounted, folder, monkeypatch):
    there = kernel_inference.restore_run("pets", folder.name, read_config(folder)["fingerprint"])
    table = pd.read_csv(kernel_inference.write_hidden_submission(PETS, there, lambda: 0.0))
    assert np.allclose(table["label"], 0.5) and len(table) == len(HIDDEN)


def test_a_kernel_is_pushed_submitted_and_scored_and_the_run_travels_as_a_dataset(world, caplog, monkeypatch):
    caplog.set_level("INFO")
    complete(world, monkeypatch, ANSWERS)
    submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    body = next(body for name, body in world.server.asked if name == "SaveKernel")
    assert body["enableInternet"] is False and body["competitionDataSources"] == [SLUG]
    assert body["datasetDataSources"] == [f"{USER}/starshift-pets-{read_config(world.folder)['fingerprint'][:8]}"]
    sent = next(body for name, body in world.server.asked if name == "CreateCodeSubmission")
    assert sent["fileName"] == "submission.csv" and sent["kernelVersion"] == 1
    stored = pd.read_json(world.folder / "leaderboard.json", typ="series")
    assert stored["status"] == "complete" and 0 < stored["private"] < 0.5


def test_what_was_submitted_is_neither_pushed_nor_sent_again(world, monkeypatch):
    complete(world, monkeypatch, ANSWERS)
    for _ in range(2):
        submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    assert world.server.count("SaveKernel") == world.server.count("CreateCodeSubmission") == 1
    assert world.server.count("CreateDataset") == 1


def test_a_kernel_that_was_pushed_is_followed_and_not_pushed_again(world, monkeypatch):
    complete(world, monkeypatch, ANSWERS)
    world.server.faults["CreateCodeSubmission", "400"] = 1
    with pytest.raises(StarshiftError):
        submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    assert world.server.count("SaveKernel") == 1


def test_the_kernels_of_runs_do_not_include_it(world, monkeypatch):
    complete(world, monkeypatch, ANSWERS)
    submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    assert records.find_unfinished("pets") is None


def test_a_lost_reply_is_looked_for(world, monkeypatch):
    complete(world, monkeypatch, ANSWERS)
    world.server.faults["CreateCodeSubmission", "lost"] = 1
    submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    assert world.server.count("CreateCodeSubmission") == 1


def test_a_kernel_that_fails_is_not_submitted(world, monkeypatch):
    complete(world, monkeypatch)
    save = world.kernels.save

    def save_and_fail(body):
        answer = save(body)
        world.kernels.latest().end("ERROR")
        return answer

    world.server.calls["SaveKernel"] = save_and_fail
    with pytest.raises(StarshiftError, match="has written no submission: it ended as ERROR"):
        submit_code(PETS, world.folder.name, CodeSubmissionOptions())
    assert not world.server.count("CreateCodeSubmission")


def test_a_file_is_not_sent_to_a_code_competition(world):
    with pytest.raises(StarshiftError, match=r"is a code competition(.|\n)*invoke kernel\.submit"):
        submit.submit_run(PETS, world.folder.name)
    assert not world.server.count("StartSubmissionUpload")


def test_a_dry_run_sends_nothing(world, caplog):
    caplog.set_level("INFO")
    submit_code(PETS, world.folder.name, CodeSubmissionOptions(dry=True))
    assert not world.server.asked and "MB, for the private dataset starshift-pets-" in caplog.text


def test_a_time_too_short_is_refused(world):
    with pytest.raises(StarshiftError, match="So short a kernel"):
        submit_code(PETS, world.folder.name, CodeSubmissionOptions(hours=0.2))


def test_a_base_of_one_s_own_weights_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "own.h5").write_bytes(b"")
    own = Recipe(bases=(f"mobilenet_025={tmp_path / 'own.h5'}",), size=32)
    monkeypatch.setattr(
        code_submission.runs, "read_config", lambda _: {"competition": {"recipe": vars(own)}, "fingerprint": "0"}
    )
    with pytest.raises(StarshiftError, match="own weights file is not sent"):
        code_submission.list_run_files(folder)


@pytest.mark.slow
def test_a_code_competition_is_scored_on_its_hidden_test_set_without_a_network(world):
    world.kernels.python = sys.executable
    submit_code(PETS, world.folder.name, CodeSubmissionOptions(accelerator="cpu"))
    stored = pd.read_json(world.folder / "leaderboard.json", typ="series")
    assert stored["status"] == "complete" and stored["private"] < 0.6
    first, again = (world.kernels.sessions[name][0] for name in world.kernels.sessions)
    assert len(pd.read_csv(first.working / "submission.csv")) == 6
    assert list(pd.read_csv(again.working / "submission.csv")["id"]) == list(HIDDEN)


def test_training_pictures_are_not_read_where_the_data_is_packed(mounted, folder, hidden, monkeypatch):
    place = mounted / "input" / "competitions" / "pets-slug"
    place.unlink()
    place.mkdir()
    with zipfile.ZipFile(place / "pets.zip", "w") as archive:
        for file in sorted(hidden.rglob("*.*")):
            archive.write(file, file.relative_to(hidden))
    monkeypatch.setattr(novelty, "load_labeled_pictures", lambda *_: pytest.fail("that takes long"))
    there = kernel_inference.restore_run("pets", folder.name, read_config(folder)["fingerprint"])
    assert len(pd.read_csv(kernel_inference.write_hidden_submission(PETS, there, lambda: 60.0))) == len(HIDDEN)
