"""Predicts new pictures with a finished run: every fold, in the recipe's views, as its submission was made.

Heads on features predict through the engine that the run used, without Keras; networks, and runs of before 0.2, through
their saved Keras models.
"""

import glob
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import images, transforms
from pipeline.data.picture_files import list_pictures
from pipeline.errors import StarshiftError, require
from pipeline.models import inference_engines
from pipeline.models.base import Base
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.runs.novelty import FALSE_ALARMS, Neighbours, load_neighbours, normalize_parts
from pipeline.terminal import open_bar
from pipeline.training.export import HEADS_FILE

CHUNK_SIZE = 64
"""Pictures that are decoded and predicted at a time."""
TOP_K = 5
BAR_WIDTH = 30
NEAREST = 3
"""Training pictures that are named beside an answer."""

Extract = Callable[[Mapping[int, np.ndarray]], dict[str, np.ndarray]]
Classify = Callable[[Mapping[int, np.ndarray], Mapping[str, np.ndarray] | None], np.ndarray]
"""See RunPredictor."""


@dataclass(frozen=True, kw_only=True)
class RunPredictor:
    """A finished run, ready to predict.

    Args:
        classes: names, in the order of the columns.
        sizes: sides of the pictures that it takes, in pixels, ascending.
        views: that are averaged.
        extract: from pictures (n, size, size, 3) uint8 by size to the features (n, width) of each frozen base, by its
            name in the recipe.
        classify: from pictures, and their features in the same view where they were extracted, to the folds' mean
            probabilities (n, classes).
        neighbours: the training pictures, where their features are on this machine.
    """

    classes: tuple[str, ...]
    sizes: tuple[int, ...]
    views: tuple[str, ...]
    extract: Extract
    classify: Classify
    neighbours: Neighbours | None = None

    def compare(
        self, features: Mapping[str, np.ndarray] | None, count: int
    ) -> tuple[np.ndarray, list[list[tuple[str, str, float]]]]:
        """Compares pictures with the training pictures.

        Args:
            features: in the plain view, by base; None without neighbours.
            count: of the pictures.

        Returns:
            Which are unlike the training pictures, (n,) bool, and the nearest of those to each.
        """
        if self.neighbours is None or features is None:
            return np.zeros(count, bool), [[] for _ in range(count)]
        joined = normalize_parts([features[text] for text in self.neighbours.texts])
        return self.neighbours.is_novel(joined), self.neighbours.find_nearest(joined, NEAREST)

    def predict(
        self,
        pixels: Mapping[int, np.ndarray],
        digests: Sequence[str],
        extracted: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> np.ndarray:
        """Predicts pictures, averaged over the views.

        Args:
            pixels: the pictures (n, size, size, 3) uint8 RGB, by size.
            digests: SHA-256 of each picture's bytes, which seeds augmented views.
            extracted: their features by base, by view, of views in which they were extracted.

        Returns:
            Probabilities (n, classes) float32; rows sum to 1.
        """
        known = extracted or {}
        predictions = [
            self.classify(
                {size: transforms.apply_view(view, pixels[size], digests) for size in self.sizes}, known.get(view)
            )
            for view in self.views
        ]
        return np.asarray(np.mean(predictions, axis=0, dtype=np.float64), np.float32)


@dataclass(frozen=True, kw_only=True)
class PicturePredictions:
    """Predictions of pictures.

    Args:
        classes: names, in the order of the columns.
        names: of the pictures that can be read.
        probabilities: (pictures, classes) float32.
        novel: whether a picture is unlike the training pictures, (pictures,) bool; None where that is not known.
        nearest: the nearest training pictures of each: id, class and cosine; empty where they are not known.
        unreadable: why the others cannot be read, by name.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: np.ndarray
    novel: np.ndarray | None
    nearest: list[list[tuple[str, str, float]]]
    unreadable: Mapping[str, str]

    def list_top_classes(self) -> list[list[tuple[str, float]]]:
        """Lists for each picture its likeliest classes and their probabilities, see the function of this name."""
        return list_top_classes(self.classes, self.probabilities)


def list_top_classes(classes: Sequence[str], probabilities: np.ndarray) -> list[list[tuple[str, float]]]:
    """Lists for each row of probabilities its TOP_K likeliest classes with theirs, the likeliest first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP_K]
    return [
        [(classes[number], float(row[number])) for number in numbers]
        for numbers, row in zip(order, probabilities, strict=True)
    ]


def build_table_row(top: Sequence[tuple[str, float]]) -> dict[str, str]:
    """Builds the cells of a CSV row from the likeliest classes: class_1, probability_1, class_2 ..."""
    cells = [((f"class_{k}", label), (f"probability_{k}", f"{value:.6f}")) for k, (label, value) in enumerate(top, 1)]
    return dict(pair for pairs in cells for pair in pairs)


