"""Class-activation maps: which places of a picture speak for a class, in the eyes of a run.

Where maps are averaged and the head is linear, a class's logit is the mean over places of maps times weights, so what
each place contributes is known exactly (Zhou et al. 2016, Learning Deep Features for Discriminative Localization, CVPR,
section 2). Elsewhere the weights are the logit's gradients, averaged over places (Selvaraju et al. 2017, Grad-CAM,
ICCV, section 3), here without their ReLU, so that places against a class are seen, too. A logit counts beside the other
classes', so each class's weights are taken less the mean over classes. Vision Transformers are shown by attention
rollout (models/attention.py), which is the same for every class.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.data import transforms
from pipeline.data.picture_files import format_unreadable
from pipeline.errors import StarshiftError, require, require_name
from pipeline.figures.contact_sheet import draw_contact_sheet
from pipeline.figures.style import BLUE, ORANGE
from pipeline.files import write_atomic
from pipeline.models import inference_engines
from pipeline.models.attention import compute_rollout
from pipeline.models.base import Base
from pipeline.models.build import build_extractor
from pipeline.models.heads import Head
from pipeline.runs import load, predictor
from pipeline.runs.predictor import RunPredictor
from pipeline.training.export import HEADS_FILE

MAX_PICTURES = 24
"""Pictures on a sheet."""
COLUMNS = 4
MAX_OPACITY = 0.65
MAX_BYTES = 1_500_000

ExtractMaps = Callable[[Mapping[int, np.ndarray]], list[np.ndarray]]
"""From pictures (n, size, size, 3) uint8 by size to maps (n, height, width, channels) float32, an array a part."""
WeighChannels = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""From the maps of each part to the weights of their channels (n, channels, classes) float32."""
MAP_POOLINGS = ("avg", "max", "both")
EXACT, GRAD_CAM = "class-activation map: exact", "Grad-CAM: by gradients"
ROLLOUT = "attention rollout: whatever the class"


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A finished run, ready to explain its answers.

    Args:
        classes: names, in the order of the maps' last axis.
        sizes: sides of the pictures that it takes, in pixels, ascending.
        extract: the maps of each part before they are pooled.
        weigh: the weights of their channels.
        method: EXACT, where the contributions add up to the logit, GRAD_CAM or ROLLOUT.
        texts: the base of each part, as the recipe names it, where the means of the parts are the features that the
            run predicts with; else empty.
    """

    classes: tuple[str, ...]
    sizes: tuple[int, ...]
    extract: ExtractMaps
    weigh: WeighChannels
    method: str
    texts: tuple[str, ...] = ()

    @property
    def legend(self) -> str:
        """Says what the colours mean."""
        meaning = "is where it looks" if self.method == ROLLOUT else "speaks for the class, blue against it"
        return f"orange {meaning} ({self.method})"

    def compute(self, pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Computes the contributions (n, height, width, classes) float32 of places, an array a part.

        Of averaged maps and a linear head, the mean over the places of a part, summed over the parts, is the class's
        logit less its bias and the classes' mean.
        """
        parts = self.extract(pixels)
        return [np.einsum("nhwc,nck->nhwk", *pair) for pair in zip(parts, self.weigh(parts), strict=True)]

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
        for part, weights in zip(parts, self.weigh(parts), strict=True):
            chosen = [one @ each[:, label] for one, each, label in zip(part, weights, labels, strict=True)]
            maps += np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in chosen])
        return maps


