"""Whole commands against every fault: each ends in success or in exactly one clear message. None shows credentials."""

import base64
import shutil
import zipfile
from pathlib import Path

import pytest
from invoke import Context

from pipeline import paths
from pipeline.cli.kaggle import submit, weights
from pipeline.cli.run import download
from pipeline.files import write_json, write_text
from pipeline.kaggle import retry
from tests.kaggle.server import KEY, USER
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions
from tests.kaggle.test_datasets import SMALL, put_here
from tests.kaggle.test_submissions import SAMPLE, SCORER, SLUG, finished

COMMANDS = {
    "submit": (submit, {}, ("ListSubmissions", "GetSubmissionLimits", "StartSubmissionUpload", "GetSubmission")),
    "weights": (weights, {"upload": True}, ("GetDatasetStatus", "GetDataset", "ListDatasetFiles", "StartBlobUpload")),
    "download": (download, {}, ("DownloadDataFiles",)),
}
PASSING = ("429", "gateway", "500", "503", "reset", "lost", "cut", "corrupt", "html")
REFUSALS = ("400", "401", "rules", "slug", "participate", "404", "dataset")
NONE_THERE = ("rules", "slug", "participate", "dataset", "404")
"""Of a dataset these say that there is none, which is no fault."""
SECRETS = (KEY, base64.b64encode(f"{USER}:{KEY}".encode()).decode(), "5ignature", "5ession")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("quick")]


@pytest.fixture
def world(kaggle, monkeypatch, tmp_path):
    """Kaggle with everything that the commands ask for, and a competition file."""
    for name, value in (("FIRST_POLL", 0.01), ("POLL_TIMEOUT", 1.0), ("LOST_REPLY_SECONDS", 0.05)):
        monkeypatch.setattr(retry, name, value)
    put_here(monkeypatch, tmp_path, SMALL, size=1000)
    (tmp_path / "bundles").mkdir()
    with zipfile.ZipFile(tmp_path / "bundles" / f"{SLUG}.zip", "w") as archive:
        archive.writestr("sample_submission.csv", SAMPLE)
        archive.writestr("train/1.jpg", b"x" * 100_000)
    storage = Storage(kaggle)
    competitions = Competitions(kaggle, storage, tmp_path / "bundles")
    competitions.scorers[SLUG] = SCORER
    Datasets(kaggle, storage)
    (tmp_path / "pets.py").write_text(
        "from dataclasses import replace\n"
        "from tests.kaggle.test_submissions import PETS\n"
        'COMPETITION = replace(PETS, recipe=replace(PETS.recipe, bases=("mobilenet_025",)))\n'
    )
    return kaggle


def outcome(command: str, tmp_path: Path, capsys) -> tuple[int, str, str]:
    """Runs a task; its exit code, and what it printed."""
    task, options, _ = COMMANDS[command]
    if command == "submit":
        finished()
        write_text(paths.competition_folder("pets") / "raw" / "sample_submission.csv", SAMPLE)
        write_json(paths.competition_folder("pets") / "complete.json", {"members": 1, "bytes": 1, "date": "2026"})
    code = 0
    try:
        task(Context(), comp=str(tmp_path / "pets.py"), **options)
    except SystemExit as exit:
        code = int(exit.code)
    said = capsys.readouterr()
    assert not any(secret in said.out + said.err for secret in SECRETS)
    return code, said.out, said.err


def one_message(code: int, err: str) -> bool:
    return code == 1 and err.count("error: ") == 1 and "Traceback" not in err and "remedy: " in err


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("command", ["submit", "weights"])
def test_every_call_that_may_be_repeated_survives_a_passing_fault(world, tmp_path, capsys, command, fault):
    methods = COMMANDS[command][2]
    if command == "weights":
        assert outcome(command, tmp_path, capsys)[0] == 0
        put = paths.home_folder().parent / "keras" / "models" / SMALL
        put.write_bytes(b"a second version")
    world.faults |= {(method, fault): 1 for method in methods}
    assert outcome(command, tmp_path, capsys)[0] == 0
    assert all(world.faults[method, fault] == 0 for method in methods)


@pytest.mark.parametrize("fault", [*REFUSALS, *PASSING])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_fault_that_stays_is_one_clear_message(world, tmp_path, capsys, command, fault):
    if command == "download" and fault in ("cut", "corrupt"):
        return  # its answer has no body
    for method in COMMANDS[command][2]:
        world.faults.clear()
        world.faults[method, fault] = 999
        code, _, err = outcome(command, tmp_path, capsys)
        none_there = command == "weights" and method != "StartBlobUpload" and fault in NONE_THERE
        assert one_message(code, err) or (none_there and code == 0) or world.faults[method, fault] == 999, (method, err)


@pytest.mark.parametrize("fault", ["cut", "reset", "500", "503", "corrupt", "html", "404"])
def test_a_download_ends_whole_or_with_one_message_whatever_the_storage_does(world, tmp_path, capsys, fault):
    world.faults["storage", fault] = 1
    code, _, err = outcome("download", tmp_path, capsys)
    folder = paths.competition_folder("pets")
    if code:
        assert one_message(code, err) and not (folder / "raw").exists() and not (folder / "complete.json").exists()
    assert (code == 0) == (fault in ("cut", "reset", "500", "503"))
    assert (
        outcome("download", tmp_path, capsys)[0] == 0 and (folder / "raw" / "train" / "1.jpg").stat().st_size == 100_000
    )


def test_a_download_that_stays_broken_is_one_message_without_the_signed_address(world, tmp_path, capsys):
    world.faults |= {("storage", "cut"): 1, ("storage", "500"): 999}
    code, _, err = outcome("download", tmp_path, capsys)
    assert one_message(code, err) and ("server has a fault" in err or "broke off" in err)


def test_silence_ends_every_command_with_one_message(world, tmp_path, capsys, impatient):
    for command, (_, _, methods) in COMMANDS.items():
        world.faults.clear()
        world.faults[methods[0], "silence"] = 99
        shutil.rmtree(paths.competition_folder("pets"), ignore_errors=True)
        code, _, err = outcome(command, tmp_path, capsys)
        assert one_message(code, err) and "did not answer in time" in err


@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_that_is_written_or_printed_has_credentials_in_it(world, tmp_path, capsys, monkeypatch, verbose):
    if verbose:
        from kaggle.api.kaggle_api_extended import KaggleApi

        monkeypatch.setattr(KaggleApi, "args", ["--verbose"])
    world.faults |= {("upload", "500"): retry.MAX_ATTEMPTS, ("upload", "reset"): 1, ("CreateSubmission", "lost"): 1}
    for command in COMMANDS:
        outcome(command, tmp_path, capsys)
        shutil.rmtree(paths.competition_folder("pets"), ignore_errors=True)
    written = [path for path in paths.home_folder().rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        private = path.parent == paths.cache_folder("uploads") and path.parent.stat().st_mode & 0o077 == 0
        assert private or not any(secret.encode() in path.read_bytes() for secret in SECRETS), path


def test_polling_ends_with_the_first_result_that_is_done():
    states = iter(["pending", "pending", "complete", "never reached"])
    assert retry.poll(lambda: next(states), lambda state: state == "complete") == "complete"


def test_polling_returns_the_last_result_when_the_time_is_up(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_POLL", 0.01)
    assert retry.poll(lambda: "pending", lambda state: state == "complete", timeout=0.0) == "pending"
