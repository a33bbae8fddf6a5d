"""The perceptual hash of equal pictures, and drift."""

import cv2
import numpy as np
import pandas as pd

from pipeline.audit.drift import detect_drift
from pipeline.audit.duplicates import compute_hashes, find_hash_candidates
from tests.conftest import drawn


def test_a_resized_and_turned_copy_is_a_candidate_and_its_symmetry_is_named():
    pictures = [drawn(seed, 64, 64) for seed in range(12)]
    smaller = cv2.resize(pictures[3], (40, 40), interpolation=cv2.INTER_AREA)
    turned = np.ascontiguousarray(np.rot90(pictures[7], 1))
    hashed = np.concatenate([compute_hashes(one[None]) for one in (*pictures, smaller, turned)])
    near = {
        (first, second): (view, bits) for first, second, view, bits in find_hash_candidates(hashed, most=4).tolist()
    }
    assert near[3, 12][0] == 0 and near[3, 12][1] <= 4
    assert near[7, 13][0] != 0
    assert set(near) == {(3, 12), (7, 13)}


def auc_of_drift(shift: float) -> float:
    """The AUC of telling test from training pictures whose features are shifted by so much."""
    random = np.random.default_rng(0)
    part = np.repeat([0, 1], 80)
    features = random.normal(size=(160, 8)).astype(np.float32) + shift * part[:, None].astype(np.float32)
    table = pd.DataFrame({"width": random.integers(100, 200, 160)})
    found = detect_drift(features, table, part, np.arange(160), 0)
    assert found is not None
    return found.features.auc.estimate


def test_a_shifted_test_set_is_auc_of_drift_and_a_random_one_is_not():
    assert auc_of_drift(1.5) > 0.9
    assert auc_of_drift(0.0) < 0.65


def test_a_handful_of_test_pictures_says_nothing_about_drift():
    few = np.repeat([0, 1], [40, 5])
    table = pd.DataFrame({"width": few})
    assert detect_drift(np.ones((45, 2), np.float32), table, few, np.arange(45), 0) is None
