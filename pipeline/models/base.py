"""A base as the recipe names it: `name[@cut][+pooling][=weights]`, and where its weights come from.

mobilenet_v2                          whole, average pooling, ImageNet weights
inception_v3@mixed8+both=file.h5      up to mixed8, average and maximum, weights from a file
inception_v3@mixed7+second            up to mixed7, average and second moments (models/pooling.py)
mobilenet_v2=imagenet:224             the ImageNet weights of 224 px, whatever the pictures' size
resnet50=none                         random weights
"""

import difflib
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from pipeline.kaggle import inputs
from pipeline.models.registry import BASES, BaseInfo
from pipeline.subprocesses import run_command

WEIGHTS_FOLDER = Path(__file__).resolve().parent / "weights"
SECOND_MOMENTS = "second"
POOLINGS = ("avg", "max", "both", SECOND_MOMENTS)
LEARNED_POOLING = re.compile(rf"{SECOND_MOMENTS}:[0-9a-f]{{16}}")
"""Second moments in directions that have a name, see models/pooling.py."""
PUBLISHED_WEIGHTS = r"imagenet(:\d+)?|none(:\d+)?"
BASE_SYNTAX = re.compile(r"(?P<name>[^@+=]+)(@(?P<cut>[^@+=]+))?(\+(?P<pooling>[^@+=]+))?(=(?P<weights>.+))?")


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pretrained network without its classifier.

    Args:
        name: in the table.
        cut: the layer it is used up to; None is the whole base.
        pooling: `avg`, `max`, `both` (average and maximum, concatenated), `second` (average and second moments in
            directions that are yet to be learned), `second:NAME` (in directions of that name) or, where a base is cut
            in two, `none` (maps).
        weights: `imagenet` (for our own base, the drawn world; of the pictures' size, where it has such), or those of
            another size as `imagenet:SIZE`, `none` (random, seed 0), `none:SEED`, or the path of a weights file.
        size: side of the square pictures in pixels.
    """

    name: str
    cut: str | None = None
    pooling: str = "avg"
    weights: str = "imagenet"
    size: int

    @property
    def entry(self) -> BaseInfo:
        """The base's record in the table."""
        return BASES[self.name]

    @property
    def published(self) -> bool:
        """Whether the weights are those that anyone can have by their name: ImageNet's, or random ones of a seed."""
        return re.fullmatch(PUBLISHED_WEIGHTS, self.weights) is not None

    @property
    def random(self) -> bool:
        """Whether the weights are random ones of a seed."""
        return self.published and self.weights.startswith("none")

    @property
    def by_moments(self) -> bool:
        """Whether second moments are among what is pooled."""
        return self.pooling.partition(":")[0] == SECOND_MOMENTS

    def __str__(self) -> str:
        cut = f"@{self.cut}" if self.cut else ""
        pooling = "" if self.pooling == "avg" else f"+{self.pooling}"
        weights = "" if self.weights == "imagenet" else f"={self.weights}"
        return f"{self.name}{cut}{pooling}{weights}"


def parse_base(text: str, size: int | None = None) -> Base:
    """The base that a recipe names.

    Args:
        text: `name[@cut][+pooling][=weights]`.
        size: side of the pictures; None takes the base's own, which is SIZE where the weights are `imagenet:SIZE`.

    Raises:
        StarshiftError: no such base, block, pooling or file.
    """
    match = BASE_SYNTAX.fullmatch(text)
    name = match["name"] if match else text
    if match is None or name not in BASES:
        near = difflib.get_close_matches(name, BASES, n=1)
        raise StarshiftError(
            f"There is no base called {name!r}.",
            expected=", ".join(BASES),
            received=repr(text),
            remedy=f"perhaps {near[0]} was meant" if near else "",
        )
    entry = BASES[name]
    if match["cut"] and match["cut"] not in entry.blocks:
        raise StarshiftError(f"{name} has no block {match['cut']!r}.", expected=", ".join(entry.blocks), received=text)
    pooling = match["pooling"] or "avg"
    if pooling not in POOLINGS and not LEARNED_POOLING.fullmatch(pooling):
        known = " | ".join((*POOLINGS, f"{SECOND_MOMENTS}:NAME of 16 hex digits"))
        raise StarshiftError("Unknown pooling.", expected=known, received=pooling)
    weights = match["weights"] or "imagenet"
    if not re.fullmatch(PUBLISHED_WEIGHTS, weights) and not Path(weights).is_file():
        raise StarshiftError(
            f"There is no weights file {weights}.",
            expected="imagenet, imagenet:SIZE, none, none:SEED or a file",
            received=text,
            remedy="the order is name[@cut][+pooling][=weights]" if re.search("[+@]", weights) else "",
        )
    of_size = re.fullmatch(r"imagenet:\d+", weights)
    if of_size and int(weights.partition(":")[2]) not in entry.trained_sizes:
        sizes = ", ".join(map(str, entry.trained_sizes))
        raise StarshiftError(f"{name} has no ImageNet weights of that size.", expected=sizes, received=text)
    own = int(weights.partition(":")[2]) if of_size else entry.size
    return Base(name=name, cut=match["cut"], pooling=pooling, weights=weights, size=size or own)


def find_preprocessing(base: Base) -> str:
    """`tf`, `torch`, `caffe` or `none`, see the table."""
    return base.entry.preprocessing


def parse_seed(base: Base) -> int:
    """The seed of random weights."""
    return int(base.weights.partition(":")[2] or 0)


def find_trained_size(base: Base) -> int:
    """The size that the base's ImageNet weights were trained at, in pixels."""
    wanted, sizes = int(base.weights.partition(":")[2] or base.size), base.entry.trained_sizes
    return wanted if wanted in sizes else sizes[-1]


def find_weights_path(base: Base) -> Path | None:
    """The file of the base's weights, there or not; None for random weights."""
    if base.random:
        return None
    if not base.published:
        return Path(base.weights).resolve()
    if base.entry.ours:
        return WEIGHTS_FOLDER / base.entry.weights
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return home / "models" / _format_weights_name(base, find_trained_size(base))


def find_missing_weights(base: Base) -> Path | None:
    """The file of the base's weights where it is not here; None where it is, and for random weights."""
    path = find_weights_path(base)
    return path if path is not None and not path.exists() else None


def _format_weights_name(base: Base, size: int) -> str:
    """Keras's name for the file of the ImageNet weights of one size."""
    return base.entry.weights.format(size=size)


def compute_weights_digest(base: Base) -> str:
    """SHA-256 of the weights file, fetched if it is not there; `random:SEED` for random weights."""
    path = find_weights_path(base)
    if path is None:
        return f"random:{parse_seed(base)}"
    if not path.exists():
        fetch_weights(base, path)
    status = path.stat()
    return _compute_digest(path, status.st_size, status.st_mtime_ns)


@cache
def _compute_digest(path: Path, size: int, modified: int) -> str:
    return hash_file(path)


def fetch_weights(base: Base, path: Path) -> None:
    """Lets keras.applications download the ImageNet weights, in a process of its own; in a Kaggle kernel, looks first.

    Raises:
        StarshiftError: they did not come; names the file and the folder to put it in.
    """
    if (attached := next(inputs.find_files(path.name), None)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(attached)
        return
    command = [sys.executable, "-m", "pipeline.models.build", base.name, str(find_trained_size(base))]
    done = run_command(command, paths.build_child_environment())
    if not path.exists():
        lines = done.stderr.strip().splitlines()
        here = next(
            (size for size in base.entry.trained_sizes if (path.parent / _format_weights_name(base, size)).exists()),
            None,
        )
        raise StarshiftError(
            f"The ImageNet weights of {base.name} are not here and could not be downloaded.",
            expected=str(path),
            received=lines[-1][-300:] if lines else "nothing",
            remedy=f"put {path.name} into {path.parent} (or set KERAS_HOME to a folder whose models/ has it), "
            + (f"or use those of {here} px, which are here: {base.name}=imagenet:{here}, " if here else "")
            + f"or use random weights: {base.name}=none",
        )
