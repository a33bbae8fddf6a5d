"""A learnware as a base: what it stands for, and that its weights are its own."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.cli.common import load_competition
from pipeline.errors import StarshiftError
from pipeline.learnware import archive, as_base, store
from pipeline.learnware.archive import BaseSpec
from pipeline.models import base as bases
from pipeline.models import cuts
from pipeline.models.build import build_extractor, build_network
from pipeline.models.heads import Head
from pipeline.training import networks
from pipeline.training.export import build_averaged_model
from tests.learnware import making

SIDE = 32


def tuned(base: bases.Base) -> tuple:
    """A live network on a base whose weights were moved, as fine-tuning leaves it; and the base's network."""
    network = build_network(base)
    network.set_weights([value + 0.01 for value in network.get_weights()])
    width = network.output_shape[-1]
    head = Head(((np.random.default_rng(0).normal(size=(width, 3)).astype(np.float32), np.zeros(3, np.float32)),))
    return networks.build_live_model(base, network, networks.build_head_layers(head)), network


def kept(folder, name, model, **words) -> None:
    """A learnware of this model in the store; what it says of its probe batch is made up."""
    contract = making.contract(name, **words)
    batch = making.pictures()
    predictions = np.full((len(batch), 3), 1 / 3, np.float32)
    store.write_store(store.Store(folder=folder, probe=making.PROBE, gamma=making.GAMMA))
    archive.write_archive(
        folder / f"{name}.learnware", model=model, specification=making.specification(name), contract=contract,
        pictures=batch, predictions=predictions, card="",
    )  # fmt: skip


def part(**other) -> BaseSpec:
    return BaseSpec(**{"name": "petite", "cut": None, "pooling": "avg", "weights": "imagenet", "size": SIDE, **other})


@pytest.fixture
def shelf(home):
    return home / "data" / "store"


def test_a_learnware_that_left_its_base_alone_stands_for_the_base(shelf, model):
    kept(shelf, "plain", model)
    kept(shelf, "low", model, bases=(part(cut="stage2_block1_out"),))
    kept(shelf, "random", model, strategy="frozen", bases=(part(weights="none:3"),))
    assert as_base.resolve_bases(["store:plain", "vgg16"]) == ("petite", "vgg16")
    assert as_base.resolve_bases(["store:plain@stage3_block2_out+max"]) == ("petite@stage3_block2_out+max",)
    assert as_base.resolve_bases(["store:low", "store:random"]) == ("petite@stage2_block1_out", "petite=none:3")


def test_a_learnware_of_a_store_elsewhere_is_named_with_the_store_s_folder(tmp_path, home, model):
    kept(tmp_path / "other", "plain", model)
    assert as_base.resolve_bases([f"store:{tmp_path}/other/plain@end_block2_out"]) == ("petite@end_block2_out",)
    with pytest.raises(StarshiftError, match="There is no store"):
        as_base.resolve_bases(["store:plain"])


def taken_out(shelf, name: str) -> None:
    """What a process of its own does otherwise."""
    learnware = store.open_store(shelf).learnware(name)
    as_base.extract_weights(learnware, as_base.build_weights_path(learnware, as_base.find_base_spec(learnware)))


def test_a_fine_tuned_learnwares_base_has_its_weights_whole_or_up_to_a_cut(shelf):
    live, network = tuned(bases.Base(name="petite", weights="none", size=SIDE))
    kept(shelf, "tuned", making.saved(live), strategy="finetune")
    taken_out(shelf, "tuned")
    whole, cut = as_base.resolve_bases(["store:tuned", "store:tuned@stage2_block2_out"])
    pixels = making.pictures()
    scaled = pixels.astype(np.float32) / 127.5 - 1
    for text, part in ((whole, network), (cut, cuts.build_lower_part(network, "stage2_block2_out"))):
        expected = np.mean(np.asarray(part(scaled, training=False)), axis=(1, 2))
        assert np.allclose(np.asarray(build_extractor(bases.parse_base(text, SIDE))(pixels)), expected, atol=1e-5)
    assert bases.compute_weights_digest(bases.parse_base(whole)) != bases.compute_weights_digest(
        bases.parse_base("petite")
    )


