"""A service that is small enough to see through: a picture's features are its mean colour."""

import numpy as np
import pytest

from pipeline.runs.activation_maps import EXACT, Explainer
from pipeline.runs.novelty import Neighbours, normalize_parts
from pipeline.runs.predictor import RunPredictor
from pipeline.serving.answers import Limits, PictureService

SIDE = 32
WEIGHTS = np.array([[-4, 4], [0, 0], [4, -4]], np.float32)
"""Blue speaks for `blue`, red for `red`."""


class Colours:
    """Counts how often pictures are looked at."""

    def __init__(self):
        self.passes = 0

    def extract_maps(self, pixels):
        self.passes += 1
        return [pixels[SIDE].astype(np.float32) / 255]

    def extract(self, pixels):
        return {"colour": self.extract_maps(pixels)[0].mean(axis=(1, 2))}

    def classify(self, pixels, extracted):
        features = (extracted or self.extract(pixels))["colour"]
        logits = np.exp(features @ WEIGHTS)
        return logits / logits.sum(axis=1, keepdims=True)


@pytest.fixture
def colours():
    return Colours()


@pytest.fixture
def make_service(colours):
    """Makes a service, with other limits or without a map if asked."""

    def make(with_map=True, **limits):
        features = normalize_parts([np.float32([[0.1, 0.2, 0.9 - k / 100] for k in range(10)])])
        neighbours = Neighbours(names=[f"{k}.jpg" for k in range(10)], labels=["blue"] * 10, texts=("colour",),
                                features=features, threshold=0.1)  # fmt: skip
        predictor = RunPredictor(classes=("blue", "red"), sizes=(SIDE,), views=("plain", "flip"),
                                 extract=colours.extract, classify=colours.classify, neighbours=neighbours)  # fmt: skip
        explainer = Explainer(classes=("blue", "red"), sizes=(SIDE,), extract=colours.extract_maps,
                              weigh=lambda parts: [np.broadcast_to(WEIGHTS, (len(parts[0]), *WEIGHTS.shape))],
                              method=EXACT, texts=("colour",))  # fmt: skip
        return PictureService("a-run", predictor, explainer if with_map else None, "", Limits(**limits))

    return make
