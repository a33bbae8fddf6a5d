"""Archives: written and read back, and everything that somebody may have done to them, each refused with its reason."""

import io
import json
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware import archive, cached_predictions, safe_loading, store
from tests.learnware.making import SIDE, contents, contract, pictures, rewritten, with_config, with_weights


def refusal(shelf: Path, words: str) -> None:
    """The archive is refused, by reading or by asking, and nothing but the store's own files is there."""
    before = {path: path.read_bytes() for path in shelf.parent.rglob("*") if path.is_file()}
    with pytest.raises(StarshiftError, match=words):
        cached_predictions.check_probe_predictions(archive.read_archive(shelf / "tiny.learnware"))
    after = {path: path.read_bytes() for path in shelf.parent.rglob("*") if path.is_file()}
    assert before == after
    assert store.verify_learnwares(store.open_store(shelf))["tiny"]


def test_what_was_written_is_read_back_and_answers_the_same(shelf, model):
    found = archive.read_archive(shelf / "tiny.learnware")
    assert found.model == model and found.contract.classes == ("a", "b", "c") and found.card == "# tiny\n"
    assert found.specification.semantic.score == 0.9 and len(found.specification.whole.points) == 5
    assert np.array_equal(found.pictures, pictures())
    assert cached_predictions.check_probe_predictions(found) < 1e-6 and store.verify_learnwares(
        store.open_store(shelf)
    ) == {"tiny": ""}
    assert archive.read_archive(shelf / "tiny.learnware", whole=False).model == b""


def test_a_contract_names_a_preset_and_its_class_token():
    part = archive.BaseSpec(name="hub:dinov2_small", cut=None, pooling="cls+avg", weights="imagenet", size=SIDE)
    record = json.loads(json.dumps(contract(bases=(part,)).record()))
    assert archive.parse_signature(record).bases == (part,)


def test_the_same_learnware_is_the_same_bytes(shelf, model, tmp_path):
    from tests.learnware.making import made

    made(tmp_path / "other", model)
    assert (shelf / "tiny.learnware").read_bytes() == (tmp_path / "other" / "tiny.learnware").read_bytes()


@pytest.mark.parametrize("member", [*archive.MEMBER_NAMES, archive.DIGESTS_FILE])
def test_one_flipped_byte_in_any_member_is_found(shelf, member):
    path = shelf / "tiny.learnware"
    with zipfile.ZipFile(path) as opened:
        entry = opened.getinfo(member)
    data = bytearray(path.read_bytes())
    data[entry.header_offset + 30 + len(member) + entry.file_size // 2] ^= 1
    path.write_bytes(data)
    assert store.verify_learnwares(store.open_store(shelf))["tiny"]


@pytest.mark.parametrize("member", archive.MEMBER_NAMES)
def test_a_member_that_was_changed_is_told_by_its_digest(shelf, member):
    data = contents(shelf / "tiny.learnware")[member]
    rewritten(shelf / "tiny.learnware", {member: data + b" "}, honest=False)
    refusal(shelf, "another digest")


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "..\\evil.py", "C:evil.py", "a/../../evil.py"])
def test_a_member_that_leaves_the_folder_is_refused(shelf, name):
    rewritten(shelf / "tiny.learnware", {name: b"print()"})
    refusal(shelf, "leaves the folder")


def test_a_link_is_refused(shelf):
    with zipfile.ZipFile(shelf / "tiny.learnware", "a") as opened:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(entry, "/etc/passwd")
    refusal(shelf, "is a link")


def test_a_member_that_is_there_twice_is_refused(shelf):
    with zipfile.ZipFile(shelf / "tiny.learnware", "a") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened.writestr(zipfile.ZipInfo("contract.json"), b"{}")
    refusal(shelf, "two members have one name")


