"""Networks of KerasHub's presets: they compute what its backbones compute, and are cut, trained, exported and saved."""

import importlib.util
import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware.safe_loading import check_model, load_model
from pipeline.models import cuts
from pipeline.models.base import parse_base
from pipeline.models.build import build_extractor, build_network
from pipeline.models.inference_engines import EngineChoice, choose_engine, has_openvino, load_engine
from pipeline.training import networks
from tests.conftest import drawn
from tests.models import hub_tiny
from tests.models.hub_tiny import FAMILIES, SIDE, save_preset

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("keras_hub")]
PIXELS = np.stack([drawn(seed, SIDE, SIDE) for seed in range(3)])
NORMALIZED = (PIXELS / 64 + [-1.0, -2.0, -3.0]).astype(np.float32)
WITH_CLASS_TOKEN = ("dinov2", "registers", "dinov3", "vit", "siglip")


@pytest.fixture
def preset(request, tmp_path):
    """The tiny preset of a family."""
    return parse_base(f"hub:{save_preset(tmp_path / 'net', request.param)}")


def each(*families):
    return pytest.mark.parametrize("preset", families, indirect=True)


def run_backbone(base, pictures):
    """What KerasHub's own backbone gives for pictures."""
    import keras_hub

    shape = {} if "siglip" in base.entry.builder.lower() else {"image_shape": pictures.shape[1:]}
    backbone = keras_hub.models.Backbone.from_preset(base.name.removeprefix("hub:"), **shape)
    backbone = getattr(backbone, "vision_encoder", backbone)
    inputs = dict.fromkeys(backbone.input, pictures) if isinstance(backbone.input, dict) else pictures
    outputs = backbone(inputs, training=False)
    return np.asarray(list(outputs.values())[-1] if isinstance(outputs, dict) else outputs)


@each(*FAMILIES)
def test_a_network_gives_what_its_backbone_gives(preset):
    ours = np.asarray(build_network(preset)(PIXELS, training=False))
    theirs = run_backbone(preset, NORMALIZED)
    ours = ours[:, 0] if preset.entry.class_token == "pooled" else ours
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@each("dinov2", "registers", "dinov3", "hgnetv2")
def test_a_network_for_another_size_gives_what_its_backbone_gives(preset):
    larger = np.stack([drawn(seed, 56, 56) for seed in range(2)])
    ours = build_network(replace(preset, size=56))(larger, training=False)
    theirs = run_backbone(preset, (larger / 64 + [-1.0, -2.0, -3.0]).astype(np.float32))
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=1e-5)


@each("vit", "siglip")
def test_positions_of_another_size_are_interpolated(preset):
    smooth = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4, 1).repeat(16, axis=2).reshape(16, 16)
    network = build_network(preset)
    positions = network.get_layer("embedding").position_embedding.embeddings
    from pipeline.models.hub_networks import _interpolate_positions

    first = positions.shape[0] - 16
    rows = np.concatenate([np.full((first, 16), 7, np.float32), smooth])
    larger = _interpolate_positions(rows, (first + 64, 16))
    assert (larger[:first] == 7).all() and np.abs(np.diff(larger[first:, 0].reshape(8, 8), axis=1)).max() < 0.1
    assert build_network(replace(preset, size=64)).output.shape[1] == first + 64 + (
        preset.entry.class_token == "pooled"
    )


@each(*FAMILIES)
def test_an_unsaved_converter_is_replaced_by_the_familys(preset):
    folder = preset.name.removeprefix("hub:")
    before = np.asarray(build_network(preset)(PIXELS, training=False))
    (hub_tiny.Path(folder) / "image_converter.json").unlink()
    assert np.abs(np.asarray(build_network(preset)(PIXELS, training=False)) - before).max() > 1e-3


@each("vit")
def test_pixels_are_scaled_to_minus_one_to_one_where_a_vit_does_not_say_it(tmp_path, preset):
    plain = parse_base(f"hub:{save_preset(tmp_path / 'plain', 'vit', converter=False)}")
    theirs = run_backbone(plain, (PIXELS / 127.5 - 1).astype(np.float32))
    np.testing.assert_allclose(np.asarray(build_network(plain)(PIXELS, training=False)), theirs, atol=1e-5)


@each(*WITH_CLASS_TOKEN)
def test_the_class_token_and_the_average_are_pooled_side_by_side(preset):
    tokens = np.asarray(build_network(preset)(PIXELS, training=False))
    features = build_extractor(replace(preset, pooling="cls+avg")).predict(PIXELS, verbose=0)
    patches = tokens[:, tokens.shape[1] - 16 :]
    np.testing.assert_allclose(features, np.concatenate([tokens[:, 0], patches.mean(axis=1)], axis=1), atol=1e-5)


@each("swin")
def test_without_a_class_token_all_tokens_are_averaged(preset):
    tokens = np.asarray(build_network(preset)(PIXELS, training=False))
    np.testing.assert_allclose(
        build_extractor(preset).predict(PIXELS, verbose=0), tokens.mean(axis=1), atol=1e-5
    )  # fmt: skip


