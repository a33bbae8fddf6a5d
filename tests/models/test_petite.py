"""Our own base: its committed weights are the ones that its record speaks of, and it does what other bases do."""

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.files import hash_file, read_json
from pipeline.models import base
from pipeline.models.base import Base, parse_base
from pipeline.models.build import build_extractor, build_network
from pipeline.models.registry import BASES
from pipeline.synthetic import world

pytestmark = pytest.mark.filterwarnings("ignore")
DIGEST = "4f4a77e9b93644496640d81abb07f5f3c0409cae2bed3cd30d685bbb9a3a6e5a"
RECORD = read_json(base.WEIGHTS_FOLDER / "petite.json")


def test_the_weights_are_those_of_the_record_and_of_this_test():
    file = base.WEIGHTS_FOLDER / RECORD["weights"]["file"]
    assert hash_file(file) == RECORD["weights"]["sha256"] == base.compute_weights_digest(parse_base("petite")) == DIGEST
    assert file.stat().st_size < 2_000_000


def test_the_record_says_how_the_weights_were_made_and_that_they_know_their_world():
    assert RECORD["world"]["classes"] == len(world.CLASSES) >= 60 and RECORD["recipe"]["seed"] == 0
    assert RECORD["accuracy"] > 50 * RECORD["chance"] and RECORD["seconds"] > 0


def test_it_is_built_as_the_table_says_and_can_be_cut_at_every_block():
    network = build_network(parse_base("petite=none", 64))
    assert network.output.shape[1:] == (4, 4, BASES["petite"].width)
    assert set(BASES["petite"].blocks) <= {layer.name for layer in network.layers}
    with pytest.raises(StarshiftError, match="stage1_block1_out"):
        parse_base("petite@block9")


def test_its_features_tell_pictures_of_its_own_world_apart_better_than_random_weights_do():
    labels = np.repeat([50, 70, 90], 8)
    pixels = np.stack([world.draw_picture(int(label), 2_000_000 + place, 0) for place, label in enumerate(labels)])

    def nearest_is_of_the_same_class(weights: str) -> float:
        features = np.asarray(build_extractor(Base(name="petite", weights=weights, size=128))(pixels))
        features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
        distance = np.linalg.norm(features[:, None] - features[None], axis=2) + 1e9 * np.eye(len(labels))
        return float((labels[distance.argmin(axis=1)] == labels).mean())

    assert nearest_is_of_the_same_class("imagenet") > max(0.8, nearest_is_of_the_same_class("none"))
