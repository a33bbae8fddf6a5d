"""A learnware as a base: `--base store:[FOLDER/]NAME[@cut][+pooling]` is a base of the table with its weights.

Where the run left the base as it was published, it is that base. Otherwise its weights are taken out of the verified
archive once, into a file that Keras reads, named by the model's digest.

python -m pipeline.reuse.basing ARCHIVE FILE     in a process of its own, because Keras names layers by counting
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError, require
from pipeline.files import replacing
from pipeline.learnware import archive, store
from pipeline.learnware.archive import Learnware
from pipeline.learnware.contract import Part
from pipeline.learnware.guarded import refused
from pipeline.models import bases
from pipeline.models.table import BASES
from pipeline.subprocesses import complete

SYNTAX = re.compile(r"(?P<address>store:(.*/)?[a-z0-9][a-z0-9_-]*)(?P<rest>(@[^@+=/]+)?(\+[^@+=/]+)?)")
UNCHANGED = ("features", "frozen")
"""Rungs that leave the base as it was."""
TOLERANCE = 1e-4
PICTURES = 4


def resolved(texts: Sequence[str]) -> tuple[str, ...]:
    """The bases that a recipe names, each `store:NAME` replaced by what it stands for.

    Raises:
        StarshiftError: no such learnware, or it has no one base.
    """
    return tuple(_resolved(text) if text.startswith(store.PREFIX) else text for text in texts)


def _resolved(text: str) -> str:
    match = SYNTAX.fullmatch(text)
    if match is None:
        raise StarshiftError(
            "This is no base.", expected="store:NAME[@cut][+pooling], or store:FOLDER/NAME...", received=repr(text)
        )
    learnware = store.at(match["address"])
    part = part_of(learnware)
    rest = match["rest"]
    if part.cut and "@" not in rest:
        rest = f"@{part.cut}{rest}"
    if learnware.contract.rung in UNCHANGED and part.weights != "own":
        weights = "" if part.weights == "imagenet" else f"={part.weights}"
        return f"{part.name}{rest}{weights}"
    found = f"{part.name}{rest}={weights_file(learnware, part)}"
    bases.parse(found)
    return found


def part_of(learnware: Learnware) -> Part:
    """The one base of a learnware.

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


def weights_file(learnware: Learnware, part: Part) -> Path:
    """The weights of a learnware's base as a file for Keras; taken out of the archive where it is not there yet.

    Raises:
        StarshiftError: the archive is refused, or the network in it is not that base.
    """
    path = place_of(learnware, part)
    if path.exists():
        return path
    command = [sys.executable, "-m", "pipeline.reuse.basing", str(learnware.path.resolve()), str(path)]
    done = complete(command, paths.child_environment())
    lines = done.stdout.splitlines()
    answer: Any = json.loads(lines[-1]) if lines else [done.stderr.strip()[-1000:], "", "", ""]
    if answer:
        raise StarshiftError.said(answer)
    return path


def place_of(learnware: Learnware, part: Part) -> Path:
    """Where the weights of a learnware's base are, or belong: named by the digest of the model they come from."""
    digest = learnware.digests[archive.MODEL]
    return paths.cache_folder("learnware") / f"{part.name}-{digest[:16]}.weights.h5"


def extract(learnware: Learnware, path: Path) -> None:
    """Writes the weights of the base inside a learnware's model, once they were seen to do what they do there.

    Args:
        learnware: read whole.
        path: ends in .weights.h5.

    Raises:
        StarshiftError: the archive is refused, or the network in it is not that base.
    """
    from pipeline.models.extractor import build_network

    part = part_of(learnware)
    base = bases.Base(name=part.name, cut=part.cut, pooling=part.pooling, weights="none", size=part.size)
    network = build_network(base)
    inner = next((one for one in _networks(learnware.live()) if _alike(one, network)), None)
    if inner is None:
        raise refused(learnware.path.name, f"the network in its model is no {part.name}")
    network.set_weights(inner.get_weights())
    values = np.random.default_rng(0).uniform(-1, 1, (PICTURES, part.size, part.size, 3)).astype(np.float32)
    ours, theirs = (np.asarray(one(values, training=False)) for one in (network, inner))
    difference = float(np.abs(ours - theirs).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(theirs).max())):
        raise refused(
            learnware.path.name, f"the network in its model is no {part.name} (outputs {difference:.2g} apart)"
        )
    with replacing(path) as partial:
        network.save_weights(partial)


def _networks(model: Any) -> list[Any]:
    """The models inside a model, itself not among them."""
    import keras

    found = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [one for layer in found for one in (layer, *_networks(layer))]


def _alike(one: Any, other: Any) -> bool:
    """Whether two networks take and give the same shapes, and have weights of the same shapes in the same order.

    An extractor around a network has its weights, too, but gives another shape.
    """
    if (one.input_shape, one.output_shape) != (other.input_shape, other.output_shape):
        return False
    return [weight.shape for weight in one.weights] == [weight.shape for weight in other.weights]


def main() -> None:
    """Takes the weights out of an archive; answers with the error, or null, as JSON."""
    answer: list[str] | None = None
    try:
        extract(archive.opened(Path(sys.argv[1])), Path(sys.argv[2]))
    except StarshiftError as error:
        answer = error.words
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