def load_predictor(folder: Path) -> RunPredictor:
    """Loads a finished run's heads or networks.

    Raises:
        StarshiftError: the run is unfinished, or lacks its model.
    """
    run = load.load_run(folder)
    bases = load.list_bases(run.config)
    extract = _load_engines(run, bases)
    classify = _load_heads(folder, extract) if (folder / HEADS_FILE).is_file() else _load_models(folder)
    return RunPredictor(
        classes=tuple(run.classes),
        sizes=tuple(sorted({base.size for base in bases.values()})),
        views=tuple(run.recipe["views"]),
        extract=extract,
        classify=classify,
        neighbours=load_neighbours(run),
    )


def _load_engines(run: load.Run, bases: Mapping[str, Base]) -> Extract:
    """Loads the engines of the frozen bases, the ones that the run used, when they are first needed."""
    used = {text: str(choice["engine"]) for text, choice in run.results.get("engines", {}).items()}
    engines = dict[str, inference_engines.Engine]()

    def load_one(text: str, base: Base) -> inference_engines.Engine:
        installed = inference_engines.find_float32_engine()
        engine = used.get(text, installed) if installed != "keras" else installed
        return inference_engines.load_engine(base, inference_engines.EngineChoice(engine=engine))

    def extract(pixels: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
        for text, base in bases.items():
            if text not in engines:
                engines[text] = load_one(text, base)
        return {text: engines[text](pixels[base.size]) for text, base in bases.items()}

    return extract


def _load_heads(folder: Path, extract: Extract) -> Classify:
    """Loads the heads of the folds, which take the features of all bases."""
    heads = load.load_heads(folder)

    def classify(pixels: Mapping[int, np.ndarray], extracted: Mapping[str, np.ndarray] | None) -> np.ndarray:
        features = np.concatenate(list((extracted or extract(pixels)).values()), axis=1)
        return np.mean([head.probabilities(features) for head in heads], axis=0)

    return classify


def has_model(folder: Path) -> bool:
    """Returns whether a run can be asked; one that was made of others has no model of its own."""
    return (folder / HEADS_FILE).is_file() or bool(_find_models(folder))


def list_models(folder: Path) -> list[Path]:
    """Lists the saved Keras models of a run: the folds' networks, or the one model of heads on features.

    Raises:
        StarshiftError: there is none.
    """
    paths = _find_models(folder)
    if not paths:
        raise StarshiftError(
            f"The run {folder.name} has no model.",
            expected=f"models/fold*.keras or model.keras in {folder}",
            received="neither",
            remedy="make it again; its features are cached",
        )
    return paths


def _find_models(folder: Path) -> list[Path]:
    return sorted((folder / "models").glob("fold*.keras")) or list(folder.glob("model.keras"))


def _load_models(folder: Path) -> Classify:
    """Loads the saved Keras models."""
    from pipeline.models.keras_input import ArraySequence, build_keras_input

    models = [load.load_model(path) for path in list_models(folder)]

    def classify(pixels: Mapping[int, np.ndarray], _: Mapping[str, np.ndarray] | None) -> np.ndarray:
        inputs = [pixels[tensor.shape[1]] for tensor in models[0].inputs]
        values = [model.predict(build_keras_input(ArraySequence(inputs, CHUNK_SIZE)), verbose=0) for model in models]
        mean = np.mean(values, axis=0, dtype=np.float64)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))

    return classify


def find_pictures(text: str) -> dict[str, Path]:
    """Finds pictures by their names.

    Args:
        text: a picture, a folder with pictures in it or below it, or a pattern such as `photos/*.jpg`.

    Raises:
        StarshiftError: nothing is there.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        found = list_pictures(path)
    elif path.is_file():
        found = {path.name: path}
    else:
        found = {name: Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()}
    require(
        found,
        f"There is no picture at {text}.",
        expected="a picture, a folder of pictures, or a pattern in quotes such as 'photos/*.jpg'",
        received="a folder without pictures" if path.is_dir() else "no such file or folder",
    )
    return found


def predict_pictures(predictor: RunPredictor, files: Mapping[str, Path]) -> PicturePredictions:
    """Predicts pictures; those that cannot be read are listed with the reason.

    Args:
        predictor: of the run.
        files: pictures by name.
    """
    names, parts, unreadable = list[str](), list[np.ndarray](), dict[str, str]()
    novel, nearest = list[np.ndarray](), list[list[tuple[str, str, float]]]()
    with open_bar(total=len(files), desc="pictures", unit="picture") as bar:
        for chunk in decode_chunks(files, predictor.sizes):
            good = {name: item for name, item in chunk.items() if not isinstance(item, str)}
            unreadable |= {name: item for name, item in chunk.items() if isinstance(item, str)}
            if good:
                pixels = {size: np.stack([item[0][size] for item in good.values()]) for size in predictor.sizes}
                # Both need the features of the plain view: they are extracted once.
                plain = predictor.extract(pixels) if predictor.neighbours else None
                digests = [item[1] for item in good.values()]
                parts.append(predictor.predict(pixels, digests, {"plain": plain} if plain else None))
                names.extend(good)
                unlike, near = predictor.compare(plain, len(good))
                novel.append(unlike)
                nearest.extend(near)
            bar.update(len(chunk))
    empty = np.empty((0, len(predictor.classes)), np.float32)
    return PicturePredictions(
        classes=predictor.classes,
        names=tuple(names),
        probabilities=np.concatenate(parts) if parts else empty,
        novel=np.concatenate([*novel, np.zeros(0, bool)]) if predictor.neighbours else None,
        nearest=nearest,
        unreadable=unreadable,
    )


def decode_chunks(files: Mapping[str, Path], sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yields decoded pictures by name: pixels by size and a digest, or the reason why one cannot be read."""

    def decode(path: Path) -> tuple[dict[int, np.ndarray], str] | str:
        try:
            return decode_picture(path.read_bytes(), sizes)
        except (images.UnreadableImageError, OSError) as error:
            return str(error)

    names = list(files)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), CHUNK_SIZE):
            part = names[start : start + CHUNK_SIZE]
            yield dict(zip(part, pool.map(decode, [files[name] for name in part]), strict=True))


