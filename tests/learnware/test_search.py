"""Search: one's own task first, mixtures found again, strangers told, another probe refused."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware.search import DOES_NOT_FIT, FITS, PARTLY_FITS, search_specifications
from pipeline.learnware.specification import fit_specification
from tests.learnware.discrepancy import mmd
from tests.learnware.drawing import GAMMA, PROBE, WIDTH, features, specified

STORE = [specified("north", 0), specified("east", 3, ("Left_Side", "up")), specified("south", 6)]


def found(values, store=STORE, **options):
    return search_specifications(values, store, PROBE, GAMMA, **options)


@pytest.mark.parametrize("count", [2, 5, 20, 100, 300])
@pytest.mark.parametrize(("name", "direction"), [("north", 0), ("east", 3), ("south", 6)])
def test_new_pictures_of_a_task_find_its_learnware_first(name, direction, count):
    result = found(features(direction, count, 7)[0])
    assert result.matches[0].name == name
    assert result.matches[0].verdict == FITS
    assert [match.verdict for match in result.matches[1:]] == [DOES_NOT_FIT, DOES_NOT_FIT] or count == 2
    assert result.fits


def test_the_embedding_of_a_set_is_nearest_to_itself():
    for one in STORE:
        distances = [
            mmd(one.whole.points, one.whole.weights, other.whole.points, other.whole.weights, GAMMA) for other in STORE
        ]
        assert STORE[int(np.argmin(distances))] is one
        assert min(distances) == pytest.approx(0, abs=1e-9)


def test_a_mixture_of_two_tasks_is_recovered_and_covers_what_neither_does():
    values = np.concatenate([features(0, 140, 8)[0], features(6, 60, 8)[0]])
    result = found(values)
    weights = {match.name: match.weight for match in result.matches}
    assert weights == pytest.approx({"north": 0.7, "south": 0.3, "east": 0}, abs=0.05)
    assert {match.verdict for match in result.matches} == {DOES_NOT_FIT}
    assert result.covered
    assert result.fits
    assert result.belongs.count("north") == pytest.approx(140, abs=12)
    assert result.belongs.count("south") == pytest.approx(60, abs=12)


def test_unrelated_features_fit_nothing_alone_and_together():
    strange = np.random.default_rng(0).normal(0, 0.5, (50, WIDTH)) - 3 * np.eye(WIDTH)[10]
    result = found(strange)
    assert {match.verdict for match in result.matches} == {DOES_NOT_FIT}
    assert not result.covered
    assert not result.fits
    assert set(result.belongs) == {None}


def test_pictures_of_one_class_alone_are_a_part_of_the_task():
    values, labels = features(0, 200, 9)
    result = found(values[labels == 1])
    assert result.matches[0].name == "north"
    assert result.matches[0].verdict == PARTLY_FITS
    assert result.matches[0].at_home > 0.85


def test_sets_of_a_task_are_said_to_fit_about_as_often_as_promised():
    fits = [found(features(3, 20, seed)[0]).matches[0].verdict == FITS for seed in range(100, 160)]
    assert np.mean(fits) > 0.9


def test_what_is_typical_is_measured_on_pictures_that_were_not_fitted():
    random = np.random.default_rng(3)
    noise = [random.normal(0.5, 1, (count, 200)) for count in (120, 500)]
    one = fit_specification(
        noise[0], np.arange(120) % 12, [str(n) for n in range(12)], PROBE, GAMMA, STORE[0].semantic, points=60
    )
    result = found(noise[1], [one])
    assert result.matches[0].at_home > 0.85
    assert result.matches[0].verdict == FITS


def test_sets_are_held_against_sets_of_no_more_pictures():
    assert [found(features(0, count, 1)[0]).matches[0].compared for count in (2, 4, 7, 30, 900)] == [2, 2, 5, 20, 50]


def test_only_learnwares_that_know_every_class_are_compared():
    values = features(0, 20, 1)[0]
    result = found(values, classes=("left side",))
    assert [match.name for match in result.matches] == ["east"]
    assert result.left_out == dict.fromkeys(("north", "south"), "does not know left side")
    assert len(found(values, classes=("RIGHT",)).matches) == 2
    with pytest.raises(StarshiftError, match="no learnware to compare with"):
        found(values, classes=("left", "up"))


@pytest.mark.parametrize("change", [{"digest": "cd" * 32}, {"base": "mobilenet_v2"}, {"size": 96}])
def test_another_probe_is_refused_by_name(change):
    foreign = replace(STORE[1], probe=replace(PROBE, **change))
    with pytest.raises(StarshiftError, match="east was specified with another probe") as caught:
        found(features(0, 20, 1)[0], [STORE[0], foreign])
    assert str(next(iter(change.values())))[:12] in str(caught.value)


def test_another_gamma_another_width_and_an_empty_store_are_refused():
    values = features(0, 20, 1)[0]
    with pytest.raises(StarshiftError, match="another kernel"):
        search_specifications(values, STORE, PROBE, 2 * GAMMA)
    with pytest.raises(StarshiftError, match="another width"):
        found(values[:, :-1])
    with pytest.raises(StarshiftError, match="no learnware to compare with"):
        found(values, [])
    with pytest.raises(StarshiftError, match="needs pictures"):
        found(values[:1])
