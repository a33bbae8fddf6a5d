"""Class-activation maps: which places of a picture speak for a class, in the eyes of a run.

Where maps are averaged and the head is linear, a class's logit is the mean over places of maps times weights, so what
each place contributes is known exactly (Zhou et al. 2016, Learning Deep Features for Discriminative Localization, CVPR,
section 2). A logit counts beside the other classes', so each class's weights are taken less the mean over classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.data import images
from pipeline.errors import StarshiftError, require
from pipeline.figures.contact_sheet import draw_contact_sheet
from pipeline.figures.style import BLUE, ORANGE
from pipeline.files import write_atomic
from pipeline.models import inference_engines
from pipeline.models.base import Base
from pipeline.models.heads import Head
from pipeline.runs import load, predictor
from pipeline.training.export import HEADS_FILE, read_heads

MAX_PICTURES = 24
"""Pictures on a sheet."""
COLUMNS = 4
MAX_OPACITY = 0.65
MAX_BYTES = 1_500_000

Evidence = Callable[[Mapping[int, np.ndarray]], list[np.ndarray]]
"""From pictures (n, size, size, 3) uint8 by size to contributions (n, height, width, classes) float32, an array a part.

The mean over the places of a part, summed over the parts, is the class's logit less its bias and the classes' mean.
"""


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A finished run, ready to explain its answers.

    Args:
        classes: names, in the order of the maps' last axis.
        sizes: sides of the pictures that it takes, in pixels, ascending.
        compute: the contributions of places.
    """

    classes: tuple[str, ...]
    sizes: tuple[int, ...]
    compute: Evidence

    def draw_maps(self, pixels: Mapping[int, np.ndarray], labels: Sequence[int]) -> np.ndarray:
        """Computes what each place of pictures says for one class each.

        Args:
            pixels: the pictures (n, size, size, 3) uint8 RGB, by size.
            labels: the number of the class for each picture.

        Returns:
            (n, size, size) float32 at the largest size: positive for the class, negative against it.
        """
        side, rows = self.sizes[-1], np.arange(len(labels))
        maps = np.zeros((len(labels), side, side), np.float32)
        for part in self.compute(pixels):
            chosen = part[rows, :, :, list(labels)]
            maps += np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in chosen])
        return maps


def load_explainer(folder: Path) -> Explainer:
    """Loads what a finished run explains its answers with.

    Raises:
        StarshiftError: its bases are not average-pooled, its head is not linear, or it has no model.
    """
    run = load.load_run(folder)
    bases = load.list_bases(run.config)
    for base in bases.values():
        require(base.pooling == "avg", "A map is exact where a base's maps are averaged.", expected="pooling avg",
                received=str(base), remedy="a run whose bases are average-pooled")  # fmt: skip
    if (folder / HEADS_FILE).is_file():
        compute = _load_frozen(run, bases, read_heads(folder / HEADS_FILE))
    elif load.read_strategy(run.config) == "features":
        raise StarshiftError(f"{folder.name} did not keep its heads.", expected=HEADS_FILE, received="a run of before",
                             remedy="make it again; its features are cached")  # fmt: skip
    else:
        compute = _load_networks(folder)
    sizes = tuple(sorted({base.size for base in bases.values()}))
    return Explainer(classes=tuple(run.classes), sizes=sizes, compute=compute)


def _require_linear(layers: int) -> None:
    require(layers == 1, "A map is exact for a linear head.", expected="--head linear or lda, or a fine-tuned network",
            received=f"a head of {layers} layers", remedy="explain a run with such a head")  # fmt: skip