def test_a_bomb_is_refused_before_it_grows(shelf):
    found = contents(shelf / "tiny.learnware")
    with zipfile.ZipFile(shelf / "tiny.learnware", "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in found.items():
            opened.writestr(name, b"\0" * 10_000_000 if name == "card.md" else data)
    refusal(shelf, "is compressed and would grow")


def test_a_bomb_inside_the_model_is_refused_too(shelf, model):
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as opened, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as writer:
        for name in opened.namelist():
            writer.writestr(name, b"\0" * 10_000_000 if name.endswith(".h5") else opened.read(name))
    rewritten(shelf / "tiny.learnware", {"model.keras": file.getvalue()})
    refusal(shelf, "model.keras is refused: the member .* is compressed")


@pytest.mark.parametrize("member", archive.MEMBER_NAMES)
def test_a_missing_member_is_named(shelf, member):
    rewritten(shelf / "tiny.learnware", {member: None})
    refusal(shelf, f"lacks the member '{member}'")


def test_a_member_more_is_named(shelf):
    rewritten(shelf / "tiny.learnware", {"setup.py": b"import os"})
    refusal(shelf, "does not belong there, 'setup.py'")


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_zip_is_refused(shelf, data):
    (shelf / "tiny.learnware").write_bytes(data)
    refusal(shelf, "is no zip archive")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_off_archive_is_refused(shelf, share):
    data = (shelf / "tiny.learnware").read_bytes()
    (shelf / "tiny.learnware").write_bytes(data[: int(len(data) * share)])
    refusal(shelf, "is no zip archive, or a damaged one")


def test_a_pickle_among_the_numbers_is_never_read(shelf, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "evil",)

    file = io.BytesIO()
    np.savez(file, whole_points=np.array([Evil()], object))
    (tmp_path / "evil").unlink(missing_ok=True)
    rewritten(shelf / "tiny.learnware", {"specification.npz": file.getvalue()})
    refusal(shelf, "pickled objects")
    assert not (tmp_path / "evil").exists()


def test_an_array_that_claims_more_than_it_has_is_refused(shelf):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        writer.writestr(zipfile.ZipInfo("whole_points.npy"), header.getvalue() + b"\0" * 8)
    rewritten(shelf / "tiny.learnware", {"specification.npz": file.getvalue()})
    refusal(shelf, "does not have the size that it claims")


def layer(config: dict, name: str) -> dict:
    return next(one for one in config["config"]["layers"] if one["class_name"] == name)


def lambda_layer(config):
    value = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==\n", None, None]}}
    layer(config, "Dense").update(class_name="Lambda", config={"name": "evil", "function": value})


def foreign_module(config):
    layer(config, "Dense").update(module="os", class_name="system", registered_name=None)


def foreign_name(config):
    layer(config, "Dense").update(registered_name="evil>Dense")


def function(config):
    value = {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"}
    layer(config, "Dense")["config"]["activation"] = value


def nested(config):
    inner = {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "x"}}
    layer(config, "Conv2D")["config"]["kernel_initializer"] = inner


def saved_model(config):
    layer(config, "Dense").update(class_name="TFSMLayer", config={"filepath": "http://evil/model"})


def whole_foreign(config):
    return {"module": "evil", "class_name": "Model", "config": {}}


def compiled(config):
    config["compile_config"] = {"optimizer": {"module": "evil", "class_name": "SGD", "config": {}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda_layer, "wants 'Lambda'"),
        (foreign_module, "wants 'system' of 'os'"),
        (foreign_name, "calls 'Dense' 'evil>Dense'"),
        (function, "wants 'function' of 'builtins'"),
        (nested, "wants 'TorchModuleWrapper'"),
        (saved_model, "wants 'TFSMLayer'"),
        (whole_foreign, "wants 'Model' of 'evil'"),
        (compiled, "'SGD' of 'evil'|how to compile"),
        (lambda config: layer(config, "Dense")["config"].update(activation="evil"), "activation 'evil'"),
        (lambda config: layer(config, "Dense")["config"].update(units=10**9), "asks for units 1,000,000,000"),
        (lambda _: [1], "its model is a None"),
    ],
)
def test_a_model_that_wants_more_than_layers_is_refused_before_keras_sees_it(shelf, model, monkeypatch, change, words):
    import keras

    asked = []
    monkeypatch.setattr(keras.saving, "load_model", lambda *given, **named: asked.append(given))
    rewritten(shelf / "tiny.learnware", {"model.keras": with_config(model, change)})
    refusal(shelf, words)
    assert not asked


def test_a_config_so_deep_that_it_would_overflow_is_refused(shelf, model):
    deep = b"[" * 100_000 + b"]" * 100_000
    with zipfile.ZipFile(io.BytesIO(model)) as opened:
        found = {name: opened.read(name) for name in opened.namelist()} | {"config.json": deep}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        for name, data in found.items():
            writer.writestr(zipfile.ZipInfo(name), data)
    rewritten(shelf / "tiny.learnware", {"model.keras": file.getvalue()})
    refusal(shelf, "cannot be read .RecursionError")


