"""Attention rollout: how much of each patch of a picture reaches what a Vision Transformer's tokens are pooled to.

Each block mixes tokens by its attention, averaged over heads, and keeps half of every token for its residual connection
(Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers, ACL, section 3). It says where a network looks, not
for which class.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.models import keras_private
from pipeline.models.base import Base


def compute_rollout(network: Any, base: Base, pixels: np.ndarray) -> np.ndarray:
    """Computes the rollout of pictures through a network.

    Args:
        network: a keras.Model from pictures; the blocks of the base lie in it, frozen or trained.
        base: whose tokens it pools.
        pixels: (n, size, size, 3) uint8 RGB.

    Returns:
        (n, rows, columns) float32, a value a patch; the values of a picture add up to 1 less what its class token and
        registers keep.
    """
    with keras_private.record_attention(network) as recorded:
        network(pixels, training=False)
    return roll_out(recorded, base.prefix_tokens, base.pooling)


def roll_out(attentions: Sequence[np.ndarray], prefix: int, pooling: str) -> np.ndarray:
    """Multiplies the attention of all blocks, from the pooled tokens down to the patches.

    Args:
        attentions: (n, queries, tokens) of each block, averaged over heads, from the picture upwards; a last one with a
            single query is the attention pooling that makes the class token, and then no other token precedes the
            patches.
        prefix: tokens before those of the patches.
        pooling: one of `cls`, `avg`, `max`, `both` and `cls+avg`. The maximum counts as the average.

    Returns:
        See `compute_rollout`.
    """
    *blocks, last = attentions
    pools = len(blocks) > 0 and last.shape[1] == 1
    blocks, prefix = (blocks, 0) if pools else ([*blocks, last], prefix)
    count, tokens = last.shape[0], last.shape[2]
    patches = np.zeros((count, tokens), np.float32)
    patches[:, prefix:] = 1 / (tokens - prefix)
    of_class = last[:, 0] if pools else np.broadcast_to(np.eye(1, tokens, dtype=np.float32), patches.shape)
    flow = {"cls": of_class, "cls+avg": (of_class + patches) / 2}.get(pooling, patches)
    for attention in reversed(blocks):
        flow = (flow + np.einsum("nq,nqt->nt", flow, attention)) / 2
    side = round((tokens - prefix) ** 0.5)
    return flow[:, prefix:].reshape(count, side, side)
