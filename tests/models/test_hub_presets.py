"""Presets of KerasHub: named, found and described, all of it without KerasHub."""

import importlib.util
import json

import pytest

from pipeline.errors import StarshiftError
from pipeline.features.cache import open_feature_store
from pipeline.models import hub_presets
from pipeline.models.base import compute_weights_digest, find_missing_weights, find_weights_path, parse_base
from pipeline.workflow.prepare import fetch_weights

VIT = {"class_name": "ViTBackbone", "config": {"image_shape": [48, 48, 3], "num_layers": 3}}
HANDLE = "keras/dinov2/keras/dinov2_small/1"


def written(folder, config=VIT, weights: bytes | None = b"weights"):
    """A folder that looks like a preset."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if weights is not None:
        (folder / "model.weights.h5").write_bytes(weights)
    return folder


@pytest.fixture
def offline(monkeypatch):
    """A proxy that nobody listens at: a download fails at once."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    "text",
    [
        "hub:dinov2_small",
        "hub:vit_base_patch16_224_imagenet21k@block6",
        "hub:siglip2_base_patch16_224+cls",
        "hub:dinov2_small@block9+cls+avg=none:7",
        "hub:swin_tiny_patch4_window7_224@block3+max",
        "hub:hgnetv2_b5_ssld_stage1_in22k_in1k@stage2+second",
    ],
)
def test_a_preset_is_written_as_it_is_read(text):
    assert str(parse_base(text)) == text


@pytest.mark.parametrize("name", ["plain", "v1.2", "a@b", "mine+cls", "x=none", "a@block1+cls+avg=none"])
@pytest.mark.parametrize("suffix", ["", "@block2", "+cls+avg", "=none:3", "@block1+cls=none"])
def test_a_folder_may_be_called_anything(name, suffix, tmp_path):
    base = parse_base(f"hub:{written(tmp_path / name)}{suffix}")
    assert (base.name, str(base)) == (f"hub:{tmp_path / name}", f"hub:{tmp_path / name}{suffix}")


def test_the_longest_name_that_is_a_folder_wins(tmp_path):
    written(tmp_path / "net")
    assert parse_base(f"hub:{tmp_path}/net@block1").cut == "block1"
    written(tmp_path / "net@block1")
    assert parse_base(f"hub:{tmp_path}/net@block1").cut is None


def test_a_named_preset_needs_no_file_to_be_described():
    entry = parse_base("hub:siglip2_giant_opt_patch16_384").entry
    assert (entry.size, len(entry.blocks), entry.licence) == (384, 40, "Apache-2.0")


def test_a_folder_is_described_by_its_config(tmp_path):
    base = parse_base(f"hub:{written(tmp_path / 'net')}")
    assert (base.size, base.entry.blocks) == (48, ("block1", "block2", "block3"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vgg16+cls", "avg | max | both | second"),
        ("vgg16+cls+avg", "avg | max | both | second"),
        ("hub:dinov2_small+second", "avg | max | both | cls | cls+avg"),
        ("hub:swin_tiny_patch4_window7_224+cls", "avg | max | both"),
        ("hub:hgnetv2_b4_ssld_stage2_ft_in1k+cls", "avg | max | both | second"),
        ("hub:siglip_base_patch16_224@block3+cls", "avg | max | both"),
    ],
)
def test_a_pooling_that_a_base_cannot_have_lists_those_that_it_can(text, expected):
    with pytest.raises(StarshiftError) as error:
        parse_base(text)
    assert error.value.expected.startswith(expected)


def test_a_block_that_a_preset_lacks_lists_those_that_it_has():
    with pytest.raises(StarshiftError) as error:
        parse_base("hub:dinov2_small@block13")
    assert "block12" in error.value.expected and "block13" not in error.value.expected


@pytest.mark.parametrize(
    ("config", "received"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ({"class_name": "BertBackbone", "config": {}}, "a BertBackbone"),
        ({"class_name": "ViTBackbone", "config": {}}, "without 'num_layers'"),
    ],
)
def test_a_damaged_or_another_config_is_named(config, received, tmp_path):
    with pytest.raises(StarshiftError) as error:
        parse_base(f"hub:{written(tmp_path / 'net', config)}")
    assert received in error.value.received and str(tmp_path / "net") in error.value.message


