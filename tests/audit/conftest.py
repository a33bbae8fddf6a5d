"""Pictures of scenes that the tests draw: gravel with its own stones, seen turned and enlarged."""

import cv2
import numpy as np
import pytest

from pipeline.audit.dataset import AuditDataset

SIDE = 128


def gravel(seed: int, side: int = 260) -> np.ndarray:
    """A scene of stones, (side, side, 3) uint8."""
    random = np.random.default_rng(seed)
    scene = np.full((side, side, 3), 120, np.uint8)
    for _ in range(500):
        centre, axes = random.integers(0, side, 2).tolist(), random.integers(3, 11, 2).tolist()
        colour = random.integers(30, 230, 3).tolist()
        cv2.ellipse(scene, centre, axes, float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return scene


def seen(scene: np.ndarray, degrees: float = 0, zoom: float = 1) -> np.ndarray:
    """The middle of a scene, turned and enlarged, (SIDE, SIDE, 3) uint8."""
    middle = (scene.shape[0] - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), degrees, zoom)
    turn[:, 2] -= middle - (SIDE - 1) / 2
    return cv2.warpAffine(scene, turn, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


@pytest.fixture
def dataset_of():
    """Makes a dataset: `dataset_of(features, labels, contents)`; rows beyond the labels are test pictures."""

    def make(features: np.ndarray, labels: list[int], contents: list[str] | None = None) -> AuditDataset:
        rows = range(len(features))
        names = [f"train/{row}" if row < len(labels) else f"test/{row}" for row in rows]
        digests = [f"{row:064x}" for row in rows]
        return AuditDataset(
            names=names,
            digests=digests,
            contents=contents or digests,
            files={},
            labels=np.array(labels),
            folds=np.arange(len(labels)) % 2,
            classes=["<a>", "b", "c"],
            features=np.asarray(features, np.float32),
            load_pixels=lambda wanted: np.stack([seen(gravel(int(one, 16))) for one in wanted]),
            load_features=lambda wanted, view: np.asarray(features, np.float32)[[int(one, 16) for one in wanted]],
        )

    return make