def load_explainer(folder: Path) -> Explainer:
    """Loads what a finished run explains its answers with.

    Raises:
        StarshiftError: a base has neither maps that are pooled by average or maximum nor blocks that attend to all
            patches, or the run has no model.
    """
    run = load.load_run(folder)
    bases = load.list_bases(run.config)
    if all(base.entry.attends_everywhere for base in bases.values()):
        return _load_rollout(folder, run.classes, bases)
    for base in bases.values():
        require(base.pooling in MAP_POOLINGS and not base.entry.tokens, "A picture is explained by a base's maps.",
                expected="convolutional bases with pooling avg, max or both, or Vision Transformers alone",
                received=str(base), remedy="explain a run on such bases")  # fmt: skip
    averaged, texts = all(base.pooling == "avg" for base in bases.values()), tuple[str, ...]()
    if (folder / HEADS_FILE).is_file():
        heads = load.load_heads(folder)
        (extract, weigh), layers = _load_frozen(bases, heads), len(heads[0].layers)
        engines = [str(choice["engine"]) for choice in run.results.get("engines", {}).values()]
        # What was rounded to bfloat16 is not the mean of float32 maps.
        if averaged and "bfloat16" not in map(inference_engines.find_precision, engines):
            texts = tuple(bases)
    elif load.read_strategy(run.config) == "features":
        raise StarshiftError(f"{folder.name} did not keep its heads.", expected=HEADS_FILE, received="a run of before",
                             remedy="make it again; its features are cached")  # fmt: skip
    else:
        extract, weigh, layers = _load_networks(folder)
    return Explainer(
        classes=tuple(run.classes),
        sizes=tuple(sorted({base.size for base in bases.values()})),
        extract=extract,
        weigh=weigh,
        method=EXACT if layers == 1 and averaged else GRAD_CAM,
        texts=texts,
    )


