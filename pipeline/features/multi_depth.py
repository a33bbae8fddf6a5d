"""Extracts a base's features at every cut in one forward pass.

Features are those of an Extractor of each cut, in the same stores, so that a recipe with a cut uses them.
"""

import functools
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.pixel_cache import open_pixel_store
from pipeline.errors import require
from pipeline.features.cache import open_feature_store
from pipeline.features.extractor import iterate_rows
from pipeline.files import read_json, write_json
from pipeline.models import inference_engines
from pipeline.models.base import Base
from pipeline.models.inference_engines import (
    BATCH_SIZES,
    Engine,
    KerasEngine,
    OpenVINOEngine,
    require_usable,
)
from pipeline.terminal import open_bar

PRECISION = "float32"
VIEW = "plain"
MAX_ROUNDS, MAX_SECONDS = 6, 4.0
"""Of measuring speeds: batches of each cut, and seconds after which none begins."""


def list_cuts(base: Base) -> list[Base]:
    """Lists the base cut at each of its blocks, from the picture upwards, and the whole base last.

    Raises:
        StarshiftError: the base is cut already, or has another pooling than the average.
    """
    plain = base.cut is None and base.pooling == "avg"
    require(plain, "Blocks are compared of a whole base, average-pooled.", expected=base.name, received=str(base))
    return [*(replace(base, cut=block) for block in base.entry.blocks), base]


@functools.lru_cache(maxsize=1)
def build_multi_depth_model(bases: tuple[Base, ...]) -> Any:
    """Builds a keras.Model from (n, size, size, 3) uint8 RGB to one float32 output (n, width) for each cut of a base.

    Args:
        bases: from `list_cuts`.
    """
    import keras

    from pipeline.models.build import build_network, pool_maps, preprocess

    whole = bases[-1]
    network = build_network(whole)
    network.trainable = False
    outputs = [network.get_layer(base.cut).output if base.cut else network.output for base in bases]
    pixels = keras.Input((whole.size, whole.size, 3), dtype="uint8", name=f"{whole.layer_name}_pixels")
    ready = preprocess(pixels, whole.preprocessing, whole.layer_name)
    cut_maps = keras.Model(network.input, outputs)(ready, training=False)
    pooled = []
    for number, (base, maps) in enumerate(zip(bases, cut_maps, strict=True)):
        inputs = keras.Input(maps.shape[1:])
        pooled.append(keras.Model(inputs, pool_maps(inputs, base), name=f"cut_{number}")(maps))
    return keras.Model(pixels, pooled, name=f"depth_{whole.layer_name}")


def fill_feature_stores(
    bases: Sequence[Base], files: Mapping[str, Path], digests: Sequence[str], engine: str = "auto"
) -> int:
    """Computes and stores the features that are missing at any cut, plain view, float32.

    Args:
        bases: from `list_cuts`.
        files: path of each picture, by the SHA-256 of its bytes.
        digests: the pictures.
        engine: `keras`, or `auto` or another for OpenVINO where it is installed and there is no GPU.

    Returns:
        The number of pictures that were computed.
    """
    stores = [open_feature_store(base, VIEW, PRECISION) for base in bases]
    missing_in = [set(store.missing(digests)) for store in stores]
    missing = [digest for digest in dict.fromkeys(digests) if any(digest in one for one in missing_in)]
    if not missing:
        return 0
    run, widths = load_multi_depth_engine(bases, engine)
    title, pixels = f"{bases[-1]} at {len(bases)} cuts", open_pixel_store(bases[-1].size)
    for part, rows in iterate_rows(run, pixels, missing, files, VIEW, title):
        require_usable(rows, bases[-1], engine)
        columns = np.split(rows, np.cumsum(widths)[:-1], axis=1)
        for store, absent, values in zip(stores, missing_in, columns, strict=True):
            new = [row for row, digest in enumerate(part) if digest in absent]
            store.append([part[row] for row in new], np.ascontiguousarray(values[new]))
    return len(missing)


def load_multi_depth_engine(bases: Sequence[Base], engine: str) -> tuple[Engine, list[int]]:
    """Returns an engine that computes the features of all cuts side by side, and the width of each."""
    inference_engines.check_engine(engine, bases[-1])
    import keras

    model = build_multi_depth_model(tuple(bases))
    joined = keras.Model(model.input, keras.layers.Concatenate(name="all_cuts")(model.outputs))
    widths = [int(output.shape[-1]) for output in model.outputs]
    if engine == "keras" or (
        engine == "auto" and (inference_engines.has_gpu() or not inference_engines.can_export(bases[-1]))
    ):
        return KerasEngine(lambda: joined), widths
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        joined.export(str(path), format="openvino", verbose=False)
        return OpenVINOEngine(path, PRECISION), widths


def measure_speeds(bases: Sequence[Base]) -> list[float]:
    """Returns pictures per second up to each cut, by Keras, measured once on this machine and cached.

    Args:
        bases: from `list_cuts`.
    """
    path, machine = inference_engines.find_engine_folder(bases[-1]) / "depth.json", inference_engines.describe_machine()
    stored = read_json(path)
    if stored and stored["machine"] == machine and len(stored["speeds"]) == len(bases):
        return list(stored["speeds"])
    speeds = _time_cuts(bases)
    write_json(path, {"machine": machine, "speeds": speeds})
    return speeds


def _time_cuts(bases: Sequence[Base]) -> list[float]:
    """Times the fastest of several batches of noise up to each cut, in turn, so that other work disturbs them alike."""
    import keras

    model = build_multi_depth_model(tuple(bases))
    shape = (BATCH_SIZES["keras"], bases[-1].size, bases[-1].size, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    engines = [KerasEngine(functools.partial(keras.Model, model.input, output)) for output in model.outputs]
    for engine in open_bar(engines, desc=f"speed of {bases[-1]}", unit="cut"):
        engine(noise)
    best, end = np.full(len(engines), np.inf), time.perf_counter() + MAX_SECONDS
    for finished in range(MAX_ROUNDS):
        if finished >= 2 and time.perf_counter() > end:
            break
        for number, engine in enumerate(engines):
            started = time.perf_counter()
            engine(noise)
            best[number] = min(best[number], time.perf_counter() - started)
    least = np.minimum.accumulate(best[::-1])[::-1]  # a lower cut is part of every higher one, so never slower
    return [round(len(noise) / seconds, 1) for seconds in least]
