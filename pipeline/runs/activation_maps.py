"""Class-activation maps: which places of a picture speak for a class, in the eyes of a run.

Where maps are averaged and the head is linear, a class's logit is the mean over places of maps times weights, so what
each place contributes is known exactly (Zhou et al. 2016, Learning Deep Features for Discriminative Localization, CVPR,
section 2). A logit counts beside the other classes', so each class's weights are taken less the mean over classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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

ExtractMaps = Callable[[Mapping[int, np.ndarray]], list[np.ndarray]]
"""From pictures (n, size, size, 3) uint8 by size to maps (n, height, width, channels) float32, an array a part."""


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A finished run, ready to explain its answers.

    Args:
        classes: names, in the order of the maps' last axis.
        sizes: sides of the pictures that it takes, in pixels, ascending.
        extract: the maps of each part before they are averaged.
        weights: of the channels of all parts (channels, classes) float32, less their mean over the classes.
        texts: the base of each part, as the recipe names it, where the means of the parts are the features that the
            run predicts with; else empty.
    """

    classes: tuple[str, ...]
    sizes: tuple[int, ...]
    extract: ExtractMaps
    weights: np.ndarray
    texts: tuple[str, ...] = ()

    def compute(self, pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Computes the contributions (n, height, width, classes) float32 of places, an array a part.

        The mean over the places of a part, summed over the parts, is the class's logit less its bias and the classes'
        mean.
        """
        parts = self.extract(pixels)
        return [part @ weights for part, weights in zip(parts, self._split_weights(parts), strict=True)]

    def _split_weights(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        return np.split(self.weights, np.cumsum([part.shape[-1] for part in parts])[:-1])

    def pool_parts(self, parts: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Averages maps over their places to the features (n, channels) float32 of each base in `texts`."""
        return {text: part.mean(axis=(1, 2)) for text, part in zip(self.texts, parts, strict=True)}

    def draw_maps(self, parts: Sequence[np.ndarray], labels: Sequence[int]) -> np.ndarray:
        """Computes what each place of pictures says for one class each.

        Args:
            parts: their maps, from `extract`.
            labels: the number of the class for each picture.

        Returns:
            (n, size, size) float32 at the largest size: positive for the class, negative against it.
        """
        side = self.sizes[-1]
        maps = np.zeros((len(labels), side, side), np.float32)
        for part, weights in zip(parts, self._split_weights(parts), strict=True):
            chosen = [one @ weights[:, label] for one, label in zip(part, labels, strict=True)]
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
    texts = tuple[str, ...]()
    if (folder / HEADS_FILE).is_file():
        extract, weights = _load_frozen(bases, read_heads(folder / HEADS_FILE))
        engines = [str(choice["engine"]) for choice in run.results.get("engines", {}).values()]
        # What was rounded to bfloat16 is not the mean of float32 maps.
        texts = tuple(bases) if "bfloat16" not in map(inference_engines.find_precision, engines) else ()
    elif load.read_strategy(run.config) == "features":
        raise StarshiftError(f"{folder.name} did not keep its heads.", expected=HEADS_FILE, received="a run of before",
                             remedy="make it again; its features are cached")  # fmt: skip
    else:
        extract, weights = _load_networks(folder)
    sizes = tuple(sorted({base.size for base in bases.values()}))
    return Explainer(classes=tuple(run.classes), sizes=sizes, extract=extract, weights=weights, texts=texts)


def _require_linear(layers: int) -> None:
    require(layers == 1, "A map is exact for a linear head.", expected="--head linear or lda, or a fine-tuned network",
            received=f"a head of {layers} layers", remedy="explain a run with such a head")  # fmt: skip


def _load_frozen(bases: Mapping[str, Base], heads: Sequence[Head]) -> tuple[ExtractMaps, np.ndarray]:
    """Loads the bases without their pooling, and the mean weights of the folds' heads."""
    _require_linear(len(heads[0].layers))
    weights = _center(np.mean([head.layers[0][0] for head in heads], axis=0))
    choice = inference_engines.EngineChoice(engine=inference_engines.find_float32_engine())
    engines = [(base.size, inference_engines.load_engine(replace(base, pooling="none"), choice))
               for base in bases.values()]  # fmt: skip

    def extract(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        return [run_engine(pixels[size]) for size, run_engine in engines]

    return extract, weights


def _load_networks(folder: Path) -> tuple[ExtractMaps, np.ndarray]:
    """Loads the networks of the folds up to their maps before pooling, and the weights of their heads."""
    paths = predictor.list_models(folder)
    import keras

    networks, weights = list[Any](), list[np.ndarray]()
    for path in paths:
        model = keras.models.load_model(path, compile=False)
        pooling = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
        dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        require(pooling, "A map is exact where a network averages its maps.", expected="average pooling",
                received=f"none in {path.name}", remedy="explain a run that starts from a base")  # fmt: skip
        _require_linear(len(dense))
        networks.append(keras.Model(model.input, pooling[0].input))
        weights.append(_center(keras.ops.convert_to_numpy(dense[0].kernel)) / len(paths))

    def extract(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        (batch,) = pixels.values()
        return [keras.ops.convert_to_numpy(network(batch, training=False)) for network in networks]

    return extract, np.concatenate(weights)


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
    maps = explainer.draw_maps(explainer.extract(pixels), chosen.tolist())
    shown = pixels[explainer.sizes[-1]]
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
