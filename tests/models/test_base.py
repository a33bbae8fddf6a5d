"""Bases: names are parsed, preprocessing is that of keras.applications, and cuts and weights are what they say."""

import hashlib
import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.config import Competition, RunOptions
from pipeline.errors import StarshiftError
from pipeline.models import base as bases
from pipeline.models.base import Base, parse_base, split_base
from pipeline.models.build import build_network
from pipeline.models.registry import BASES
from pipeline.workflow import prepare
from pipeline.workflow.run import prepare_dataset

pytestmark = pytest.mark.filterwarnings("ignore")
MODULES = {"tf": "mobilenet_v2", "torch": "densenet", "caffe": "resnet50", "none": "efficientnet_v2"}


@pytest.mark.parametrize(
    "text",
    [
        "xception",
        "inception_v3@mixed8+max",
        "vgg16+second:0123456789abcdef",
        "resnet50+second=none",
        "resnet50=none",
        "vgg16@block4_pool+both=none:7",
        "mobilenet_025+max",
    ],
)
def test_a_base_is_written_as_it_is_read(text):
    assert str(parse_base(text, 64)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet51", "resnet50"),
        ("mobilnet_v2", "did you mean mobilenet_v2"),
        ("vgg16@block9", "block4_pool"),
        ("vgg16+median", "avg | max | both"),
        ("vgg16+secnd", "did you mean second?"),
        ("vgg16=/no/such/file.h5", "no weights file"),
        ("vgg16=none+max", "the order is name[:size][@cut][+pooling][=weights]"),
    ],
)
def test_a_wrong_part_of_a_base_lists_the_right_ones(text, words):
    with pytest.raises(StarshiftError) as error:
        parse_base(text)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["imagenet_mine.weights.h5", "none_of_yours.weights.h5", "imagenet:224.weights.h5"])
def test_a_file_is_taken_for_what_it_is_whatever_it_is_called(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"weights of one's own")
    base = parse_base(f"mobilenet_025={name}", 32)
    assert bases.find_weights_path(base) == tmp_path / name and not base.random and not base.published
    assert bases.compute_weights_digest(base) == hashlib.sha256(b"weights of one's own").hexdigest()
    with pytest.raises(StarshiftError, match="does not fit"):
        build_network(base)


@pytest.fixture(scope="module")
def published_file(tmp_path_factory):
    """Weights in Keras's legacy format, of MobileNet alpha 0.25 with its classifier."""
    path = tmp_path_factory.mktemp("published") / "with_top.h5"
    model = keras.applications.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3))
    model.save_weights(path.with_suffix(".weights.h5"))
    return path.with_suffix(".weights.h5")


