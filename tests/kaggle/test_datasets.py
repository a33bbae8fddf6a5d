"""Weights in a private dataset, through the real client: whole sets, exactly one version, uploads that go on."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from invoke import Context

from pipeline.cli.kaggle import weights as weights_task
from pipeline.config import Competition, Recipe
from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from pipeline.kaggle import datasets, retry, transfer
from pipeline.kaggle.client import authenticate
from pipeline.kaggle.inputs import NOTOP_SUFFIX
from pipeline.kernels import weights as weighing
from tests.kaggle.server import USER
from tests.kaggle.serving_datasets import Datasets, Stored
from tests.kaggle.serving_storage import Storage

REF = f"{USER}/starshift-weights"
SMALL, WIDE = "mobilenet_2_5_224_tf_no_top.h5", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
pytestmark = pytest.mark.filterwarnings("ignore")


def competition(*names: str, **recipe) -> Competition:
    return Competition(name="pets", slug="pets-slug", recipe=Recipe(bases=names or ("mobilenet_025",), **recipe))


def put_here(monkeypatch, tmp_path, *names: str, size: int = 300_000) -> Path:
    """Files that stand for weights, in Keras's folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folder = tmp_path / "keras" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(bytes([number + 1]) * size + name.encode())
    return folder


@pytest.fixture
def world(kaggle, monkeypatch, tmp_path):
    for name, value in (("FIRST_POLL", 0.01), ("MAX_POLL", 0.02), ("LOST_REPLY_SECONDS", 0.1)):
        monkeypatch.setattr(retry, name, value)
    folder = put_here(monkeypatch, tmp_path, SMALL, WIDE)
    place = Storage(kaggle)
    return SimpleNamespace(server=kaggle, storage=place, datasets=Datasets(kaggle, place), folder=folder)


def versions(world):
    return world.datasets.stored[REF].versions


def test_a_private_dataset_is_made_and_is_ready_when_the_command_ends(world):
    assert weighing.upload_weights(competition()) == f"{REF}/1"
    one = world.datasets.stored[REF]
    manifests = [name for name in one.versions[0] if name.startswith("starshift-weights-")]
    assert set(one.versions[0]) == {SMALL, *manifests} and len(manifests) == 1 and one.private and not one.processing
    assert one.versions[0][SMALL] == (world.folder / SMALL).read_bytes()
    assert hash_file(world.folder / SMALL).encode() in one.versions[0][manifests[0]]


def test_what_is_there_already_is_not_sent_again(world):
    weighing.upload_weights(competition())
    asked = world.server.count("StartBlobUpload")
    assert weighing.upload_weights(competition()) == f"{REF}/1" and world.server.count("StartBlobUpload") == asked


def test_a_version_replaces_all_files_so_those_that_were_there_are_sent_again(world):
    weighing.upload_weights(competition())
    assert weighing.upload_weights(competition("mobilenet_v2")) == f"{REF}/2"
    assert {SMALL, WIDE} <= set(versions(world)[1]) and len(versions(world)[1]) == 3
    assert weighing.upload_weights(competition("mobilenet_v2", "mobilenet_025")) == f"{REF}/2"


def test_weights_that_changed_are_sent(world):
    weighing.upload_weights(competition())
    (world.folder / SMALL).write_bytes(b"others")
    assert weighing.upload_weights(competition()) == f"{REF}/2" and versions(world)[1][SMALL] == b"others"


@pytest.mark.parametrize(("content", "sent"), [(b"same size", False), (b"another size", True)])
def test_what_a_public_dataset_has_is_not_sent(world, content, sent):
    name = f"xception_{NOTOP_SUFFIX}"
    (world.folder / name).write_bytes(b"our bytes")
    world.datasets.stored["gaborfodor/keras-pretrained-models"] = Stored("gaborfodor", "", False, [{name: content}])
    weighing.upload_weights(competition("xception"))
    assert (REF in world.datasets.stored) is sent


def test_a_public_dataset_that_has_gone_is_no_reason_not_to_send(world):
    (world.folder / f"xception_{NOTOP_SUFFIX}").write_bytes(b"our bytes")
    assert weighing.upload_weights(competition("xception")) == f"{REF}/1"


def test_what_would_be_lost_is_said(world, caplog):
    weighing.upload_weights(competition("mobilenet_v2"))
    (world.folder / WIDE).unlink()
    weighing.upload_weights(competition())
    assert f"without {WIDE}" in caplog.text


@pytest.mark.parametrize("fault", ["lost", "cut", "corrupt", "html"])
@pytest.mark.parametrize("method", ["CreateDataset", "CreateDatasetVersion"])
def test_a_version_whose_reply_was_lost_is_recognised_and_not_made_twice(world, method, fault):
    if method == "CreateDatasetVersion":
        weighing.upload_weights(competition("mobilenet_v2"))
    world.server.faults[method, fault] = 1
    count = len(world.datasets.stored[REF].versions) if REF in world.datasets.stored else 0
    assert weighing.upload_weights(competition()) == f"{REF}/{count + 1}"
    assert len(versions(world)) == count + 1 and world.server.count(method) == 1


