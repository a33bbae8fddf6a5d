"""Describes a saved model beside it, as JSON: what to feed it, what it answers, and what may be expected of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import Competition
from pipeline.data.images import RESIZE_METHOD
from pipeline.models.base import list_licences, list_networks

EXAMPLE = """\
import json, keras, numpy, PIL.Image, PIL.ImageOps
card = json.load(open("{card}")); model = keras.models.load_model(card["model"], compile=False)
photo = PIL.ImageOps.exif_transpose(PIL.Image.open("photo.jpg")).convert("RGB").resize(({size}, {size}), 2)
print(card["classes"][model.predict(numpy.array([photo])).argmax()])
"""
"""Loads a model in plain Keras and asks it; 2 is Pillow's antialiased bilinear resizing."""


def build_model_card(
    competition: Competition,
    classes: Sequence[str],
    results: Mapping[str, Any],
    environment: Mapping[str, Any],
    model: Path,
    trained_on: str,
) -> dict[str, Any]:
    """Builds the description of a saved model: JSON values.

    Args:
        competition: as it was run.
        classes: names, in the order of the model's outputs.
        results: entries of metrics.json.
        environment: environment.json.
        model: the .keras file; the card lies beside it.
        trained_on: which pictures the model was trained on, a sentence.
    """
    recipe = competition.recipe
    networks = list_networks(recipe)
    size, views = max(base.size for base in networks), results.get("views", {})
    return {
        "model": model.name,
        "run": model.parent.name,
        "classes": list(classes),
        "input": {
            "shape": [None, size, size, 3],
            "axes": "picture, row, column, channel",
            "dtype": "uint8",
            "value_range": [0, 255],
            "channels": "RGB",
            "resize": f"the whole picture to a square: {RESIZE_METHOD}",
        },
        "output": "probabilities (pictures, classes) float32; rows sum to 1",
        "bases": [str(base) for base in networks],
        "licences": list_licences(networks),
        "trained_on": trained_on,
        "views": "plain: the picture as it is; the run's score averages these: " + ", ".join(recipe.views),
        "score": {
            "metric": competition.metric,
            "plain": views.get("plain"),
            "averaged": results["score"],
            "spread": results["spread"],
            "chance": results["chance"],
        },
        "differences": {name: results[name] for name in ("parity_difference", "resize_difference") if name in results},
        "versions": environment.get("libraries", {}),
        "bytes": model.stat().st_size,
        "example": EXAMPLE.format(card=model.with_suffix(".json").name, size=size).splitlines(),
    }
