"""Presets of KerasHub are fine-tuned by block, from activations that are cached at the block below."""

import keras
import numpy as np
import pytest

from pipeline.training import cross_validation
from pipeline.training.fold_data import FoldData
from pipeline.training.strategies import finetune
from tests.models.hub_tiny import save_preset

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("keras_hub")]


@pytest.fixture
def fitted_of(cv_of, tmp_path):
    """Fine-tunes a tiny preset: `fitted_of(family, unfreeze)` gives the job, and what came of it."""

    def make(family: str, unfreeze: str, **training):
        base = f"hub:{save_preset(tmp_path / family, family)}"
        cv = cv_of("finetune", base=base, unfreeze=unfreeze, cached_views=1, epochs=2, learning_rate=1e-3, **training)
        job = cross_validation.fill_caches(cv, []).job
        return job, finetune(FoldData(job))

    return make


@pytest.mark.parametrize(
    ("family", "unfreeze", "cut"),
    [("dinov2", "block2", "block1"), ("dinov3", "block2", "block1"), ("hgnetv2", "stage2", "stage1")],
)
def test_a_preset_is_trained_from_activations_cached_at_the_block_below(fitted_of, family, unfreeze, cut):
    job, fitted = fitted_of(family, unfreeze)
    assert job.cached and job.cut == cut
    assert 0 < fitted.facts["parity_difference"] < 2e-2


def test_the_blocks_below_the_cut_are_not_trained(fitted_of):
    _, fitted = fitted_of("vit", "block2", layer_decay=0.5)
    network = next(layer for layer in fitted.live.layers if isinstance(layer, keras.Model))
    assert {layer.name for layer in network.layers if layer.trainable_variables} == {"block2", "norm"}


def test_all_of_a_preset_can_be_trained_the_unused_mask_token_stays(fitted_of):
    job, fitted = fitted_of("registers", "all")
    assert job.cut is None and np.isfinite(fitted.history[-1]["val_loss"])
