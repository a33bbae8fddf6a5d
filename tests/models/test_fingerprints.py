"""Fingerprints: wrong weights of the right shapes are named, not used."""

import hashlib

import h5py
import keras
import pytest

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json
from pipeline.models import fingerprints
from pipeline.models.base import find_weights_path, parse_base
from pipeline.models.build import build_network


def random_network():
    keras.utils.set_random_seed(3)
    return keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(32, 32, 3))


def write_as_published(network, path):
    """Writes weights in the older format in which Keras publishes them."""
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [variable.path for variable in layer.weights]
            for variable in layer.weights:
                group[variable.path] = keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("text", ["mobilenet_025", "mobilenet_025:96=imagenet:224", "mobilenet_025@conv_pw_3_relu"])
def test_other_weights_under_a_published_name_are_refused_whatever_part_of_them_is_used(text):
    base = parse_base(text)
    write_as_published(random_network(), find_weights_path(base))
    with pytest.raises(StarshiftError, match="give other features than they should") as error:
        build_network(base)
    assert str(find_weights_path(base)) in str(error.value) and "of the published weights" in str(error.value)


def test_a_preset_in_a_folder_has_a_fingerprint_too(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"class_name": "ViTBackbone", "config": {"num_layers": 1, "image_shape": [32, 32, 3]}}'
    )
    base = parse_base(f"hub:{tmp_path}:32")
    assert fingerprints.compute_fingerprint(random_network(), base).shape == (fingerprints.NUMBERS,)


def test_the_published_weights_of_a_package_have_the_stored_fingerprint():
    base = parse_base("efficientnet_lite0")
    build_network(base)
    stored = fingerprints.read_published()["efficientnet_lite0:224"]
    assert read_json(fingerprints.find_record_path(base))["fingerprint"] == pytest.approx(stored, rel=1e-3, abs=0.05)


def test_a_file_of_one_s_own_is_remembered_at_its_first_use_and_compared_after_that(tmp_path):
    random_network().save_weights(file := tmp_path / "mine.weights.h5")
    base = parse_base(f"mobilenet_025={file}", 32)
    build_network(base)
    build_network(base)
    record = read_json(path := fingerprints.find_record_path(base))
    write_json(path, {**record, "fingerprint": [1.1 * value for value in record["fingerprint"]]})
    with pytest.raises(StarshiftError, match="remembered from its first use") as error:
        build_network(base)
    assert f"rm {path}" in str(error.value)


def test_random_weights_have_no_fingerprint():
    build_network(parse_base("mobilenet_025@conv_pw_3_relu=none", 32))
    assert not list(paths.cache_folder("engines").glob("fingerprint-*"))


def test_the_drawn_picture_is_the_same_on_every_machine():
    digest = hashlib.sha256(fingerprints.draw_picture(224).tobytes()).hexdigest()
    assert digest.startswith("3a1223638f51b1ce")