def _load_rollout(folder: Path, classes: Sequence[str], bases: Mapping[str, Base]) -> Explainer:
    """Loads the attention rollout of Vision Transformers: of the frozen bases, or of the networks of the folds."""
    if (folder / HEADS_FILE).is_file():
        networks = [(base, build_extractor(base)) for base in bases.values()]
    else:
        (base,) = bases.values()
        networks = [(base, load.load_model(path)) for path in predictor.list_models(folder)]

    def extract(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        return [_stretch(compute_rollout(network, base, pixels[base.size])) for base, network in networks]

    def weigh(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.ones((len(part), 1, len(classes)), np.float32) / len(parts) for part in parts]

    sizes = tuple(sorted({base.size for base in bases.values()}))
    return Explainer(classes=tuple(classes), sizes=sizes, extract=extract, weigh=weigh, method=ROLLOUT)


def _stretch(maps: np.ndarray) -> np.ndarray:
    """Stretches maps (n, height, width), each to 0 up to 1, as one channel: every patch has a share, however small."""
    low, high = (edge(maps, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    return np.asarray((maps - low) / np.maximum(high - low, 1e-12))[..., None]


def extract_together(
    run: RunPredictor, explainer: Explainer | None, pixels: Mapping[int, np.ndarray], digests: Sequence[str]
) -> tuple[list[np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """Extracts what predictions and maps share: all in one pass where the features are the means of the maps.

    Args:
        run: predicts the pictures.
        explainer: of the same run; None without maps.
        pixels: the pictures (n, size, size, 3) uint8 RGB, by size.
        digests: SHA-256 of each picture's bytes.

    Returns:
        The maps of the plain view, none where they did not give the features; and features by base, by view.
    """
    if explainer and explainer.texts:
        views, count = list(dict.fromkeys(("plain", *run.views))), len(digests)
        shown = {
            size: np.concatenate([transforms.apply_view(view, one, digests) for view in views])
            for size, one in pixels.items()
        }
        parts = explainer.extract(shown)
        rows = {view: slice(place * count, (place + 1) * count) for place, view in enumerate(views)}
        pooled = explainer.pool_parts(parts)
        extracted = {view: {text: part[row] for text, part in pooled.items()} for view, row in rows.items()}
        return [part[:count] for part in parts], extracted
    plain = run.extract(pixels) if run.neighbours else None
    return [], {"plain": dict(plain)} if plain else {}


def _load_frozen(bases: Mapping[str, Base], heads: Sequence[Head]) -> tuple[ExtractMaps, WeighChannels]:
    """Loads the bases without their pooling, and takes the mean over the folds' heads."""
    choice = inference_engines.EngineChoice(engine=inference_engines.find_float32_engine())
    poolings = [base.pooling for base in bases.values()]
    engines = [(base.size, inference_engines.load_engine(replace(base, pooling="none"), choice))
               for base in bases.values()]  # fmt: skip

    def extract(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        return [run_engine(pixels[size]) for size, run_engine in engines]

    return extract, lambda parts: weigh_channels(parts, poolings, heads)


def _load_networks(folder: Path) -> tuple[ExtractMaps, WeighChannels, int]:
    """Loads the networks of the folds up to their maps before pooling, and their heads; returns their layers, too."""
    paths = predictor.list_models(folder)
    import keras

    kinds = {keras.layers.GlobalAveragePooling2D: "avg", keras.layers.GlobalMaxPooling2D: "max"}
    networks, poolings, heads = list[Any](), list[str](), list[Head]()
    for path in paths:
        model = load.load_model(path)
        pooled = {kinds[type(layer)]: layer for layer in model.layers if type(layer) in kinds}
        require(pooled, "A picture is explained by maps that a network pools.", expected="average or maximum pooling",
                received=f"none in {path.name}", remedy="explain a run that starts from a base")  # fmt: skip
        dense = [layer.get_weights() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        networks.append(keras.Model(model.input, next(iter(pooled.values())).input))
        poolings.append("both" if len(pooled) > 1 else next(iter(pooled)))
        heads.append(Head(tuple(map(tuple, dense))))

    def extract(pixels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        (batch,) = pixels.values()
        return [keras.ops.convert_to_numpy(network(batch, training=False)) for network in networks]

    def weigh(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        each = zip(parts, poolings, heads, strict=True)
        return [weigh_channels([part], [pooling], [head])[0] / len(parts) for part, pooling, head in each]

    return extract, weigh, len(heads[0].layers)


def weigh_channels(maps: Sequence[np.ndarray], poolings: Sequence[str], heads: Sequence[Head]) -> list[np.ndarray]:
    """Weighs the channels of maps by the gradients of the logits.

    Args:
        maps: (n, height, width, channels) of each base, in the order in which its features are concatenated.
        poolings: of each base.
        heads: their gradients are averaged.

    Returns:
        (n, channels, classes) float32 of each base.
    """
    pooled = {"avg": lambda one: one.mean(axis=(1, 2)), "max": lambda one: one.max(axis=(1, 2))}
    kinds = [("avg", "max") if pooling == "both" else (pooling,) for pooling in poolings]
    pairs = zip(maps, kinds, strict=True)
    features = np.concatenate([pooled[kind](one) for one, names in pairs for kind in names], axis=1)
    gradients = np.mean([head.compute_gradients(features) for head in heads], axis=0)
    gradients = gradients - gradients.mean(axis=2, keepdims=True)  # softmax does not see what all logits share
    weights, first = [], 0
    for one, names in zip(maps, kinds, strict=True):
        channels = one.shape[-1]
        # Over the places of a channel, both poolings' gradients add up to the gradient of the pooled feature.
        shared = gradients[:, first : first + channels * len(names)].reshape(len(one), len(names), channels, -1).sum(1)
        weights.append(shared)
        first += channels * len(names)
    return weights


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
        expected = ", ".join(explainer.classes[:20])
        require_name(label, explainer.classes, f"The run knows no class {label!r}.", expected=expected)
    run = predictor.load_predictor(folder)
    decoded = itertools.chain.from_iterable(chunk.items() for chunk in predictor.decode_chunks(files, run.sizes))
    good, bad = dict[str, Any](), dict[str, str]()
    while len(good) < MAX_PICTURES and (pair := next(decoded, None)):
        (bad if isinstance(pair[1], str) else good)[pair[0]] = pair[1]
    require(good, "No picture here can be read.", expected="a picture", received="; ".join(format_unreadable(bad)))
    pixels = {size: np.stack([item[0][size] for item in good.values()]) for size in run.sizes}
    digests = [item[1] for item in good.values()]
    parts, extracted = extract_together(run, explainer, pixels, digests)
    probabilities = run.predict(pixels, digests, extracted)
    chosen = probabilities.argmax(axis=1)
    if label is not None:
        chosen = np.full(len(chosen), explainer.classes.index(label))
    maps = explainer.draw_maps(parts or explainer.extract(pixels), chosen.tolist())
    shown = pixels[explainer.sizes[-1]]
    pictures = [each for picture, one in zip(shown, maps, strict=True) for each in (picture, overlay_map(picture, one))]
    captions = [
        caption
        for name, number, row in zip(good, chosen, probabilities, strict=True)
        for caption in (Path(name).name, f"{row[number]:.1%} {run.classes[number]}")
    ]
    title = f"What {folder.name} looks at"
    sheet = draw_contact_sheet(
        np.stack(pictures), COLUMNS, captions, title=title, note=explainer.legend, limit=MAX_BYTES
    )
    write_atomic(out, lambda file: file.write(sheet))
    return len(good)
