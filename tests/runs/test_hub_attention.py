"""Runs on tiny presets of KerasHub are explained by the attention of their blocks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import competitions
from pipeline.config import RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.models import base as bases
from pipeline.models.attention import compute_rollout
from pipeline.models.build import build_extractor
from pipeline.models.keras_private import record_attention
from pipeline.runs import activation_maps
from pipeline.workflow import run as flow
from tests.conftest import drawn
from tests.models.hub_tiny import SIDE, save_preset

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("keras_hub")]
PICTURES = np.stack([drawn(number, SIDE, SIDE) for number in range(3)])


def run_of(mine, base, **recipe):
    competition = competitions.load(Path(mine))
    changed = replace(competition.recipe, bases=(base,), folds=2, **recipe)
    return flow.run(replace(competition, recipe=changed), RunOptions(engine="keras", folds=(0,)))


@pytest.mark.parametrize(("family", "pooling"), [("dinov2", "cls"), ("registers", "avg"), ("dinov3", "cls+avg"),
                                                 ("vit", "cls"), ("siglip", "cls"), ("siglip", "avg")])  # fmt: skip
def test_each_family_s_attention_is_recorded_in_every_block(tmp_path, family, pooling):
    base = bases.parse_base(f"hub:{save_preset(tmp_path / family, family)}+{pooling}", SIDE)
    network = build_extractor(base)
    with record_attention(network) as recorded:
        features = np.asarray(network(PICTURES, training=False))
    assert np.array_equal(features, np.asarray(network(PICTURES, training=False)))
    blocks = [one for one in recorded if one.shape[1] > 1]
    assert len(blocks) == 2 and all(np.allclose(one.sum(axis=2), 1, atol=1e-5) for one in recorded)
    rollout = compute_rollout(network, base, PICTURES)
    assert rollout.shape == (3, 4, 4) and (rollout > 0).all()


def test_the_recorded_attention_is_that_of_keras(tmp_path):
    base = bases.parse_base(f"hub:{save_preset(tmp_path / 'vit', 'vit')}+cls", SIDE)
    network = build_extractor(base)
    block = next(layer for layer in network._flatten_layers() if layer.name == "block1")
    tokens = np.random.default_rng(0).normal(size=(2, 17, 16)).astype(np.float32)
    with record_attention(block) as recorded:
        block(tokens)
    normal = block.layer_norm_1(tokens)
    _, scores = block.mha(normal, normal, return_attention_scores=True)
    assert np.allclose(recorded[0], np.mean(np.asarray(scores), axis=1), atol=1e-6)


@pytest.mark.parametrize("recipe", [{}, {"strategy": "finetune", "training": Training(epochs=1, unfreeze="block2")}],
                         ids=["frozen", "fine-tuned"])  # fmt: skip
def test_a_run_on_a_vision_transformer_shows_where_it_looks(mine, tmp_path, recipe):
    folder = run_of(mine, f"hub:{save_preset(tmp_path / 'vit', 'vit')}+cls", **recipe)
    explainer = activation_maps.load_explainer(folder)
    maps = explainer.draw_maps(explainer.extract({SIDE: PICTURES}), [0, 1, 0])
    assert maps.shape == (3, SIDE, SIDE) and (maps >= 0).all() and np.ptp(maps) > 0
    assert explainer.legend.startswith("orange is where it looks (attention rollout")


def test_windows_of_attention_have_no_rollout(mine, tmp_path):
    folder = run_of(mine, f"hub:{save_preset(tmp_path / 'swin', 'swin')}")
    with pytest.raises(StarshiftError, match="Vision Transformers alone"):
        activation_maps.load_explainer(folder)
