"""Uses a learnware as a base: `--base store:[FOLDER/]NAME[@cut][+pooling]` is a base of the table with its weights.

Where the run left the base as it was published, it is that base. Otherwise its weights are extracted from the verified
archive once, into a file that Keras reads, named by the model's digest.

python -m pipeline.learnware.as_base ARCHIVE FILE     in a process of its own, because Keras names layers by counting
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError, require
from pipeline.files import replace_atomic
from pipeline.learnware import archive, store
from pipeline.learnware.archive import BaseSpec, Learnware
from pipeline.learnware.safe_loading import build_refusal
from pipeline.models import base as bases
from pipeline.models.registry import BASES
from pipeline.subprocesses import run_main, run_module

ADDRESS_PATTERN = re.compile(r"(?P<address>store:(.*/)?[a-z0-9][a-z0-9_-]*)(?P<rest>(@[^@+=/]+)?(\+[^@+=/]+)?)")
UNCHANGED_STRATEGIES = ("features", "frozen")
"""Strategies that leave the base as it was."""
OUTPUT_TOLERANCE = 1e-4
CHECK_PICTURES = 4


def resolve_bases(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the bases that a recipe names, each `store:NAME` replaced by a base of the table.

    Raises:
        StarshiftError: no such learnware, or it has no one base.
    """
    return tuple(_resolve_base(text) if text.startswith(store.ADDRESS_PREFIX) else text for text in texts)


def _resolve_base(text: str) -> str:
    match = ADDRESS_PATTERN.fullmatch(text)
    if match is None:
        raise StarshiftError(
            "This is no base.", expected="store:NAME[@cut][+pooling], or store:FOLDER/NAME...", received=repr(text)
        )
    learnware = store.load_learnware(match["address"])
    part = find_base_spec(learnware)
    rest = match["rest"]
    if part.cut and "@" not in rest:
        rest = f"@{part.cut}{rest}"
    if learnware.contract.strategy in UNCHANGED_STRATEGIES and part.weights != "own":
        weights = "" if part.weights == "imagenet" else f"={part.weights}"
        return f"{part.name}{rest}{weights}"
    base = f"{part.name}{rest}={load_weights_file(learnware, part)}"
    bases.parse_base(base)
    return base


def find_base_spec(learnware: Learnware) -> BaseSpec:
    """Returns the one base of a learnware.

    Raises:
        StarshiftError: it has several, or none of the table.
    """
    parts = learnware.contract.bases
    require(len(parts) == 1, f"{learnware.name} is made of several bases, and cannot be one.",
            expected="a learnware of one base", received=", ".join(part.name for part in parts),
            remedy="name its bases one by one")  # fmt: skip
    require(parts[0].name in BASES, f"{learnware.name} is not made of a base of the table.",
            expected=", ".join(BASES), received=parts[0].name)  # fmt: skip
    return parts[0]


def load_weights_file(learnware: Learnware, part: BaseSpec) -> Path:
    """Returns a file of the weights of a learnware's base for Keras, extracted from the archive on the first call.

    Raises:
        StarshiftError: the archive is refused, or the network in it is not that base.
    """
    path = build_weights_path(learnware, part)
    if path.exists():
        return path
    run_module(
        "pipeline.learnware.as_base", str(learnware.path.resolve()), str(path),
        failed=f"The weights of {learnware.name} could not be extracted.",
    )  # fmt: skip
    return path


def build_weights_path(learnware: Learnware, part: BaseSpec) -> Path:
    """Returns the path of the weights of a learnware's base, named by the digest of the model they come from."""
    digest = learnware.digests[archive.MODEL_FILE]
    return paths.cache_folder("learnware") / f"{part.name}-{digest[:16]}.weights.h5"


def extract_weights(learnware: Learnware, path: Path) -> None:
    """Writes the weights of the base inside a learnware's model, once the base was checked to compute the same.

    Args:
        learnware: read whole.
        path: ends in .weights.h5.

    Raises:
        StarshiftError: the archive is refused, or the network in it is not that base.
    """
    from pipeline.models.build import build_network

    part = find_base_spec(learnware)
    base = bases.Base(name=part.name, cut=part.cut, pooling=part.pooling, weights="none", size=part.size)
    network = build_network(base)
    inner = next((one for one in _list_networks(learnware.live()) if _has_same_shapes(one, network)), None)
    if inner is None:
        raise build_refusal(learnware.path.name, f"the network in its model is no {part.name}")
    network.set_weights(inner.get_weights())
    values = np.random.default_rng(0).uniform(-1, 1, (CHECK_PICTURES, part.size, part.size, 3)).astype(np.float32)
    ours, theirs = (np.asarray(one(values, training=False)) for one in (network, inner))
    difference = float(np.abs(ours - theirs).max())
    if not difference <= OUTPUT_TOLERANCE * max(1.0, float(np.abs(theirs).max())):
        raise build_refusal(
            learnware.path.name, f"the network in its model is no {part.name} (outputs {difference:.2g} apart)"
        )
    with replace_atomic(path) as partial:
        network.save_weights(partial)


def _list_networks(model: Any) -> list[Any]:
    """Lists the models inside a model, without itself."""
    import keras

    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [one for layer in inner for one in (layer, *_list_networks(layer))]


def _has_same_shapes(one: Any, other: Any) -> bool:
    """Whether two networks take and give the same shapes, and have weights of the same shapes in the same order.

    An extractor around a network has its weights, too, but gives another shape.
    """
    if (one.input_shape, one.output_shape) != (other.input_shape, other.output_shape):
        return False
    return [weight.shape for weight in one.weights] == [weight.shape for weight in other.weights]


if __name__ == "__main__":
    sys.exit(run_main(lambda: extract_weights(archive.read_archive(Path(sys.argv[1])), Path(sys.argv[2]))))