def decode_picture(data: bytes, sizes: Sequence[int]) -> tuple[dict[int, np.ndarray], str]:
    """Decodes a picture to pixels (size, size, 3) uint8 RGB by size, and the SHA-256 of its bytes.

    Raises:
        UnreadableImageError: no picture, or a truncated one.
    """
    return {size: images.decode(data, size) for size in sizes}, hashlib.sha256(data).hexdigest()


def format_predictions(predictions: PicturePredictions) -> list[str]:
    """Formats each picture's likeliest classes, a line each with a bar, and what is known of its neighbourhood."""
    lines = []
    for number, (name, top) in enumerate(zip(predictions.names, predictions.list_top_classes(), strict=True)):
        width = max(len(label) for label, _ in top)
        lines += [name, *(f"  {label:<{width}}  {p:>6.1%}  {'█' * round(BAR_WIDTH * p)}".rstrip() for label, p in top)]
        if predictions.novel is None:
            lines.append("  the training pictures are not on this machine: nothing says whether this is one like them")
            continue
        if predictions.novel[number]:
            lines.append(f"  not sure: unlike the training pictures (so are {FALSE_ALARMS:.0%} of pictures like those)")
        near = (f"{label} {identity} ({cosine:.2f})" for identity, label, cosine in predictions.nearest[number])
        lines.append(f"  nearest training pictures: {', '.join(near)}")
    return lines + [f"{name}: cannot be read: {reason}" for name, reason in predictions.unreadable.items()]


def build_records(predictions: PicturePredictions) -> list[dict[str, Any]]:
    """Builds one record a picture, by name, for JSON: its likeliest classes, or why it cannot be read."""
    novel = [None] * len(predictions.names) if predictions.novel is None else predictions.novel.tolist()
    tops = predictions.list_top_classes()
    records: list[dict[str, Any]] = [
        {
            "picture": name,
            "classes": [{"class": label, "probability": p} for label, p in top],
            "unlike_training": unlike,
            "nearest": [{"id": identity, "class": label, "cosine": cosine} for identity, label, cosine in near],
        }
        for name, top, unlike, near in zip(predictions.names, tops, novel, predictions.nearest, strict=True)
    ]
    records += [{"picture": name, "error": reason} for name, reason in predictions.unreadable.items()]
    return sorted(records, key=lambda record: str(record["picture"]))


def write_prediction_table(path: Path, predictions: PicturePredictions) -> None:
    """Writes a CSV file, a row a picture: the likeliest classes and their probabilities; empty where unreadable."""
    blank = dict.fromkeys(build_table_row([("", 0.0)] * min(TOP_K, len(predictions.classes))), "")
    unknown = {"unlike_training": ""}
    rows = {name: {"picture": name, **blank, **unknown} for name in (*predictions.names, *predictions.unreadable)}
    for number, (name, top) in enumerate(zip(predictions.names, predictions.list_top_classes(), strict=True)):
        rows[name] |= build_table_row(top)
        if predictions.novel is not None:
            rows[name]["unlike_training"] = "yes" if predictions.novel[number] else "no"
    runs.write_table(path, [rows[name] for name in sorted(rows)])


def check_output(path: Path, *, force: bool) -> None:
    """Checks that a file can be written, before anything is computed.

    Raises:
        StarshiftError: its folder does not exist, it is a folder, or a file is there and `force` is false.
    """
    require(path.parent.is_dir(), f"There is no folder {path.parent}.", expected="a file in a folder that exists",
            received=str(path), remedy=f"mkdir -p {path.parent}")  # fmt: skip
    require(not path.is_dir(), f"{path} is a folder.", expected="the name of a file", received=str(path))
    require(force or not path.exists(), f"{path} is there already.", expected="a new file", received=str(path),
            remedy="--force writes over it; --out names another")  # fmt: skip