@pytest.mark.parametrize("damage", ["a page", "cut off", "with its classifier"])
def test_a_damaged_file_under_keras_s_own_name_is_named_with_what_to_do(damage, published_file, tmp_path):
    base = parse_base("mobilenet_025", 128)
    place = bases.find_weights_path(base)
    place.parent.mkdir(parents=True)
    whole = published_file.read_bytes()
    content = {"a page": b"<!DOCTYPE html><p>404", "cut off": whole[: len(whole) // 2], "with its classifier": whole}
    place.write_bytes(content[damage])
    with pytest.raises(StarshiftError, match="does not fit mobilenet_025") as error:
        build_network(base)
    assert str(place) in str(error.value) and f"put {place.name} there" in str(error.value)


@pytest.mark.parametrize("name", ["mine.keras", "mine.weights.h5", "mine.h5", "mine.txt"])
@pytest.mark.parametrize("damage", ["empty", "cut off", "another kind"])
def test_a_damaged_file_of_one_s_own_is_named_whatever_its_kind(name, damage, published_file, tmp_path):
    whole = tmp_path / "whole.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(whole)
    content = (whole if (damage == "another kind") != name.endswith(".keras") else published_file).read_bytes()
    (file := tmp_path / name).write_bytes({"empty": b"", "cut off": content[: len(content) // 2]}.get(damage, content))
    with pytest.raises(StarshiftError, match=f"{name} does not fit mobilenet_025") as error:
        build_network(parse_base(f"mobilenet_025={file}", 32))
    assert error.value.received and "write it again" in error.value.remedy


def test_a_folder_under_keras_s_own_name_is_no_weights_file():
    place = bases.find_weights_path(parse_base("mobilenet_025", 128))
    place.mkdir(parents=True)
    with pytest.raises(StarshiftError, match=f"{place} cannot be read"):
        bases.compute_weights_digest(parse_base("mobilenet_025", 128))


def test_a_base_takes_its_own_size_unless_another_is_asked_for():
    assert parse_base("xception").size == 299 and parse_base("xception", 128).size == 128


@pytest.mark.parametrize(
    "text", ["mobilenet_v2:160", "mobilenet_v2:160@block_15_add+max=none", "mobilenet_v2:160=imagenet:224"]
)
def test_a_base_named_with_a_size_keeps_it_whatever_the_recipe_s_is(text):
    assert parse_base(text, 128).size == 160


def test_a_preset_named_with_a_size_keeps_its_name():
    assert split_base("hub:dinov2_small:280@block3+cls+avg") == ("hub:dinov2_small", "280", "block3", "cls+avg", None)


def test_a_size_that_no_picture_has_is_refused():
    with pytest.raises(StarshiftError, match="32 to 2048"):
        parse_base("mobilenet_v2:9")


def test_weights_of_a_named_size_bring_that_size_along():
    assert (
        parse_base("mobilenet_v2=imagenet:160").size == 160 and parse_base("mobilenet_v2=imagenet:160", 96).size == 96
    )


def test_the_weights_file_is_the_one_of_the_nearest_trained_size(tmp_path):
    assert bases.find_weights_path(parse_base("mobilenet_v2", 160)).name.endswith("1.0_160_no_top.h5")
    assert bases.find_weights_path(parse_base("mobilenet_v2", 100)).name.endswith("1.0_224_no_top.h5")
    assert bases.find_weights_path(parse_base("mobilenet_025")).name == "mobilenet_2_5_224_tf_no_top.h5"
    assert bases.find_weights_path(parse_base("resnet50=none")) is None


def test_weights_of_another_size_than_the_pictures_can_be_asked_for(tmp_path):
    base = parse_base("mobilenet_v2=imagenet:224", 160)
    assert base.size == 160 and str(base) == "mobilenet_v2=imagenet:224"
    assert bases.find_weights_path(base) == bases.find_weights_path(parse_base("mobilenet_v2", 224))
    with pytest.raises(StarshiftError, match="96, 128, 160, 192, 224"):
        parse_base("mobilenet_v2=imagenet:200")


def test_weights_that_cannot_be_had_are_named_with_their_folder(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    folder = tmp_path / "keras" / "models"
    folder.mkdir(parents=True)
    (folder / "mobilenet_2_5_192_tf_no_top.h5").write_bytes(b"of other pictures")
    with pytest.raises(StarshiftError) as error:
        bases.compute_weights_digest(parse_base("mobilenet_025", 128))
    said = str(error.value)
    assert "mobilenet_2_5_128_tf_no_top.h5" in said and str(folder) in said
    assert "those of 192 px, which are here: mobilenet_025=imagenet:192" in said


def test_weights_that_cannot_be_had_are_said_before_any_picture_is_looked_at(monkeypatch):
    asked = []

    def away(base, place):
        asked.append(place.name)
        raise StarshiftError("They do not come.")

    monkeypatch.setattr(prepare, "fetch_base_weights", away)
    monkeypatch.setattr(prepare, "fetch_raw_data", lambda *_, **__: Path("raw"))
    monkeypatch.setattr(prepare, "read_sample_submission", lambda *_: pytest.fail("the pictures were looked at first"))
    here = bases.find_weights_path(parse_base("vgg16"))
    here.parent.mkdir(parents=True)
    here.write_bytes(b"weights")
    wanted = [parse_base("resnet50=none"), parse_base("vgg16"), parse_base("xception")]
    with pytest.raises(StarshiftError, match="do not come"):
        prepare_dataset(Competition(name="pets", slug="pets"), wanted, RunOptions())
    assert asked == ["xception_weights_tf_dim_ordering_tf_kernels_notop.h5"]


def test_a_weights_digest_moves_with_the_files_bytes(tmp_path):
    file = tmp_path / "w.h5"
    file.write_bytes(b"one")
    first = bases.compute_weights_digest(parse_base(f"vgg16={file}"))
    file.write_bytes(b"other")
    assert first != bases.compute_weights_digest(parse_base(f"vgg16={file}"))


@pytest.mark.parametrize("mode", MODULES)
def test_preprocessing_is_that_of_keras_applications(mode):
    import keras

    from pipeline.models.build import preprocess

    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    entry = keras.Input((8, 8, 3), dtype="uint8")
    ours = keras.Model(entry, preprocess(entry, mode, "x"))(pixels)
    theirs = importlib.import_module(f"keras.applications.{MODULES[mode]}").preprocess_input(pixels.astype(np.float32))
    assert np.abs(np.asarray(ours) - theirs).max() < 1e-4


def test_the_preprocessing_of_lite_is_less_127_by_128():
    import keras

    from pipeline.models.build import preprocess

    entry = keras.Input((1, 1, 3), dtype="uint8")
    values = keras.Model(entry, preprocess(entry, "lite", "x"))(np.array([[[[0, 127, 255]]]], np.uint8))
    assert np.asarray(values).ravel().tolist() == [-127 / 128, 0, 1]


def test_an_extractor_pools_average_and_maximum_at_its_cut():
    from pipeline.models.build import build_extractor

    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    cut = "conv_pw_3_relu"
    average, largest, both = (
        np.asarray(
            build_extractor(Base(name="mobilenet_025", cut=cut, pooling=pooling, weights="none", size=64))(pixels)
        )
        for pooling in ("avg", "max", "both")
    )
    assert (both == np.concatenate([average, largest], axis=1)).all() and (largest >= average).all()


def test_random_weights_are_the_same_for_a_seed_and_differ_between_seeds():
    from pipeline.models.build import build_network

    def first(weights):
        return build_network(Base(name="mobilenet_025", weights=weights, size=32)).get_weights()[0]

    assert (first("none:1") == first("none:1")).all() and (first("none:1") != first("none:2")).any()


def test_an_extractor_is_the_same_after_saving(tmp_path):
    import keras

    from pipeline.models.build import build_extractor

    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    model = build_extractor(Base(name="vgg16", cut="block2_pool", weights="none", size=32))
    model.save(tmp_path / "m.keras")
    assert np.allclose(model(pixels), keras.models.load_model(tmp_path / "m.keras")(pixels), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_every_base_of_the_table_is_as_the_table_says(name):
    from pipeline.models.build import find_builder

    entry = BASES[name]
    model = find_builder(entry)(include_top=False, weights=None, input_shape=(96, 96, 3), **entry.arguments)
    assert model.output.shape[-1] == entry.width
    assert set(entry.blocks) <= {layer.name for layer in model.layers}