def _load_frozen(run: load.Run, bases: Mapping[str, Base], heads: Sequence[Head]) -> Evidence:
    """Loads the bases without their pooling, and the mean weights of the folds' heads."""
    _require_linear(len(heads[0].layers))
    weights = _center(np.mean([head.layers[0][0] for head in heads], axis=0))
    choice = inference_engines.EngineChoice(engine=inference_engines.find_float32_engine())
    engines = [(base.size, inference_engines.load_engine(replace(base, pooling="none"), choice))
               for base in bases.values()]  # fmt: skip

    def compute(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        parts, first = [], 0
        for size, run_engine in engines:
            maps = run_engine(pixels[size])
            parts.append(maps @ weights[first : first + maps.shape[-1]])
            first += maps.shape[-1]
        return parts

    return compute


def _load_networks(folder: Path) -> Evidence:
    """Loads the networks of the folds, their maps before pooling, and the weights of their heads."""
    paths = predictor.list_models(folder)
    import keras

    pairs = []
    for path in paths:
        model = keras.models.load_model(path, compile=False)
        pooling = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
        dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        require(pooling, "A map is exact where a network averages its maps.", expected="average pooling",
                received=f"none in {path.name}", remedy="explain a run that starts from a base")  # fmt: skip
        _require_linear(len(dense))
        kernel = _center(keras.ops.convert_to_numpy(dense[0].kernel)) / len(paths)
        pairs.append((keras.Model(model.input, pooling[0].input), kernel))

    def compute(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        (batch,) = pixels.values()
        return [keras.ops.convert_to_numpy(maps(batch, training=False)) @ kernel for maps, kernel in pairs]

    return compute


def _center(weights: np.ndarray) -> np.ndarray:
    """Returns weights (channels, classes) less their mean over the classes, which softmax does not see."""
    return np.asarray(weights - weights.mean(axis=1, keepdims=True), np.float32)


def overlay_map(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Colours a picture (side, side, 3) uint8 by a map (side, side): orange for the class, blue against it."""
    share = np.clip(values / max(float(np.abs(values).max()), 1e-12), -1, 1)[..., None]
    colours = [np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)], np.float32) for colour in (ORANGE, BLUE)]
    colour, opacity = np.where(share > 0, *colours), MAX_OPACITY * np.abs(share)
    return np.asarray(picture * (1 - opacity) + colour * opacity, np.uint8)


def write_explanation(folder: Path, files: Mapping[str, Path], out: Path, label: str | None = None) -> int:
    """Writes a sheet: each picture, and beside it what speaks for its likeliest class or for a named one.

    Args:
        folder: of a finished run.
        files: pictures by name; the first MAX_PICTURES that can be read are drawn.
        out: the PNG file.
        label: the class to explain; None takes each picture's likeliest.

    Returns:
        The number of pictures that were drawn.

    Raises:
        StarshiftError: no such class, no readable picture, or see `load_explainer`.
    """
    explainer = load_explainer(folder)
    if label is not None:
        require(label in explainer.classes, f"The run knows no class {label!r}.",
                expected=", ".join(explainer.classes[:20]), received=label)  # fmt: skip
    answer = predictor.predict_pictures(predictor.load_predictor(folder), dict(list(files.items())[:MAX_PICTURES]))
    if not answer.names:
        raise StarshiftError("No picture here can be read.", received="; ".join(answer.unreadable.values())[:300])
    chosen = answer.probabilities.argmax(axis=1)
    if label is not None:
        chosen = np.full(len(chosen), explainer.classes.index(label))
    contents = [files[name].read_bytes() for name in answer.names]
    pixels = {size: np.stack([images.decode(one, size) for one in contents]) for size in explainer.sizes}
    maps, shown = explainer.draw_maps(pixels, chosen.tolist()), pixels[explainer.sizes[-1]]
    pictures = [each for picture, one in zip(shown, maps, strict=True) for each in (picture, overlay_map(picture, one))]
    captions = [
        caption
        for name, number, row in zip(answer.names, chosen, answer.probabilities, strict=True)
        for caption in (name[-28:], f"{answer.classes[number][:20]} {row[number]:.1%}")
    ]
    title = f"What {folder.name} looks at"
    note = "orange speaks for the class, blue against it"
    sheet = draw_contact_sheet(np.stack(pictures), COLUMNS, captions, title=title, note=note, limit=MAX_BYTES)
    write_atomic(out, lambda file: file.write(sheet))
    return len(answer.names)
