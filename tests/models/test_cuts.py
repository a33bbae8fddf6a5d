"""Cuts: where a network can be cut, what a name to unfreeze from means, and that the two parts are the whole."""

import json

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.models import cuts
from pipeline.models.base import parse_base
from pipeline.models.build import build_network
from pipeline.models.registry import BASES


@pytest.fixture(scope="module")
def mobilenet():
    return build_network(parse_base("mobilenet_v2=none", 32))


def test_no_edge_crosses_a_bottleneck(mobilenet):
    layers = cuts.list_layers(mobilenet)
    alone = {layer.name for layer in layers if layer.bottleneck}
    assert {"block_2_add", "block_12_add", "block_13_project_BN"} <= alone
    assert "block_2_expand" not in alone and "block_15_project_BN" not in alone


@pytest.mark.parametrize(
    ("unfreeze", "cut"),
    [
        ("block_14", "block_13_project_BN"),
        ("block_15_project", "block_14_add"),
        ("Conv_1", "block_16_project_BN"),
        ("0.3", "block_11_add"),
        ("block_1", "expanded_conv_project_BN"),
        ("all", None),
        ("1.0", None),
    ],
)
def test_what_is_unfrozen_begins_above_the_last_bottleneck_before_it(mobilenet, unfreeze, cut):
    found = cuts.find_cut(cuts.list_layers(mobilenet), unfreeze)
    assert (found.name if found else None) == cut


@pytest.mark.parametrize("wrong", ["block_17", "block_", "0", "30", "1.5", "-0.3"])
def test_a_wrong_name_lists_the_blocks(mobilenet, wrong):
    with pytest.raises(StarshiftError, match="block_12, block_13, block_14"):
        cuts.find_cut(cuts.list_layers(mobilenet), wrong)


def test_a_misspelt_block_or_layer_is_answered_by_the_nearest(mobilenet):
    for wrong, meant in (("blok_12", "block_12"), ("outt_relu", "out_relu")):
        with pytest.raises(StarshiftError, match=rf"did you mean {meant}\?"):
            cuts.find_cut(cuts.list_layers(mobilenet), wrong)


def test_nothing_to_train_above_a_cut_is_said(mobilenet):
    with pytest.raises(StarshiftError, match="nothing to train"):
        cuts.find_cut(cuts.list_layers(mobilenet), "out_relu")


@pytest.mark.parametrize(("name", "unfreeze"), [("mobilenet_v2", "block_14"), ("convnext_tiny", "0.2")])
def test_lower_and_upper_part_are_the_whole(name, unfreeze):
    network = build_network(parse_base(f"{name}=none", 32))
    cut = cuts.find_cut(cuts.list_layers(network), unfreeze).name
    pictures = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    whole = network(pictures)
    parted = cuts.build_upper_part(network, cut)(cuts.build_lower_part(network, cut)(pictures))
    np.testing.assert_allclose(whole, parted, atol=1e-5)


def test_rates_fall_from_block_to_block(mobilenet):
    factors = cuts.compute_lr_factors(mobilenet, BASES["mobilenet_v2"].blocks, 0.5)
    assert factors["Conv_1/kernel"] == 1 and factors["block_16_project/kernel"] == 0.5
    assert factors["block_15_expand/kernel"] == 0.25 and factors["Conv1/kernel"] == 0.5**16
    assert cuts.compute_lr_factors(mobilenet, (), 1.0) == {}


def test_a_bases_layers_are_asked_for_in_another_process_and_remembered(monkeypatch):
    base = parse_base("mobilenet_025@conv_pw_3_relu=none", 32)
    first = cuts.load_layers(base)
    assert first[-1].name == "conv_pw_3_relu" and first[-1].shape == (8, 8, 32)
    assert [layer.name for layer in first if layer.bottleneck][-1] == "conv_pw_3_relu"
    monkeypatch.setattr(cuts, "run_command", None)
    assert cuts.load_layers(base) == first and json.dumps([layer.name for layer in first])


def test_auto_named_layers_do_not_hide_a_cut():
    keras.utils.clear_session()
    layers = cuts.list_layers(build_network(parse_base("xception=none", 71)))
    assert cuts.find_cut(layers, "block14").name == "add_11"
