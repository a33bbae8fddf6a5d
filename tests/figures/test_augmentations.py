"""The sheet of augmented pictures shows exactly what training will see."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import competitions
from pipeline.data import images, transforms
from pipeline.errors import StarshiftError
from pipeline.figures import augmentations
from pipeline.files import hash_file
from tests.cli.test_tasks import invoke
from tests.conftest import two_classes


@pytest.fixture
def mine(tmp_path):
    two_classes(tmp_path / "pictures", each=3)
    (tmp_path / "pictures" / "train" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", recipe=Recipe(size=40, folds=2))\n'
    )
    return str(file)


def test_the_sheet_holds_each_picture_plain_and_as_augment_gives_it(mine, tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        augmentations, "draw_contact_sheet", lambda *given, **named: shown.update(named, given=given) or b"png"
    )
    augmentations.write_sheet(competitions.find(mine), pictures=50, views=2)
    pictures, columns = shown["given"]
    assert columns == 3 and shown["headings"] == ["plain", "augment-1", "augment-2"] and len(pictures) == 6 * 3
    assert set(shown["names"][:2]) == set(shown["names"][2:4]) == {"blue", "red"}
    expected = {}
    for path in (tmp_path / "pictures" / "train").glob("*/[0-9].jpg"):
        plain = images.decode(path.read_bytes(), 40)
        expected[plain.tobytes()] = transforms.apply_view("augment-2", plain[None], [hash_file(path)])[0]
    for row in range(0, 18, 3):
        assert np.array_equal(expected[pictures[row].tobytes()], pictures[row + 2])


def test_the_command_writes_a_sheet_and_another_seed_another_one(mine, home):
    place = home / "data" / "reports" / "mine" / "augmented.png"
    done = invoke("augmented", "--comp", mine, "--pictures", "2", "--views", "3")
    assert done.returncode == 0 and "augmented.png" in done.stdout, done.stderr
    with Image.open(place) as picture:
        assert picture.format == "PNG" and picture.size[0] > 4 * 100 and picture.size[1] > 2 * 100
    found, before = competitions.find(mine), place.read_bytes()
    for seed, same in ((0, True), (1, False)):
        recipe = replace(found.recipe, seed=seed)
        assert augmentations.write_sheet(replace(found, recipe=recipe), pictures=2, views=3) == place
        assert (place.read_bytes() == before) == same


def test_a_sheet_of_no_picture_is_refused(mine):
    with pytest.raises(StarshiftError, match="number of pictures"):
        augmentations.write_sheet(competitions.find(mine), pictures=0, views=2)
