"""Cuts: where a network can be cut, what a name to unfreeze from means, and that the two parts are the whole."""

import json

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.models import cuts
from pipeline.models.bases import parse
from pipeline.models.extractor import build_network
from pipeline.models.table import BASES


@pytest.fixture(scope="module")
def mobilenet():
    return build_network(parse("mobilenet_v2=none", 32))


def test_no_edge_crosses_a_bottleneck(mobilenet):
    layers = cuts.survey(mobilenet)
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
    found = cuts.resolve(cuts.survey(mobilenet), unfreeze)
    assert (found.name if found else None) == cut


@pytest.mark.parametrize("wrong", ["block_17", "block_", "0", "30", "1.5", "-0.3"])
def test_a_wrong_name_lists_the_blocks(mobilenet, wrong):
    with pytest.raises(StarshiftError, match="block_12, block_13, block_14"):
        cuts.resolve(cuts.survey(mobilenet), wrong)


def test_nothing_to_train_above_a_cut_is_said(mobilenet):
    with pytest.raises(StarshiftError, match="nothing to train"):
        cuts.resolve(cuts.survey(mobilenet), "out_relu")


@pytest.mark.parametrize(("name", "unfreeze"), [("mobilenet_v2", "block_14"), ("convnext_tiny", "0.2")])
def test_lower_and_upper_part_are_the_whole(name, unfreeze):
    network = build_network(parse(f"{name}=none", 32))
    cut = cuts.resolve(cuts.survey(network), unfreeze).name
    pictures = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    whole = network(pictures)
    parted = cuts.upper_part(network, cut)(cuts.lower_part(network, cut)(pictures))
    np.testing.assert_allclose(whole, parted, atol=1e-5)


def test_rates_fall_from_block_to_block(mobilenet):
    factors = cuts.rate_factors(mobilenet, BASES["mobilenet_v2"].blocks, 0.5)
    assert factors["Conv_1/kernel"] == 1 and factors["block_16_project/kernel"] == 0.5
    assert factors["block_15_expand/kernel"] == 0.25 and factors["Conv1/kernel"] == 0.5**16
    assert cuts.rate_factors(mobilenet, (), 1.0) == {}


def test_a_bases_layers_are_asked_for_in_another_process_and_remembered(monkeypatch):
    base = parse("mobilenet_025@conv_pw_3_relu=none", 32)
    first = cuts.anatomy(base)
    assert first[-1].name == "conv_pw_3_relu" and first[-1].shape == (8, 8, 32)
    assert [layer.name for layer in first if layer.bottleneck][-1] == "conv_pw_3_relu"
    monkeypatch.setattr(cuts, "complete", None)
    assert cuts.anatomy(base) == first and json.dumps([layer.name for layer in first])


def test_auto_named_layers_do_not_hide_a_cut():
    keras.utils.clear_session()
    layers = cuts.survey(build_network(parse("xception=none", 71)))
    assert cuts.resolve(layers, "block14").name == "add_11"
