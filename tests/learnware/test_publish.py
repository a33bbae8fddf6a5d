"""From a run to a learnware, to predictions and to a base of another run: the whole way on the command line."""

import csv
import json
import shutil

import numpy as np
import pytest

from pipeline.data import images
from pipeline.errors import StarshiftError
from pipeline.learnware import publish, store
from pipeline.learnware.publish import combine_licences
from pipeline.models.base import parse_base
from tests.cli.test_tasks import invoke
from tests.conftest import drawn, encoded, two_classes


def test_probe_pictures_are_drawn_or_those_of_a_folder(tmp_path, caplog):
    first = publish.load_probe_pictures(48)
    assert first.shape == (16, 48, 48, 3) and first.dtype == np.uint8
    assert np.array_equal(first, publish.load_probe_pictures(48)) and len({one.tobytes() for one in first}) == 16
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(encoded(drawn(number), "PNG"))
    (tmp_path / "0.png").write_bytes(b"broken")
    given = publish.load_probe_pictures(40, tmp_path)
    assert given.shape == (16, 40, 40, 3) and "0.png cannot be read" in caplog.text
    assert np.array_equal(given[0], images.resize(drawn(1), 40))


def test_the_licence_of_weights_is_carried_into_the_models():
    networks = [parse_base("hub:dinov2_small"), parse_base("hub:dinov2_small+cls"), parse_base("petite")]
    assert combine_licences("MIT", networks) == "MIT; weights of hub:dinov2_small: Apache-2.0"


def test_random_weights_have_no_licence():
    assert combine_licences("MIT", [parse_base("hub:dinov2_small=none")]) == "MIT"


@pytest.mark.parametrize("licence", ["not stated", "DINOv3 License"])
def test_weights_that_bind_what_is_made_of_them_say_so(licence):
    combined = combine_licences(licence, [parse_base("hub:dinov3_vit_small_lvd1689m")])
    assert combined.startswith("DINOv3 License; ") and "derivatives only under the same terms" in combined


def test_weights_that_bind_what_is_made_of_them_refuse_another_licence():
    with pytest.raises(StarshiftError) as error:
        combine_licences("MIT", [parse_base("hub:dinov3_vit_small_lvd1689m")])
    assert (error.value.expected, error.value.received) == ("DINOv3 License", "'MIT'")


@pytest.fixture
def mine(tmp_path):
    two_classes(tmp_path / "pictures", each=24)
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy",\n'
        '    recipe=Recipe(bases=("petite",), size=32, folds=3))\n'
    )
    return str(file)


@pytest.mark.slow
def test_a_run_enters_the_store_predicts_and_is_a_base(mine, home, tmp_path):
    done = invoke("run", "--comp", mine, "--engine", "keras")
    assert done.returncode == 0, done.stderr
    run = next((home / "data" / "runs" / "mine").iterdir()).name
    wrong = invoke("store.add", "--comp", mine, "--run", "2019")
    assert wrong.returncode == 1 and "No run is called '2019'" in wrong.stderr
    added = invoke("store.add", "--comp", mine, "--run", run, "--probe", "petite", "--licence", "MIT")
    assert added.returncode == 0, added.stderr
    assert "invoke predict --learnware mine-features" in added.stdout
    again = invoke("store.add", "--comp", mine, "--run", run)
    assert again.returncode == 1 and "There is a learnware 'mine-features' already" in again.stderr
    assert "mine-features  2        accuracy" in invoke("store.list").stdout
    shown = invoke("store.show", "--learnware", "mine-features").stdout
    assert "licence: MIT" in shown and "blue, red" in shown
    assert invoke("store.verify").returncode == 0
    out = tmp_path / "out.csv"
    flags = ("--learnware", "mine-features", "--images", str(tmp_path / "pictures" / "test"), "--out", str(out))
    assert invoke("predict", *flags).returncode == 0
    with out.open(newline="") as file:
        told = {row["picture"]: row["class_1"] for row in csv.DictReader(file)}
    assert [told[f"{number}.jpg"] for number in range(6)] == ["red", "blue"] * 3
    based = invoke("run", "--comp", mine, "--engine", "keras", "--base", "store:mine-features@stage2_block1_out")
    assert based.returncode == 0, based.stderr
    newest = max((home / "data" / "runs" / "mine").iterdir())
    assert json.loads((newest / "config.json").read_text())["competition"]["recipe"]["bases"] == [
        "petite@stage2_block1_out"
    ]
    archived = (home / "data" / "store" / "mine-features.learnware").read_bytes()
    assert str(tmp_path).encode() not in archived
    assert not any(path.read_bytes() in archived for path in (tmp_path / "pictures").rglob("*.jpg"))


@pytest.mark.slow
def test_a_fine_tuned_run_is_a_base_with_its_own_weights_for_a_new_competition(mine, home, tmp_path):
    flags = ("--comp", mine, "--engine", "keras", "--strategy", "finetune", "--fold", "1", "--epochs", "1")
    done = invoke("run", *flags, "--unfreeze", "end_conv")
    assert done.returncode == 0, done.stderr
    run = next((home / "data" / "runs" / "mine").iterdir())
    added = invoke("store.add", "--run", str(run), "--name", "tuned", "--probe", "petite")
    assert added.returncode == 0, added.stderr
    learnware = store.open_store(home / "data" / "store").learnware("tuned")
    assert learnware.specification.whole.pictures == 32 and learnware.specification.semantic.pictures == 32
    shutil.copytree(tmp_path / "pictures", tmp_path / "other")
    new = tmp_path / "new.py"
    new.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="new", data="other", metric="accuracy",\n'
        '    recipe=Recipe(bases=("store:tuned",), size=32, folds=3))\n'
    )
    based = invoke("run", "--comp", str(new), "--engine", "keras")
    assert based.returncode == 0, based.stderr
    (found,) = (home / "data" / "runs" / "new").iterdir()
    (base,) = json.loads((found / "config.json").read_text())["competition"]["recipe"]["bases"]
    assert base.startswith("petite=") and base.endswith(".weights.h5")
