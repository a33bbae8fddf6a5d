"""Fields that are set by text: parsed by their type, checked, and written back."""

from dataclasses import asdict

import pytest

from pipeline.cli.common import load_competition
from pipeline.config import Competition, Recipe
from pipeline.errors import StarshiftError
from pipeline.runs.folder import flatten_mapping
from pipeline.settings import apply_settings, format_setting, list_fields, parse_settings

MINE = Competition(name="mine", data="pictures")


def setting(*texts):
    return apply_settings(MINE, parse_settings(texts))


@pytest.mark.parametrize(
    ("text", "read", "value"),
    [
        ("folds=3", lambda c: c.recipe.folds, 3),
        ("l2=3e-5", lambda c: c.recipe.l2, 3e-5),
        ("size=none", lambda c: c.recipe.size, None),
        ("views=plain, flip,rotate90", lambda c: c.recipe.views, ("plain", "flip", "rotate90")),
        ("training.learning_rate=3e-5", lambda c: c.recipe.training.learning_rate, 3e-5),
        ("training.sizes=64,128", lambda c: c.recipe.training.sizes, (64, 128)),
        ("training.warp=False", lambda c: c.recipe.training.warp, False),
        ("labels.positive=dog", lambda c: c.labels.positive, "dog"),
        ("labels.pattern=(?P<label>a=b)", lambda c: c.labels.pattern, "(?P<label>a=b)"),
        ("submission.layout=class name", lambda c: c.submission.layout, "class name"),
        ("metric=log_loss", lambda c: c.metric, "log_loss"),
    ],
)
def test_a_field_is_set_by_its_type(text, read, value):
    assert read(setting(text)) == value


def test_fields_that_belong_together_are_checked_together():
    assert setting("labels.csv=labels.csv", "labels.image=name").labels.csv == "labels.csv"
    with pytest.raises(StarshiftError, match="Labels come from one place"):
        setting("labels.csv=labels.csv", "labels.pattern=(?P<label>.)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate=1", r"did you mean training\.learning_rate\?"),
        ("fold=3", r"did you mean folds\?"),
        ("training.pacience=3", r"did you mean training\.patience\?"),
        ("folds=many", "expected: a whole number"),
        ("training.warp=2", "expected: true or false or none"),
        ("training.epochs=1.5", "expected: a whole number from 1 to 10000 or none"),
        ("training.sizes=64.5", "expected: whole numbers with commas between them or none"),
        ("training.warp=flase", r"did you mean false\?"),
        ("folds", "field=value"),
        ("folds=99", "1 to 50"),
    ],
)
def test_a_mistake_says_what_was_expected(text, words):
    with pytest.raises(StarshiftError, match=words):
        setting(text)


def test_a_field_is_set_once():
    with pytest.raises(StarshiftError, match="folds is set twice"):
        parse_settings(["folds=3", "folds=4"])


def test_a_field_is_set_by_a_flag_or_by_set():
    with pytest.raises(StarshiftError, match="A field is set twice"):
        load_competition("dog-breed", None, ("training.epochs=3",), epochs=4)


def test_other_bases_take_their_own_size_however_they_are_named():
    assert load_competition("plant-seedlings", None, ("bases=mobilenet_v2",)).recipe.size is None


def test_what_is_formatted_is_parsed_to_the_same():
    recipe = Recipe(strategy="finetune", views=("plain",), l2=3e-5)
    flat = {name: value for name, value in flatten_mapping(asdict(recipe)).items() if name in list_fields()}
    assert parse_settings([format_setting(name, value) for name, value in flat.items()]) == flat
