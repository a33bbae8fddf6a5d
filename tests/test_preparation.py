"""The first stages: what one size cannot read is left out of all, and folds are those that there are."""

from dataclasses import replace
from pathlib import Path

import pytest

import competitions
from pipeline.config import Competition, Recipe
from pipeline.dataset import pixels
from pipeline.errors import StarshiftError
from pipeline.models.bases import parse
from pipeline.options import Options, as_made, folds_asked
from pipeline.preparation import prepare
from tests.conftest import drawn, encoded

pytestmark = pytest.mark.filterwarnings("ignore")
BASES = [parse("mobilenet_025@conv_pw_3_relu=none", size) for size in (32, 48)]


def test_a_picture_that_cannot_be_read_at_one_of_the_sizes_is_left_out(mine, monkeypatch):
    fill, broken = pixels.fill, []

    def failing(store, files):
        count = fill(store, files)
        if store.folder == pixels.pixel_store(48).folder:
            broken.append(next(name for name, path in files.items() if path.name == "3.jpg" and "blue" in str(path)))
            store.overlook({broken[0]: "the disk did not give it"})
        return count

    monkeypatch.setattr(pixels, "fill", failing)
    data = prepare(competitions.load(Path(mine)), BASES, Options())
    assert "train/blue/3.jpg" in data.unreadable and broken[0] not in data.files
    assert broken[0] not in set(data.pictures.train["sha256"])


def test_the_folds_that_are_asked_for_are_there(mine):
    competition = competitions.load(Path(mine))
    recipe = competition.recipe
    assert folds_asked(recipe, Options()) == (0, 1, 2) and folds_asked(recipe, Options(folds=(2,))) == (2,)
    assert folds_asked(as_made(competition, Options(debug=True)).recipe, Options(debug=True)) == (0, 1)
    with pytest.raises(StarshiftError, match=r"no such fold(.|\n)*0 to 2"):
        folds_asked(replace(recipe, seed=1), Options(folds=(0, 3)))


def test_the_table_stage_names_the_classes(tmp_path, caplog):
    for name in ("Black-grass", "Charlock", "Cleavers", "Fat Hen", "Maize"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "own" / name / f"{number}.jpg").write_bytes(encoded(drawn(number)))
    caplog.set_level("INFO")
    prepare(Competition(name="own", data=str(tmp_path / "own"), recipe=Recipe(folds=2)), BASES, Options(debug=True))
    assert "0 test pictures; 5 classes: Black-grass, Charlock, Cleavers, Fat Hen, ..." in caplog.text
