"""Candidates for comparison: pictures that share visual words, or whose features are similar.

A descriptor's word is a row of signs: which side of WORD_BITS random planes it lies on, among its leading principal
axes (Charikar 2002, STOC, section 3). WORD_TABLES such words each make up for planes that fall between equal
descriptors. Pictures are compared by the words that they share, rare ones counting more (Sivic and Zisserman 2003,
ICCV, section 4).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.audit.keypoints import Keypoints

WORD_BITS, WORD_TABLES, WORD_COMPONENTS = 16, 4, 24
BLOCK_ROWS = 512
NO_WORD = -1


def compute_visual_words(keypoints: Keypoints, random: np.random.Generator) -> np.ndarray:
    """Returns the word of every keypoint in every table, (pictures, MAX_KEYPOINTS, WORD_TABLES) int32, or NO_WORD.

    Args:
        keypoints: of all pictures, reduced.
        random: draws the planes.
    """
    codes = np.full((*keypoints.descriptors.shape[:2], WORD_TABLES), NO_WORD, np.int32)
    used = np.arange(codes.shape[1]) < keypoints.counts[:, None]
    leading = keypoints.descriptors[used][:, :WORD_COMPONENTS].astype(np.float32)
    for table in range(WORD_TABLES):
        planes = np.linalg.qr(random.normal(size=(WORD_COMPONENTS, WORD_COMPONENTS)))[0][:, :WORD_BITS]
        signs = leading @ planes.astype(np.float32) > 0
        codes[used, table] = signs @ (1 << np.arange(WORD_BITS)) + (table << WORD_BITS)
    return codes


def build_idf_matrix(codes: np.ndarray) -> sparse.csr_matrix:
    """Returns (pictures, WORD_TABLES x 2^WORD_BITS) float32: each word log(pictures / pictures with it) or 0.

    Args:
        codes: from `compute_visual_words`.
    """
    owner = np.nonzero(codes != NO_WORD)[0]
    shape = (len(codes), WORD_TABLES << WORD_BITS)
    matrix = sparse.csr_matrix((np.ones(len(owner), np.float32), (owner, codes[codes != NO_WORD])), shape=shape)
    matrix.data[:] = 1  # a word counts once, however often a picture has it
    frequency = np.bincount(matrix.indices, minlength=shape[1])
    return (matrix @ sparse.diags(np.log(len(codes) / np.maximum(frequency, 1)).astype(np.float32))).tocsr()


@dataclass(frozen=True)
class SimilarityIndex:
    """Two measures of how similar pictures are.

    Args:
        words: from `build_idf_matrix`.
        features: (pictures, width) float32, unit rows.
    """

    words: sparse.csr_matrix
    features: np.ndarray

    def candidates(self, rows: np.ndarray, pool: np.ndarray, by_words: int, by_features: int) -> np.ndarray:
        """Returns the most similar pictures of a pool: pairs (n, 2) int of a row and a picture of the pool.

        Args:
            rows: pictures to find candidates of.
            pool: pictures to find them among; a picture is never a candidate of its own.
            by_words: how many of each picture.
            by_features: how many more; a pair may be among both.
        """
        pairs = [np.empty((0, 2), int)]
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            itself = part[:, None] == pool[None]
            for scores, most in (
                ((self.words[part] @ self.words[pool].T).toarray(), by_words),
                (self.features[part] @ self.features[pool].T, by_features),
            ):
                scores[itself] = -np.inf
                pairs.append(_select_top_pairs(scores, part, pool, most))
        return np.concatenate(pairs)


def _select_top_pairs(scores: np.ndarray, rows: np.ndarray, pool: np.ndarray, most: int) -> np.ndarray:
    """Returns the `most` highest scores of each row, as pairs of pictures; without those that are -inf."""
    most = min(most, len(pool))
    places = np.argpartition(-scores, most - 1, axis=1)[:, :most] if most else np.empty((len(rows), 0), int)
    finite = np.isfinite(np.take_along_axis(scores, places, axis=1))
    return np.stack([np.repeat(rows, finite.sum(axis=1)), pool[places[finite]]], axis=1)
