"""Second moments: their root is a root, directions are learned once and have a name, and a run goes the whole way."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import sqrtm

import competitions
from pipeline.config import RunOptions
from pipeline.data import pixel_cache
from pipeline.errors import StarshiftError
from pipeline.models import inference_engines, pooling
from pipeline.models.base import parse_base
from pipeline.workflow.run import prepare_dataset
from tests.cli.test_tasks import invoke
from tests.conftest import drawn, encoded
from tests.features.conftest import pictures

pytestmark = pytest.mark.filterwarnings("ignore")
BASE = parse_base("mobilenet_025@conv_pw_3_relu+second=none", 32)
PLAIN = replace(BASE, pooling="avg")
SHOWN = np.stack([drawn(number, 32, 32) for number in range(6)])


def test_the_root_is_the_matrix_root_up_to_a_factor():
    rows = np.random.default_rng(0).normal(size=(3, 40, 8)).astype(np.float32) * [1, 1, 1, 1, 0.3, 0.3, 0.2, 0.2]
    values = rows.transpose(0, 2, 1) @ rows
    found = np.asarray(pooling.compute_matrix_sqrt(values, 8))
    for one, value in zip(found, values, strict=True):
        wanted = np.real(sqrtm(value))
        assert np.abs(one / np.linalg.norm(one) - wanted / np.linalg.norm(wanted)).max() < 2e-3
        straight = value / np.linalg.norm(value)
        assert np.abs(straight - wanted / np.linalg.norm(wanted)).max() > 0.05, "no root at all would be far away"


def test_features_are_the_average_and_after_it_the_root_of_the_moments_of_the_turned_maps():
    from pipeline.models.build import build_extractor

    base = pooling.name_directions(BASE, ["a"])
    turned = pooling.compute_directions(PLAIN, SHOWN)[:, :5]
    pooling.write_directions(base, turned)
    found = build_extractor(base).predict_on_batch(SHOWN)
    maps = build_extractor(replace(BASE, pooling="none")).predict_on_batch(SHOWN)
    channels = maps.shape[-1]
    assert found.shape == (6, channels + 15)
    np.testing.assert_allclose(found[:, :channels], maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    for row, picture in zip(found[:, channels:], maps.reshape(6, -1, channels) @ turned, strict=True):
        wanted = np.real(sqrtm((picture.T @ picture).astype(np.float64)))[np.triu_indices(5)]
        np.testing.assert_allclose(row, wanted / np.linalg.norm(wanted), atol=5e-3)


def test_directions_are_those_of_the_most_variance_and_the_same_every_time():
    from pipeline.models.build import build_extractor

    found = pooling.compute_directions(PLAIN, SHOWN)
    maps = build_extractor(replace(BASE, pooling="none")).predict_on_batch(SHOWN)
    rows = maps.reshape(-1, maps.shape[-1])
    assert found.shape == (maps.shape[-1], min(pooling.MAX_DIRECTIONS, maps.shape[-1]))
    np.testing.assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=1e-5)
    spread = (rows @ found).var(axis=0)
    assert (np.diff(spread) <= 1e-6).all() and spread[0] > 2 * rows.var(axis=0).mean()
    np.testing.assert_array_equal(found, pooling.compute_directions(PLAIN, SHOWN))
    assert (found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])] > 0).all()


def test_a_name_says_what_directions_were_learned_from():
    one = pooling.name_directions(BASE, ["a", "b"])
    assert one == pooling.name_directions(BASE, ["a", "b"]) and parse_base(str(one), 32) == one
    others = [
        pooling.name_directions(BASE, ["a", "c"]),
        pooling.name_directions(replace(BASE, cut="conv_pw_4_relu"), ["a", "b"]),
        pooling.name_directions(replace(BASE, weights="none:1"), ["a", "b"]),
        pooling.name_directions(replace(BASE, size=48), ["a", "b"]),
    ]
    assert len({one.pooling, *(other.pooling for other in others)}) == 5


def test_features_in_other_directions_of_the_same_name_are_other_features():
    base = pooling.name_directions(BASE, ["a"])
    pooling.write_directions(base, np.eye(32, 5, dtype=np.float32))
    one = inference_engines.build_extractor_spec(base)
    pooling.write_directions(base, np.eye(32, 6, dtype=np.float32))
    assert inference_engines.build_extractor_spec(
        base
    ) != one and "directions" not in inference_engines.build_extractor_spec(PLAIN)


def test_directions_that_are_not_learned_or_not_here_are_asked_for():
    with pytest.raises(
        StarshiftError, match=r"invoke features --comp COMP --base mobilenet_025@conv_pw_3_relu\+second=none"
    ):
        inference_engines.build_extractor_spec(BASE)
    base = pooling.name_directions(BASE, ["a"])
    with pytest.raises(StarshiftError, match=r"no such file(.|\n)*--base mobilenet_025@conv_pw_3_relu\+second=none"):
        pooling.read_directions(base)
    pooling.write_directions(base, np.eye(32, 5, dtype=np.float32))
    assert pooling.has_directions(base) and pooling.read_directions(base).shape == (32, 5)
    with pytest.raises(StarshiftError, match="another network"):
        pooling.read_directions(replace(base, size=48))
    whole = pooling.find_directions_path(base).read_bytes()
    for part in (b"", whole[:100]):
        pooling.find_directions_path(base).write_bytes(part)
        with pytest.raises(StarshiftError, match="a damaged file"):
            pooling.read_directions(base)
        assert not pooling.has_directions(base)
    with pytest.raises(StarshiftError, match="16 hex digits"):
        parse_base("mobilenet_025+second:mine")


def test_one_base_pooled_in_two_ways_is_one_model():
    from pipeline.models.heads import Head
    from pipeline.training.export import build_averaged_model, build_extractors

    base = pooling.name_directions(BASE, ["a"])
    pooling.write_directions(base, np.eye(32, 5, dtype=np.float32))
    both = [PLAIN, base]
    parts = [one.predict_on_batch(SHOWN).shape[1] for one in build_extractors(both)]
    head = Head(((np.zeros((sum(parts), 2), np.float32), np.array([1.0, 0.0], np.float32)),))
    assert build_averaged_model(both, [head]).predict_on_batch(SHOWN).shape == (6, 2) and parts[1] == parts[0] + 15


def test_what_cannot_be_learned_from_is_explained(tmp_path):
    other = tmp_path / "other.weights.h5"
    other.write_bytes(b"no weights")
    files = pictures(tmp_path, 3)
    store = pixel_cache.open_pixel_store(32)
    pixel_cache.fill_pixel_store(store, files)
    base = pooling.name_directions(parse_base(f"mobilenet_025+second={other}", 32), list(files))
    with pytest.raises(StarshiftError, match=r"does not fit mobilenet_025"):
        pooling.learn_directions(base, pixel_cache.read_pixels(store, list(files), files))
    assert not pooling.find_directions_path(base).exists()


def test_only_bases_that_are_looked_through_get_directions_once_and_other_pictures_give_others(mine, home, caplog):
    caplog.set_level("INFO")
    asked = competitions.load(Path(mine))
    bases = ("mobilenet_025@conv_pw_2_relu+avg=none", f"{BASE}", "mobilenet_025@conv_pw_1_relu+second=none")
    asked = replace(asked, recipe=replace(asked.recipe, bases=bases))
    seen = [replace(PLAIN, cut="conv_pw_2_relu"), BASE]
    named = prepare_dataset(asked, seen, RunOptions()).competition
    first, second, third = named.recipe.bases
    (file,) = (home / "data" / "directions").glob("*.npz")
    assert (first, third) == (bases[0], bases[2]) and second == f"mobilenet_025@conv_pw_3_relu+second:{file.stem}=none"
    assert "learned from 30 pictures, without labels" in caplog.text
    caplog.clear()
    assert prepare_dataset(asked, seen, RunOptions()).competition == named and "learned" not in caplog.text
    Path(mine).with_name("pictures").joinpath("test", "another.jpg").write_bytes(encoded(drawn(4711)))
    assert prepare_dataset(asked, seen, RunOptions()).competition != named
    assert f"other pictures gave {second}: named so, what is cached of it is used" in caplog.text


@pytest.mark.slow
def test_a_run_with_second_moments_says_the_name_of_their_directions(mine, home):
    flags = ("--comp", mine, "--engine", "keras", "--base", str(BASE))
    done = invoke("run", *flags)
    assert done.returncode == 0, done.stderr
    (file,) = (home / "data" / "directions").glob("*.npz")
    run = next((home / "data" / "runs" / "mine").iterdir())
    (text,) = json.loads((run / "config.json").read_text())["competition"]["recipe"]["bases"]
    assert text == f"mobilenet_025@conv_pw_3_relu+second:{file.stem}=none"
    assert json.loads((run / "metrics.json").read_text())["score"] > 0.9