@each(*FAMILIES)
def test_every_block_is_a_bottleneck(preset):
    alone = {layer.name for layer in cuts.list_layers(build_network(preset)) if layer.bottleneck}
    assert set(preset.entry.blocks) <= alone


@each(*FAMILIES)
def test_lower_and_upper_part_are_the_whole(preset):
    network = build_network(preset)
    cut = cuts.find_cut(cuts.list_layers(network), preset.entry.blocks[1])
    assert cut is not None and cut.name == {"swin": "merging1"}.get(
        preset.entry.builder[:4].lower(), preset.entry.blocks[0]
    )
    lower = cuts.build_lower_part(network, cut.name)(PIXELS, training=False)
    assert lower.shape[1:] == cut.shape
    both = cuts.build_upper_part(network, cut.name)(lower, training=False)
    np.testing.assert_allclose(np.asarray(both), np.asarray(network(PIXELS, training=False)), atol=1e-6)


@each(*FAMILIES)
def test_the_rate_falls_by_block(preset):
    network = build_network(preset)
    factors = cuts.compute_lr_factors(network, preset.entry.blocks, 0.5)
    lowest, highest = (
        {factors[v.path] for v in network.get_layer(b).trainable_variables} for b in preset.entry.blocks[:2]
    )
    assert len(lowest) == len(highest) == 1 and lowest.pop() == highest.pop() / 2


@each(*FAMILIES)
def test_every_variable_has_a_path_of_its_own(preset):
    paths = [variable.path for variable in build_network(preset).variables]
    assert len(set(paths)) == len(paths)


@each(*FAMILIES)
def test_a_trained_model_is_loaded_as_it_was_saved(preset, tmp_path):
    base = replace(preset, size=64, pooling="cls+avg" if preset.prefix_tokens else "avg")
    network = build_network(base)
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign_add(random.normal(scale=0.01, size=variable.shape))
    pooled = networks.build_random_head(build_extractor(base).output.shape[-1], 3, 8, seed=0)
    live = networks.build_live_model(base, network, networks.build_head_layers(pooled))
    live.save(path := tmp_path / "model.keras")
    check_model(path.read_bytes(), "a preset's")
    pixels = np.stack([drawn(seed, 64, 64) for seed in range(2)])
    loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(pixels)), np.asarray(live(pixels)), atol=1e-6)


@each("dinov2")
def test_a_saved_model_without_keras_hub_says_how_to_install_it(preset, tmp_path, monkeypatch):
    build_extractor(preset).save(path := tmp_path / "model.keras")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StarshiftError) as error:
        load_model(path.read_bytes(), "a preset's")
    assert error.value.remedy == "pip install --no-deps -r requirements-hub.txt"


@each(*FAMILIES)
def test_training_keeps_it_in_inference_mode(preset):
    network = build_network(preset)
    still = networks.FrozenBatchNorm(network)
    trained, resting = (np.asarray(still(PIXELS.astype(np.float32), training=mode)) for mode in (True, False))
    np.testing.assert_allclose(trained, resting, atol=1e-6)


@each("dinov3", "siglip", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dinov2", "vit", "hgnetv2")))
@pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")
def test_openvino_gives_what_keras_gives(preset):
    live, exported = (load_engine(preset, EngineChoice(engine=name))(PIXELS) for name in ("keras", "openvino"))
    np.testing.assert_allclose(exported, live, atol=1e-4)


@each("swin")
def test_openvino_is_refused_where_it_is_wrong_and_auto_takes_keras(preset):
    with pytest.raises(StarshiftError, match="OpenVINO cannot run"):
        choose_engine(preset, lambda: PIXELS, "openvino")
    assert choose_engine(preset, lambda: PIXELS).engine == "keras"


@each("vit")
def test_random_weights_are_those_of_their_seed(preset):
    one, same, other = (build_network(parse_base(f"{preset.name}=none:{seed}")).get_weights() for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, same)) and not all(map(np.array_equal, one, other))


@each("vit")
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"no weights"])
def test_damaged_weights_are_named(preset, damage):
    path = hub_tiny.Path(preset.name.removeprefix("hub:")) / "model.weights.h5"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StarshiftError) as error:
        build_network(preset)
    assert str(path.parent) in error.value.message and error.value.received and error.value.remedy


@each("vit")
def test_a_damaged_converter_is_named(preset):
    (hub_tiny.Path(preset.name.removeprefix("hub:")) / "image_converter.json").write_text("{")
    with pytest.raises(StarshiftError) as error:
        build_network(preset)
    assert "image_converter.json" in error.value.received


@each("vit")
def test_older_converters_give_mean_and_variance(preset):
    before = np.asarray(build_network(preset)(PIXELS, training=False))
    config = {"scale": 0.25, "mean": [16.0, 32.0, 48.0], "variance": [256.0] * 3}  # (x / 4 - mean) / 16
    path = hub_tiny.Path(preset.name.removeprefix("hub:")) / "image_converter.json"
    path.write_text(json.dumps({"config": config}))
    np.testing.assert_allclose(np.asarray(build_network(preset)(PIXELS, training=False)), before, atol=1e-5)


@each("vit")
def test_pictures_of_any_size_are_refused(preset):
    with pytest.raises(StarshiftError, match="one size"):
        build_network(preset, free=True)
