"""Attention rollout, by hand-made attention: where the pooled tokens look."""

import numpy as np
import pytest

from pipeline.models.attention import roll_out

TOKENS = 5
"""A class token and four patches."""
NOTHING = np.eye(TOKENS, dtype=np.float32)[None]
"""Each token attends to itself."""


def attend(query, key):
    """One block, in which one token attends to another and all others to themselves."""
    attention = NOTHING.copy()
    attention[0, query] = np.eye(TOKENS)[key]
    return attention


def test_half_of_what_the_class_token_attends_to_arrives_and_half_stays():
    assert roll_out([attend(0, 3)], 1, "cls").tolist() == [[[0, 0], [0.5, 0]]]


def test_attention_is_followed_through_the_blocks():
    # The second block brings token 2 to the class token; the first has brought patch 4 to token 2.
    assert roll_out([attend(2, 4), attend(0, 2)], 1, "cls").tolist() == [[[0, 0.25], [0, 0.25]]]


def test_an_average_of_patches_that_attend_to_themselves_looks_everywhere_alike():
    assert np.allclose(roll_out([NOTHING, NOTHING], 1, "avg"), 0.25)


def test_the_class_token_and_the_average_count_alike():
    both = roll_out([attend(0, 3)], 1, "cls+avg")
    assert np.allclose(both, (roll_out([attend(0, 3)], 1, "cls") + roll_out([attend(0, 3)], 1, "avg")) / 2)


def test_attention_pooling_starts_from_what_it_attends_to():
    blocks = np.eye(4, dtype=np.float32)[None]
    pooling = np.float32([[[0, 0, 1, 0]]])
    assert roll_out([blocks, pooling], 1, "cls").tolist() == [[[0, 0], [1, 0]]]


@pytest.mark.parametrize("pooling", ["cls", "avg", "max", "both", "cls+avg"])
def test_the_shares_of_patches_and_prefix_add_up_to_one(pooling):
    random = np.random.default_rng(0).dirichlet(np.ones(TOKENS), size=(3, 2, TOKENS)).astype(np.float32)
    rollout = roll_out(list(random), 1, pooling)
    assert rollout.shape == (2, 2, 2) and (rollout > 0).all() and (rollout.sum(axis=(1, 2)) <= 1 + 1e-6).all()
