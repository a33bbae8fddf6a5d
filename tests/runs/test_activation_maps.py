"""Class-activation maps: a planted cue is where the map points, and the places of a map add up to the logit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import competitions
from pipeline.config import RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.models.heads import Head
from pipeline.run_report.write import write_report
from pipeline.runs import activation_maps, predictor
from pipeline.runs.folder import write_digests
from pipeline.training.export import HEADS_FILE, read_heads, write_heads
from pipeline.workflow import run as flow
from tests.conftest import drawn, encoded

SIDE, SQUARE, MARGIN = 96, 20, 12
"""The margin is half of what a place of the map sees: a random network answers to edges."""
BASE = "mobilenet_025@conv_pw_3_relu=none"


def plant(number):
    """A picture with a bright square, and the corner of the square."""
    top, left = np.random.default_rng(number).integers(4, SIDE - SQUARE - 4, 2)
    pixels = drawn(number, SIDE, SIDE)
    pixels[top : top + SQUARE, left : left + SQUARE] = 255
    return pixels, (int(top), int(left))


@pytest.fixture(scope="module")
def made(shared):
    """The folder of a run whose classes are told apart by the square alone."""
    for number in range(24):
        for name, pixels in (("square", plant(number)[0]), ("nothing", drawn(500 + number, SIDE, SIDE))):
            path = shared / "pictures" / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(pixels, "PNG"))
    file = shared / "cue.py"
    file.write_text(
        "from pipeline.config import *\nCOMPETITION = Competition(name='cue', data='pictures', metric='accuracy',"
        f"labels=Labels(test=None), recipe=Recipe(bases=({BASE!r},), size={SIDE}, folds=3))"
    )
    return flow.run(competitions.load(file), RunOptions(engine="keras"))


@pytest.fixture
def planted(made, take_over):
    return take_over(made)


def test_a_planted_cue_is_where_the_map_points(planted):
    explainer = activation_maps.load_explainer(planted)
    pictures = [plant(number) for number in range(100, 120)]
    label = explainer.classes.index("square")
    maps = explainer.draw_maps(explainer.extract({SIDE: np.stack([pixels for pixels, _ in pictures])}), [label] * 20)
    found = [np.unravel_index(one.argmax(), one.shape) for one in maps]
    inside = [all(-MARGIN <= at - begin < SQUARE + MARGIN for at, begin in zip(place, corner, strict=True))
              for place, (_, corner) in zip(found, pictures, strict=True)]  # fmt: skip
    assert np.mean(inside) >= 0.85  # by chance 0.21


def test_the_places_of_a_map_add_up_to_the_logit(planted):
    pixels = {SIDE: np.stack([plant(number)[0] for number in range(4)])}
    (part,) = activation_maps.load_explainer(planted).compute(pixels)
    weights = np.mean([head.layers[0][0] for head in read_heads(planted / HEADS_FILE)], axis=0)
    logits = predictor.load_predictor(planted).extract(pixels)[BASE] @ weights
    assert np.allclose(part.mean(axis=(1, 2)), logits - logits.mean(axis=1, keepdims=True), atol=1e-3)


def test_the_means_of_maps_are_the_features_that_the_run_predicts_with(planted):
    pixels = {SIDE: np.stack([plant(number)[0] for number in range(4)])}
    explainer = activation_maps.load_explainer(planted)
    pooled = explainer.pool_parts(explainer.extract(pixels))
    assert np.allclose(pooled[BASE], predictor.load_predictor(planted).extract(pixels)[BASE], atol=1e-5)


def test_the_means_of_maps_are_no_features_of_a_run_that_rounded_them_to_bfloat16(planted):
    metrics = json.loads((planted / "metrics.json").read_text())
    metrics["engines"][BASE]["engine"] = "openvino-bf16"
    (planted / "metrics.json").write_text(json.dumps(metrics))
    write_digests(planted)
    assert activation_maps.load_explainer(planted).texts == ()


def test_a_sheet_shows_each_picture_beside_its_map(planted, shared, tmp_path):
    files = predictor.find_pictures(str(shared / "pictures" / "train" / "square"))
    assert activation_maps.write_explanation(planted, files, tmp_path / "sheet.png", "square") == 24
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 4 * SIDE and sheet.height > 12 * SIDE


def test_readable_pictures_behind_many_broken_ones_are_drawn(planted, shared, tmp_path):
    (folder := tmp_path / "broken").mkdir()
    for number in range(30):
        (folder / f"{number}.jpg").write_bytes(b"junk")
    broken = predictor.find_pictures(str(folder))
    good = predictor.find_pictures(str(shared / "pictures" / "train" / "square"))
    files = broken | dict(list(good.items())[:2])
    assert activation_maps.write_explanation(planted, files, tmp_path / "sheet.png") == 2
    with pytest.raises(StarshiftError, match=r"No picture here(.|\n)*0\.jpg cannot be read(.|\n)*; 25 more cannot"):
        activation_maps.write_explanation(planted, broken, tmp_path / "none.png")


def test_the_report_shows_what_the_run_looks_at(planted):
    assert "map of " not in write_report(planted).read_text()
    page = write_report(planted, maps=True).read_text()
    assert page.count('alt="Picture map of ') >= 8 and "class-activation map: exact" in page


def test_a_class_that_the_run_does_not_know_is_named(planted, tmp_path):
    with pytest.raises(StarshiftError, match="knows no class 'circle'"):
        activation_maps.write_explanation(planted, {}, tmp_path / "sheet.png", "circle")


def test_a_network_explains_itself_with_its_own_maps(mine, tmp_path):
    competition = competitions.load(Path(mine))
    training = Training(epochs=1, unfreeze="all")
    recipe = replace(competition.recipe, strategy="finetune", bases=(BASE,), folds=2, training=training)
    folder = flow.run(replace(competition, recipe=recipe), RunOptions(engine="keras", folds=(0,)))
    pixels = {32: np.stack([drawn(number, 32, 32) for number in range(2)])}
    explainer = activation_maps.load_explainer(folder)
    maps = explainer.draw_maps(explainer.extract(pixels), [0, 1])
    assert maps.shape == (2, 32, 32) and np.ptp(maps) > 0


def test_the_gradients_of_a_head_of_several_layers_are_those_of_its_logits():
    random = np.random.default_rng(0)
    layers = [(random.normal(size=(a, b)), random.normal(size=b)) for a, b in ((5, 7), (7, 6), (6, 3))]
    head, at, step = Head(tuple(layers)), random.normal(size=(4, 5)), 1e-6

    def compute_logits(values):
        for number, (weights, bias) in enumerate(head.layers):
            values = (np.maximum(values, 0) if number else values) @ weights + bias
        return values

    for place in range(5):
        moved = at + step * (np.arange(5) == place)
        slope = (compute_logits(moved) - compute_logits(at)) / step
        assert np.allclose(head.compute_gradients(at)[:, place], slope, atol=1e-4)


def test_by_grad_cam_a_planted_cue_is_where_maximum_pooling_and_several_layers_look():
    maps = np.random.default_rng(0).uniform(0, 0.1, (1, 6, 6, 4)).astype(np.float32)
    maps[0, 2, 3, 1] = 5.0
    first = np.eye(8, 3, dtype=np.float32)  # the first three of the averaged channels
    first[5, 1] = 1.0  # and the maximum of the second
    head = Head(((first, np.zeros(3, np.float32)), (np.eye(3, dtype=np.float32), np.zeros(3, np.float32))))
    (weights,) = activation_maps.weigh_channels([maps], ["both"], [head])
    assert np.unravel_index((maps[0] @ weights[0, :, 1]).argmax(), (6, 6)) == (2, 3)


def test_a_head_of_several_layers_is_explained_by_grad_cam(planted):
    (first, *_), random = read_heads(planted / HEADS_FILE), np.random.default_rng(0)
    hidden = random.normal(size=(first.layers[0][0].shape[0], 8)).astype(np.float32)
    last = random.normal(size=(8, 2)).astype(np.float32)
    write_heads(planted / HEADS_FILE, [Head(((hidden, np.zeros(8, np.float32)), (last, np.zeros(2, np.float32))))])
    write_digests(planted)
    explainer = activation_maps.load_explainer(planted)
    maps = explainer.draw_maps(explainer.extract({SIDE: np.stack([plant(number)[0] for number in range(2)])}), [0, 1])
    assert explainer.method == activation_maps.GRAD_CAM and maps.shape == (2, SIDE, SIDE) and np.ptp(maps) > 0


def test_a_run_that_did_not_keep_its_heads_is_made_again(planted):
    (planted / HEADS_FILE).unlink()
    with pytest.raises(StarshiftError, match="make it again"):
        activation_maps.load_explainer(planted)
