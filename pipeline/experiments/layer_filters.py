"""Shows what single filters of a base answer to: the places of real pictures that excite each most, layer by layer.

Early layers answer to edges and textures, late ones to parts and things (Zeiler and Fergus 2014, Visualizing and
Understanding Convolutional Networks, ECCV, section 4).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline import paths
from pipeline.config import Competition
from pipeline.data.labels import load_labeled_pictures
from pipeline.data.subsets import select_evenly
from pipeline.errors import require
from pipeline.figures.augmentations import interleave_classes, read_pictures
from pipeline.figures.contact_sheet import draw_contact_sheet
from pipeline.files import write_atomic
from pipeline.models.base import Base, parse_base
from pipeline.terminal import open_bar

LAYERS, FILTERS, PATCHES = 5, 3, 8
"""Layers from early to late, filters of each, and the places that excite a filter most."""
PICTURES = 384
BATCH_SIZE = 32
PATCH_CELLS, MIN_PATCH = 3, 16
"""Side of a patch: so many places of the map, and at least so many pixels."""
MAX_BYTES = 1_500_000


def write_layer_sheet(competition: Competition) -> Path:
    """Writes data/reports/<competition>/layers-<base>.png for the recipe's first base, and returns its path.

    Raises:
        StarshiftError: the base has tokens instead of maps, or no blocks.
    """
    recipe = competition.recipe
    base = parse_base(recipe.bases[0], recipe.size)
    require(len(base.entry.blocks) >= LAYERS and not base.entry.tokens, "Filters are those of a convolutional base.",
            expected=f"a base with maps and at least {LAYERS} blocks", received=str(base),
            remedy="--base efficientnet_lite2")  # fmt: skip
    layers = [base.entry.blocks[place] for place in select_evenly(len(base.entry.blocks), LAYERS)]
    train, raw = load_labeled_pictures(competition)
    _, pixels = read_pictures(interleave_classes(train, recipe.seed), raw, min(PICTURES, len(train)), base.size)
    peaks, cells, sides = find_peaks(base, layers, pixels)
    patches, names = [], []
    for layer, values, places, side in zip(layers, peaks, cells, sides, strict=True):
        for number in select_filters(values):
            best = np.argsort(-values[:, number], kind="stable")[:PATCHES]
            patches += [crop_patch(pixels[k], divmod(int(places[k, number]), side), side) for k in best]
            names.append(f"{layer} #{number}"[-24:])
    sheet = draw_contact_sheet(
        np.stack(patches), PATCHES, title=f"What single filters of {base.name} answer to, from early to late",
        names=names, note=f"the places of {len(pixels)} pictures of {competition.name} that excite a filter most",
        limit=MAX_BYTES,
    )  # fmt: skip
    path = paths.reports_folder(competition.name) / f"layers-{base.layer_name}.png"
    write_atomic(path, lambda file: file.write(sheet))
    return path


def find_peaks(
    base: Base, layers: Sequence[str], pixels: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """Finds where each picture excites each filter most.

    Args:
        base: whole.
        layers: names of layers with maps.
        pixels: pictures (n, size, size, 3) uint8.

    Returns:
        For each layer the largest activations (n, filters) float32, their places in the flat map (n, filters) int, and
        the side of the map.
    """
    import keras

    from pipeline.models.build import build_network, preprocess
    from pipeline.models.cuts import find_output

    network = build_network(base)
    several = keras.Model(network.input, [find_output(network, name) for name in layers])
    shown = keras.Input(pixels.shape[1:], dtype="uint8")
    model = keras.Model(shown, several(preprocess(shown, base.preprocessing, base.layer_name), training=False))
    peaks: list[list[np.ndarray]] = [[] for _ in layers]
    cells: list[list[np.ndarray]] = [[] for _ in layers]
    sides = [int(one.shape[1]) for one in several.outputs]
    for start in open_bar(range(0, len(pixels), BATCH_SIZE), desc="layers", unit="batch"):
        maps: Any = model.predict_on_batch(pixels[start : start + BATCH_SIZE])
        for number, one in enumerate(keras.tree.flatten(maps)):
            flat = np.asarray(one).reshape(len(one), -1, one.shape[-1])
            peaks[number].append(flat.max(axis=1))
            cells[number].append(flat.argmax(axis=1))
    return [np.concatenate(one) for one in peaks], [np.concatenate(one) for one in cells], sides


def select_filters(peaks: np.ndarray) -> list[int]:
    """Selects the FILTERS most selective filters: whose strongest pictures stand out most from the others.

    Args:
        peaks: the largest activation of each filter in each picture, (n, filters).
    """
    strongest = np.sort(peaks, axis=0)[-PATCHES:].mean(axis=0)
    outstanding = (strongest - peaks.mean(axis=0)) / np.maximum(peaks.std(axis=0), 1e-6)
    return [int(number) for number in np.argsort(-outstanding, kind="stable")[:FILTERS]]


def crop_patch(picture: np.ndarray, cell: tuple[int, int], side: int) -> np.ndarray:
    """Crops what lies around a place of a map.

    Args:
        picture: (size, size, 3) uint8.
        cell: row and column of the place.
        side: of the map.

    Returns:
        The patch, enlarged to the size of the picture.
    """
    size = len(picture)
    width = min(size, max(MIN_PATCH, round(PATCH_CELLS * size / side)))
    top, left = (min(max(0, round((at + 0.5) * size / side - width / 2)), size - width) for at in cell)
    patch = picture[top : top + width, left : left + width]
    return np.asarray(cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC))