def test_an_asset_beside_the_model_is_refused(shelf, model):
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a") as writer:
        writer.writestr(zipfile.ZipInfo("assets/evil.py"), b"")
    rewritten(shelf / "tiny.learnware", {"model.keras": file.getvalue()})
    refusal(shelf, "does not belong there, 'assets/evil.py'")


def outside(weights):
    import h5py

    weights["secret"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(weights):
    import h5py

    weights["secret"] = h5py.SoftLink("/layers")


def another_file(weights):
    weights.create_dataset("secret", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def huge(weights):
    weights.create_dataset("huge", (10**10,), "f4")


def empty(weights):
    import h5py

    weights.create_dataset("empty", dtype="f4", data=h5py.Empty("f4"))


def squeezed(weights):
    weights.create_dataset("squeezed", (10**7,), "f4", compression="gzip")


def circle(weights):
    weights["layers/again"] = weights["layers"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (outside, "point elsewhere"),
        (soft, "point elsewhere"),
        (another_file, "no plain array"),
        (huge, "claim 40,"),
        (squeezed, "no plain array"),
        (empty, "no plain array"),
        (circle, "twice"),
    ],
)
def test_weights_that_point_elsewhere_or_claim_too_much_are_refused(shelf, model, change, words):
    rewritten(shelf / "tiny.learnware", {"model.keras": with_weights(model, change)})
    refusal(shelf, words)


def test_a_model_of_other_classes_is_refused(shelf):
    from tests.learnware.making import network, saved

    rewritten(shelf / "tiny.learnware", {"model.keras": saved(network(classes=4))})
    refusal(shelf, r"its model answers \[\(4,\)\], not 3 classes")


def test_a_model_that_answers_otherwise_is_refused(shelf):
    from tests.learnware.making import network, saved

    rewritten(shelf / "tiny.learnware", {"model.keras": saved(network(seed=1))})
    refusal(shelf, "differ by")


def changed(shelf: Path, member: str, **values) -> None:
    record = json.loads(contents(shelf / "tiny.learnware")[member]) | values
    rewritten(shelf / "tiny.learnware", {member: json.dumps(record).encode()})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": ["a", "b"]}, "different names or classes"),
        ({"classes": ["a", "b", "b"]}, "distinct printable classes"),
        ({"classes": ["a", "b", "\x1b[2J"]}, "classes: printable text"),
        ({"name": "other"}, "different names or classes"),
        ({"name": "../other"}, "a name"),
        ({"views": ["plain", "__import__('os')"]}, "known views"),
        ({"sizes": [64]}, "one for every size"),
        ({"sizes": [True]}, "sizes: a whole number"),
        ({"sizes": [31]}, "sizes of 32"),
        ({"resize": "crop"}, "resize: stretch"),
        ({"more": 1}, "the entries"),
        ({"format": 3}, "format 2 or earlier"),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(shelf, values, words):
    changed(shelf, "contract.json", **values)
    refusal(shelf, words)


def test_a_specification_that_is_none_is_refused(shelf):
    changed(shelf, "specification.json", gamma=-1.0)
    refusal(shelf, "gamma above 0")


def test_an_archive_by_another_name_is_refused(shelf):
    (shelf / "tiny.learnware").rename(shelf / "huge.learnware")
    with pytest.raises(StarshiftError, match="calls itself 'tiny'"):
        archive.read_archive(shelf / "huge.learnware")


def test_a_card_cannot_command_the_terminal(shelf):
    rewritten(shelf / "tiny.learnware", {"card.md": "# x\x1b[2J\x07\nü\n".encode()})
    assert archive.read_archive(shelf / "tiny.learnware").card == "# x[2J\nü\n"


def test_what_keras_itself_cannot_load_is_refused(model):
    def other_shape(config):
        layer(config, "Dense")["config"]["units"] = 5

    with pytest.raises(StarshiftError, match="Keras cannot load its model"):
        safe_loading.load_model(with_config(model, other_shape), "x")


def test_an_archive_of_version_0_1_is_read_with_today_s_names(shelf):
    for name, inside in (("contract.json", None), ("specification.json", "semantic")):
        with zipfile.ZipFile(shelf / "tiny.learnware") as stored:
            record = json.loads(stored.read(name))
        place = record[inside] if inside else record
        place["rung"] = place.pop("strategy")
        rewritten(shelf / "tiny.learnware", {name: json.dumps({**record, "format": 1}).encode()})
    read = archive.read_archive(shelf / "tiny.learnware")
    assert read.contract.strategy == read.specification.semantic.strategy == "features"
