"""Weights at half their size."""

import h5py
import numpy as np
import pytest

from pipeline.models.petite import save_float16_weights

pytestmark = pytest.mark.filterwarnings("ignore")


def test_halved_weights_load_again_with_half_the_bytes_and_only_rounding_lost(tmp_path):
    import keras

    network = keras.Sequential([keras.Input((32,)), keras.layers.Dense(300, name="wide"), keras.layers.Dense(40)])
    save_float16_weights(network, tmp_path / "half.weights.h5")
    network.save_weights(tmp_path / "full.weights.h5")
    kept = [np.array(values) for values in network.get_weights()]
    network.set_weights([np.zeros_like(values) for values in kept])
    network.load_weights(tmp_path / "half.weights.h5")
    for before, after in zip(kept, network.get_weights(), strict=True):
        assert np.allclose(before, after, rtol=1e-3, atol=1e-6)
    half, full = ((tmp_path / f"{name}.weights.h5").stat().st_size for name in ("half", "full"))
    assert half < 0.65 * full
    with h5py.File(tmp_path / "half.weights.h5") as file:
        found = []
        file.visititems(lambda _, item: found.append(item.dtype) if isinstance(item, h5py.Dataset) else None)
    assert set(found) == {np.dtype(np.float16)}
