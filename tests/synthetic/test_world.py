"""The drawn world: many classes, none of them a species of the competition."""

import hashlib

import numpy as np

from pipeline.synthetic import sprouts, world
from pipeline.synthetic.world import MIN_TRAIT_DISTANCE, build_plant_forms, compute_traits

GOLDEN = "74c3d7bcfb9a619f22697577efcd7c12729a19de65c8bec2f9ae18c9e6b5c493"


def test_the_world_is_the_same_on_every_machine():
    digest = hashlib.sha256()
    for label in range(0, len(world.CLASSES), 4):
        digest.update(world.draw_picture(label, label, 7).tobytes())
    digest.update(world.draw_picture(0, 0, 7, size=96).tobytes())
    assert digest.hexdigest() == GOLDEN


def test_the_world_holds_many_classes_and_no_species():
    assert len(world.CLASSES) == len(set(world.CLASSES)) >= 72
    assert not set(world.CLASSES) & set(sprouts.SPECIES)


def test_no_plant_of_the_world_is_near_to_a_species_or_to_another_plant():
    vectors = np.stack([compute_traits(form) for form in (*sprouts.SPECIES_FORMS.values(), *build_plant_forms())])
    distances = np.sqrt(((vectors[:, None] - vectors[None]) ** 2).sum(2))
    others = distances[np.triu_indices(len(vectors), 1)]
    assert others[: len(sprouts.SPECIES) - 1].min() > 0.5
    assert distances[len(sprouts.SPECIES) :][distances[len(sprouts.SPECIES) :] > 0].min() > MIN_TRAIT_DISTANCE


def test_a_picture_depends_on_its_arguments_alone():
    for label in (0, 45, len(world.CLASSES) - 1):
        first = world.draw_picture(label, 2, 9)
        world.draw_picture(1, 2, 9)
        assert (world.draw_picture(label, 2, 9) == first).all()
        assert (world.draw_picture(label, 3, 9) != first).mean() > 0.5


def test_every_class_draws_something_of_any_size():
    for label in range(len(world.CLASSES)):
        picture = world.draw_picture(label, 0, 1, size=64)
        assert picture.shape == (64, 64, 3)
        assert picture.std() > 2


def test_the_two_worlds_never_share_a_picture():
    assert (world.draw_picture(3, 0, 1) != sprouts.draw_picture(3, 0, 1)).any()