@pytest.mark.parametrize("method", ["CreateDataset", "CreateDatasetVersion"])
def test_a_version_that_was_not_made_is_one_error_and_the_next_run_makes_it_without_sending_again(world, method):
    if method == "CreateDatasetVersion":
        weighing.upload_weights(competition("mobilenet_v2"))
    world.server.faults[method, "503"] = 1
    with pytest.raises(StarshiftError, match="not known whether"):
        weighing.upload_weights(competition())
    assert world.server.count(method) == 1
    started = world.server.count("StartBlobUpload")
    weighing.upload_weights(competition())
    assert world.server.count("StartBlobUpload") == started


@pytest.mark.parametrize("fault", ["500", "401"])
def test_a_dataset_that_cannot_be_looked_at_is_not_taken_for_missing(world, fault):
    world.server.faults["GetDatasetStatus", fault] = 99
    with pytest.raises(StarshiftError, match="server has a fault" if fault == "500" else "stale or wrong"):
        weighing.upload_weights(competition())
    assert world.server.count("CreateDataset") == world.server.count("StartBlobUpload") == 0


def test_a_dataset_that_is_being_processed_is_waited_for_before_it_gets_a_version(world):
    weighing.upload_weights(competition("mobilenet_v2"))
    world.datasets.stored[REF].processing = 4
    assert weighing.upload_weights(competition()) == f"{REF}/2"


def test_ready_is_not_believed_while_it_is_said_of_the_old_version(world, monkeypatch):
    weighing.upload_weights(competition("mobilenet_v2"))
    answers = iter([{"status": "READY"}] * 3)
    status, version = world.datasets.status, world.datasets.version
    old = {"currentVersionNumber": 1}

    def lagging(body):
        world.server.calls["GetDatasetStatus"] = lambda body: next(answers, None) or status(body)
        world.server.calls["GetDataset"] = lambda body: old if world.server.count("GetDataset") < 6 else get(body)
        return version(body)

    get = world.datasets.get
    world.server.calls["CreateDatasetVersion"] = lagging
    assert weighing.upload_weights(competition()) == f"{REF}/2"
    assert not world.datasets.stored[REF].processing


def test_kaggles_refusal_that_arrives_as_200_is_an_error(world):
    world.server.calls["CreateDataset"] = lambda _: {"status": "error", "error": "Storage quota exceeded"}
    with pytest.raises(StarshiftError, match=r"refuses the dataset(.|\n)*Storage quota exceeded"):
        weighing.upload_weights(competition())


def test_a_dataset_that_kaggle_fails_to_process_is_an_error(world):
    world.datasets.fails = True
    with pytest.raises(StarshiftError, match="could not process"):
        weighing.upload_weights(competition())
    assert weighing.upload_weights(competition()) == f"{REF}/2"


def test_a_dataset_that_does_not_get_ready_is_an_error_and_the_next_run_only_waits(world, monkeypatch):
    world.datasets.looks = 1000
    monkeypatch.setattr(retry, "POLL_TIMEOUT", 0.05)
    with pytest.raises(StarshiftError, match="not ready yet"):
        weighing.upload_weights(competition())
    world.datasets.stored[REF].processing = 1
    started = world.server.count("StartBlobUpload")
    assert weighing.upload_weights(competition()) == f"{REF}/1" and world.server.count("StartBlobUpload") == started


@pytest.mark.parametrize("fault", ["cut", "reset", "lost", "503", "500"])
def test_a_broken_upload_goes_on_where_it_stopped(world, fault):
    world.server.faults["upload", fault] = 1
    weighing.upload_weights(competition())
    assert versions(world)[0][SMALL] == (world.folder / SMALL).read_bytes()
    puts = [path for kind, path, _ in world.server.requests if kind == "PUT"]
    assert len({path.partition("?")[0] for path in puts}) == 2


