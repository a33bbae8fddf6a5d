"""Which pictures are worth comparing: those that share visual words, or that a network finds alike.

A descriptor's word is a row of signs: which side of BITS random planes it lies on, among its leading principal axes
(Charikar 2002, STOC, section 3). TABLES such words each make up for planes that fall between equal descriptors.
Pictures are compared by the words that they share, rare ones counting more (Sivic and Zisserman 2003, ICCV, section 4).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.audit.keypoints import Keypoints

WORD_BITS, WORD_TABLES, WORD_COMPONENTS = 16, 4, 24
BLOCK_ROWS = 512
NO_WORD = -1


def compute_visual_words(keypoints: Keypoints, random: np.random.Generator) -> np.ndarray:
    """The word of every keypoint in every table, (pictures, MOST, TABLES) int32; NOTHING in unused places.

    Args:
        keypoints: of all pictures, reduced.
        random: draws the planes.
    """
    found = np.full((*keypoints.descriptors.shape[:2], WORD_TABLES), NO_WORD, np.int32)
    used = np.arange(found.shape[1]) < keypoints.counts[:, None]
    leading = keypoints.descriptors[used][:, :WORD_COMPONENTS].astype(np.float32)
    for table in range(WORD_TABLES):
        planes = np.linalg.qr(random.normal(size=(WORD_COMPONENTS, WORD_COMPONENTS)))[0][:, :WORD_BITS].astype(
            np.float32
        )
        found[used, table] = (leading @ planes > 0) @ (1 << np.arange(WORD_BITS)) + (table << WORD_BITS)
    return found


def build_idf_matrix(found: np.ndarray) -> sparse.csr_matrix:
    """What each picture says, (pictures, TABLES x 2^BITS) float32: log(pictures / those with the word), or 0.

    Args:
        found: from `compute_visual_words`.
    """
    owner = np.nonzero(found != NO_WORD)[0]
    shape = (len(found), WORD_TABLES << WORD_BITS)
    said = sparse.csr_matrix((np.ones(len(owner), np.float32), (owner, found[found != NO_WORD])), shape=shape)
    said.data[:] = 1  # a word counts once, however often a picture has it
    having = np.bincount(said.indices, minlength=shape[1])
    return (said @ sparse.diags(np.log(len(found) / np.maximum(having, 1)).astype(np.float32))).tocsr()


@dataclass(frozen=True)
class SimilarityIndex:
    """Two ways to say how alike pictures are.

    Args:
        words: from `build_idf_matrix`.
        features: (pictures, width) float32, unit rows.
    """

    words: sparse.csr_matrix
    features: np.ndarray

    def candidates(self, rows: np.ndarray, pool: np.ndarray, by_words: int, by_features: int) -> np.ndarray:
        """The most alike pictures of a pool: pairs (n, 2) int of a row and a picture of the pool, each pair once.

        Args:
            rows: pictures to look for.
            pool: pictures to look among; a picture is never a candidate of its own.
            by_words: how many of each picture.
            by_features: how many more.
        """
        found = []
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            own = part[:, None] == pool[None]
            for scores, most in (
                ((self.words[part] @ self.words[pool].T).toarray(), by_words),
                (self.features[part] @ self.features[pool].T, by_features),
            ):
                scores[own] = -np.inf
                found.append(_select_top_pairs(scores, part, pool, most))
        return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), int)


def _select_top_pairs(scores: np.ndarray, rows: np.ndarray, pool: np.ndarray, most: int) -> np.ndarray:
    """The `most` highest scores of each row, as pairs of pictures; without those that are -inf."""
    most = min(most, len(pool))
    places = np.argpartition(-scores, most - 1, axis=1)[:, :most] if most else np.empty((len(rows), 0), int)
    kept = np.isfinite(np.take_along_axis(scores, places, axis=1))
    return np.stack([np.repeat(rows, kept.sum(axis=1)), pool[places[kept]]], axis=1)