@pytest.mark.parametrize(
    ("text", "received"), [("hub:dinov2_smal", "no such folder"), ("hub:", "no config.json in it")]
)
def test_a_name_that_is_no_preset_and_no_folder_says_so(text, received):
    with pytest.raises(StarshiftError) as error:
        parse_base(text)
    assert error.value.received == received and "dinov2_small" in error.value.expected
    assert error.value.remedy.startswith("did you mean dinov2_small?" if text == "hub:dinov2_smal" else "save it")


def test_a_preset_is_found_in_the_cache_of_kagglehub(tmp_path):
    folder = written(tmp_path / "kagglehub" / "models" / HANDLE)
    base = parse_base("hub:dinov2_small")
    assert find_weights_path(base) == folder / "model.weights.h5" and find_missing_weights(base) is None


@pytest.mark.parametrize("mount", [f"models/{HANDLE}", "dinov2/keras/dinov2_small/1"])
def test_a_preset_is_found_in_a_kernels_mounts(mount, tmp_path, monkeypatch):
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(tmp_path))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    folder = written(tmp_path / "input" / mount)
    assert find_weights_path(parse_base("hub:dinov2_small")) == folder / "model.weights.h5"


def test_a_preset_that_is_not_here_says_where_it_belongs(tmp_path, offline):
    with pytest.raises(StarshiftError) as error:
        compute_weights_digest(parse_base("hub:dinov2_small"))
    place = str(tmp_path / "kagglehub" / "models" / HANDLE)
    assert place in error.value.expected and place in error.value.remedy
    assert f"https://www.kaggle.com/models/{HANDLE}" in error.value.remedy


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(StarshiftError) as error:
        compute_weights_digest(parse_base(f"hub:{written(tmp_path / 'net', weights=None)}"))
    assert error.value.received == "no model.weights.h5 in it"


def test_cached_features_do_not_depend_on_where_a_folder_lies(tmp_path):
    here, there = (parse_base(f"hub:{written(tmp_path / name)}") for name in ("here", "there"))
    assert open_feature_store(here, "plain", "float32").key == open_feature_store(there, "plain", "float32").key


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.weights.h5", b"others"),
        ("config.json", json.dumps({**VIT, "config": {**VIT["config"], "num_heads": 3}}).encode()),
        ("image_converter.json", b"{}"),
    ],
)
def test_cached_features_depend_on_every_file_of_a_preset(file, content, tmp_path):
    here, there = (parse_base(f"hub:{written(tmp_path / name)}") for name in ("here", "there"))
    (tmp_path / "there" / file).write_bytes(content)
    assert open_feature_store(here, "plain", "float32").key != open_feature_store(there, "plain", "float32").key


def test_features_of_random_weights_depend_on_the_config(tmp_path):
    here, there = (parse_base(f"hub:{written(tmp_path / name)}=none") for name in ("here", "there"))
    (tmp_path / "there" / "config.json").write_text(json.dumps({**VIT, "config": {**VIT["config"], "num_heads": 3}}))
    assert open_feature_store(here, "plain", "float32").key != open_feature_store(there, "plain", "float32").key


def test_without_keras_hub_the_command_that_installs_it_is_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StarshiftError) as error:
        fetch_weights([parse_base(f"hub:{written(tmp_path / 'net')}")])
    assert error.value.remedy == "pip install --no-deps -r requirements-hub.txt"


def test_the_licence_of_dinov3_says_that_it_binds_what_is_made_of_it():
    assert "same terms" in parse_base("hub:dinov3_vit_small_lvd1689m").entry.terms


def test_the_named_presets_are_those_of_keras_hub(keras_hub):
    for family, texts in hub_presets.PRESETS.items():
        published = getattr(keras_hub.models, family).presets
        for text in texts.split():
            name = text.partition("/")[0]
            handle = published[name]["kaggle_handle"].removeprefix("kaggle://")
            assert hub_presets.build_handle(f"hub:{name}") == handle