def test_bytes_that_arrived_are_not_sent_twice(world, monkeypatch):
    sent = []
    plain = transfer.send_file
    monkeypatch.setattr(transfer, "send_file", lambda path, url, start=0: (sent.append(start), plain(path, url, start)))
    world.server.faults["upload", "cut"] = 2
    weighing.upload_weights(competition())
    size = (world.folder / SMALL).stat().st_size
    first = size * 2 // 3
    assert sent[:3] == [0, first, first + (size - first) * 2 // 3]


def test_an_upload_that_gets_on_is_not_given_up_and_one_that_does_not_is(world):
    world.server.faults["upload", "cut"] = 3 * retry.MAX_ATTEMPTS
    weighing.upload_weights(competition())
    world.server.faults["upload", "reset"] = 99
    (world.folder / SMALL).write_bytes(b"others")
    with pytest.raises(StarshiftError, match="broke off: sending"):
        weighing.upload_weights(competition())


def test_an_upload_goes_on_in_the_next_process(world):
    world.server.faults["upload", "cut"] = 1
    world.server.faults["upload", "500"] = 99
    with pytest.raises(StarshiftError):
        weighing.upload_weights(competition())
    (token,) = world.storage.uploads
    assert 0 < len(world.storage.uploads[token].received) < world.storage.uploads[token].total
    record = datasets.find_record_path(world.folder / SMALL)
    assert record.exists() and record.parent.stat().st_mode & 0o077 == 0
    world.server.faults.clear()
    weighing.upload_weights(competition())
    assert world.storage.uploads[token].whole and not record.exists()


def test_an_address_that_is_no_longer_valid_is_replaced(world):
    world.server.faults["upload", "500"] = 99
    with pytest.raises(StarshiftError):
        weighing.upload_weights(competition())
    world.server.faults.clear()
    world.server.faults["upload", "expired"] = 1
    assert weighing.upload_weights(competition()) == f"{REF}/1"


def test_a_dry_run_asks_nothing_and_says_what_would_be_sent(world, caplog):
    caplog.set_level("INFO")
    weighing.upload_weights(competition(), dry=True)
    assert world.server.requests == [] and f"{SMALL}, 0.3 MB" in caplog.text


def test_which_weights_a_recipe_needs_depends_on_its_strategy(world):
    def names(one):
        return [weights.name for weights in weighing.list_weights(one)]

    both = ("mobilenet_v2", "mobilenet_025")
    assert names(competition(*both)) == [WIDE, SMALL] and names(competition(*both, strategy="finetune")) == [WIDE]
    assert names(competition(*both, strategy="scratch")) == [] and names(competition("mobilenet_025=none")) == []
    assert names(competition("petite")) == ["petite_float16.weights.h5"]


def test_two_files_of_one_name_are_refused(world, tmp_path):
    other = tmp_path / SMALL
    other.write_bytes(b"mine")
    with pytest.raises(StarshiftError, match="one name"):
        weighing.list_weights(competition("mobilenet_025", f"mobilenet_025={other}"))


def test_directions_of_second_moments_are_learned_there_and_not_named_from_here():
    assert len(weighing.list_bases(competition("mobilenet_025+second"))) == 1
    with pytest.raises(StarshiftError, match=r"mobilenet_025\+second\n"):
        weighing.list_bases(competition("mobilenet_025+second:0123456789abcdef"))


def test_the_preflight_names_the_weights_that_would_be_missing(world):
    weighing.upload_weights(competition())
    api, both = authenticate(), (SMALL, WIDE)
    assert weighing.find_missing_weights(api, both, []) == [SMALL, WIDE]
    assert weighing.find_missing_weights(api, both, [REF]) == [WIDE]
    assert weighing.find_missing_weights(api, [], []) == []
    with pytest.raises(StarshiftError, match="knows no dataset 'tester/others'"):
        weighing.find_missing_weights(api, both, [f"{USER}/others"])


def test_a_public_dataset_that_has_the_files_counts_without_asking(world):
    names = [spec.name for spec in weighing.list_weights(competition("xception", "vgg16"))]
    api = authenticate()
    before = len(world.server.requests)
    assert weighing.find_missing_weights(api, names, ["gaborfodor/keras-pretrained-models"]) == []
    assert len(names) == 2 and len(world.server.requests) == before


def test_a_models_files_count(world):
    def listed(body):
        assert (body["ownerSlug"], body["modelSlug"], body["versionNumber"]) == ("me", "nets", 2)
        return {"files": [{"name": SMALL, "size": 3}]}

    world.server.calls["ListModelInstanceVersionFiles"] = listed
    assert weighing.find_missing_weights(authenticate(), (SMALL, WIDE), ["me/nets/keras/small/2"]) == [WIDE]


def test_the_accounts_own_dataset_is_at_hand_once_it_is_ready(world):
    assert weighing.find_own_dataset(authenticate(), [SMALL]) == []
    weighing.upload_weights(competition())
    assert weighing.find_own_dataset(authenticate(), [SMALL]) == [REF]
    assert weighing.find_own_dataset(authenticate(), [WIDE]) == []


def test_the_task_shows_what_is_needed_and_uploads_it(world, tmp_path, capsys):
    path = tmp_path / "pets.py"
    path.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="pets", slug="pets-slug", recipe=Recipe(bases=("mobilenet_025",)))\n'
    )
    weights_task(Context(), comp=str(path))
    said = capsys.readouterr().out
    assert SMALL in said and hash_file(world.folder / SMALL)[:16] in said and "--upload" in said
    weights_task(Context(), comp=str(path), upload=True)
    assert f"{REF} version 1 is ready" in capsys.readouterr().out