def test_a_base_with_weights_of_a_file_is_taken_out_of_the_extractor_around_it(shelf, tmp_path):
    base = bases.Base(name="petite", weights="none:1", size=SIDE)
    network = build_network(base)
    network.save_weights(tmp_path / "mine.weights.h5")
    mine = replace(base, weights=str(tmp_path / "mine.weights.h5"))
    head = Head(((np.ones((224, 3), np.float32), np.zeros(3, np.float32)),))
    kept(shelf, "mine", making.saved(build_averaged_model([mine], [head])), bases=(part(weights="own"),))
    (tmp_path / "mine.weights.h5").unlink()
    taken_out(shelf, "mine")
    (found,) = as_base.resolve_bases(["store:mine"])
    got, expected = build_network(bases.parse_base(found, SIDE)).get_weights(), network.get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(got, expected, strict=True))


@pytest.mark.slow
def test_the_weights_are_taken_out_in_a_process_of_their_own_and_once(shelf, monkeypatch):
    live, _ = tuned(bases.Base(name="petite", weights="none", size=SIDE))
    kept(shelf, "tuned", making.saved(live), strategy="finetune")
    kept(shelf, "foreign", making.saved(making.network()), strategy="finetune")
    (found,) = as_base.resolve_bases(["store:tuned"])
    assert bases.parse_base(found).name == "petite"
    with pytest.raises(StarshiftError, match="the network in its model is no petite"):
        as_base.resolve_bases(["store:foreign"])
    monkeypatch.setattr(as_base.subprocess, "run", None)
    assert as_base.resolve_bases(["store:tuned"]) == (found,)


def test_a_recipe_that_names_a_learnware_is_resolved_on_the_command_line(shelf, model):
    kept(shelf, "plain", model)
    assert load_competition("sprouts", bases=("store:plain@end_block2_out",)).recipe.bases == ("petite@end_block2_out",)


def test_what_cannot_be_a_base_is_explained(shelf, model):
    kept(shelf, "two", model, bases=(part(), part(name="vgg16")))
    kept(shelf, "scratch", model, strategy="scratch", bases=(part(name="scratch", weights="none"),))
    for text, words in (
        ("store:two", "made of several bases"),
        ("store:scratch", "not made of a base"),
        ("store:none", "There is no learnware 'none'"),
        ("store:two=x", "This is no base"),
    ):
        with pytest.raises(StarshiftError, match=words):
            as_base.resolve_bases([text])
    assert list((shelf.parent / "cache" / "learnware").glob("*")) == []


def test_a_network_of_the_same_shapes_that_does_something_else_is_refused(shelf):
    base = bases.Base(name="petite", weights="none", size=SIDE)
    network = build_network(base)
    shifted = keras.Model(network.input, keras.layers.Rescaling(2.0)(network.output), name="petite")
    head = Head(((np.ones((224, 3), np.float32), np.zeros(3, np.float32)),))
    kept(
        shelf,
        "other",
        making.saved(networks.build_live_model(base, shifted, networks.build_head_layers(head))),
        strategy="finetune",
    )
    with pytest.raises(StarshiftError, match=r"outputs .* apart"):
        taken_out(shelf, "other")


def test_a_contract_is_not_believed_about_its_cut(shelf):
    base = bases.Base(name="petite", weights="none", size=SIDE)
    live, _ = tuned(base)
    kept(shelf, "tuned", making.saved(live), strategy="finetune", bases=(replace(part(), cut="stage2_block2_out"),))
    with pytest.raises(StarshiftError, match="no petite"):
        taken_out(shelf, "tuned")
