"""The first stages: what one size cannot read is left out of all, and folds are those that there are."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import competitions
from pipeline.config import Competition, Recipe, RunOptions, apply_options, select_folds
from pipeline.data import pixel_cache
from pipeline.errors import StarshiftError
from pipeline.models.base import parse_base
from pipeline.workflow import prepare
from pipeline.workflow.prepare import warn_of_synthetic_bases
from pipeline.workflow.run import prepare_dataset
from tests.conftest import drawn, encoded

pytestmark = pytest.mark.filterwarnings("ignore")
BASES = [parse_base("mobilenet_025@conv_pw_3_relu=none", size) for size in (32, 48)]


def test_a_picture_that_cannot_be_read_at_one_of_the_sizes_is_left_out(mine, monkeypatch):
    fill, broken = pixel_cache.fill_pixel_store, []

    def failing(store, files):
        count = fill(store, files)
        if store.folder == pixel_cache.open_pixel_store(48).folder:
            broken.append(next(name for name, path in files.items() if path.name == "3.jpg" and "blue" in str(path)))
            store.overlook({broken[0]: "the disk did not give it"})
        return count

    monkeypatch.setattr(pixel_cache, "fill_pixel_store", failing)
    data = prepare_dataset(competitions.load(Path(mine)), BASES, RunOptions())
    assert "train/blue/3.jpg" in data.unreadable and broken[0] not in data.files
    assert broken[0] not in set(data.pictures.train["sha256"])


def test_the_folds_that_are_asked_for_are_there(mine):
    competition = competitions.load(Path(mine))
    recipe = competition.recipe
    assert select_folds(recipe, RunOptions()) == (0, 1, 2) and select_folds(recipe, RunOptions(folds=(2,))) == (2,)
    assert select_folds(apply_options(competition, RunOptions(debug=True)).recipe, RunOptions(debug=True)) == (0, 1)
    with pytest.raises(StarshiftError, match=r"no such fold(.|\n)*0 to 2"):
        select_folds(replace(recipe, seed=1), RunOptions(folds=(0, 3)))


def test_the_table_stage_names_the_classes(tmp_path, caplog):
    for place, name in enumerate(("Black-grass", "Charlock", "Cleavers", "Fat Hen", "Maize")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "own" / name / f"{number}.jpg").write_bytes(encoded(drawn(10 * place + number)))
    caplog.set_level("INFO")
    prepare_dataset(
        Competition(name="own", data=str(tmp_path / "own"), recipe=Recipe(folds=2)), BASES, RunOptions(debug=True)
    )
    assert "0 test pictures; 5 classes: Black-grass, Charlock, Cleavers, Fat Hen, ..." in caplog.text


@pytest.mark.parametrize(("text", "warned"), [("petite", True), ("petite=none", False), ("efficientnet_lite0", False)])
def test_a_base_that_knows_synthetic_pictures_alone_is_no_base_for_photographs(text, warned, mine, caplog):
    warn_of_synthetic_bases(competitions.load(Path(mine)), [parse_base(text)])
    assert ("synthetic pictures alone" in caplog.text) == warned


def test_no_warning_is_given_where_pictures_are_synthetic(caplog):
    warn_of_synthetic_bases(competitions.find("sprouts"), [parse_base("petite")])
    assert not caplog.text


def test_a_class_that_lies_in_one_fold_alone_is_named(caplog):
    train = pd.DataFrame({"label": ["a", "a", "b", "b"], "fold": [0, 1, 1, 1]})
    prepare._warn_of_lonely_classes(train, Recipe(folds=2))
    assert "1 classes lie in one fold alone, which is predicted without having seen them: b" in caplog.text
