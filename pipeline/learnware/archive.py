"""The archive of a learnware: its model, contract, specification, probe batch and card in one checked file.

    NAME.learnware      a zip by another name (Kaggle unpacks zips), its members stored uncompressed
      model.keras         the whole model, from uint8 pictures to probabilities
      specification.*     what it is for, in words and as a kernel mean embedding (see specification.py)
      contract.json       preprocessing, views, class names
      probe.npz           a few pictures, and the model's predictions of them when it was added
      card.md             for people
      digests.json        SHA-256 of everything else

The archive may come from anyone: nothing in it is run or unpacked, and all of it is checked (see safe_loading.py).
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.config import NAME_PATTERN, STRATEGIES, VIEW_PATTERN
from pipeline.data import images
from pipeline.errors import StarshiftError
from pipeline.files import write_atomic
from pipeline.learnware import safe_loading
from pipeline.learnware.safe_loading import build_refusal, parse_record, require_valid
from pipeline.learnware.specification import (
    FORMAT_VERSION,
    pack_specification,
    unpack_specification,
    update_record,
)
from pipeline.learnware.types import Specification
from pipeline.models import base

T = TypeVar("T")
COLOUR, ANSWER = "RGB, 8 bits, 0 to 255; grey repeated, transparency on white, upright by EXIF", "softmax"
MAX_CLASSES, MAX_VIEWS, MAX_BASES, MAX_NAME = 10_000, 32, 16, 200
POOLINGS = ("avg", "max", "both", *base.CLASS_POOLINGS)
WEIGHTS_PATTERN = re.compile(base.PUBLISHED_WEIGHTS + "|own")
ARCHIVE_SUFFIX = ".learnware"
MODEL_FILE, DIGESTS_FILE = "model.keras", "digests.json"
MEMBER_NAMES = (MODEL_FILE, "specification.json", "specification.npz", "contract.json", "probe.npz", "card.md")
MAX_PROBE_PICTURES = 64
SUM_TOLERANCE = 1e-3
MOST_LISTED_CLASSES = 30


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """A network inside the model.

    Args:
        name: in the table of bases, a preset's (`hub:...`), or `scratch`.
        cut: the layer that it is used up to; None is the whole base.
        pooling: `avg`, `max`, `both`, `cls` or `cls+avg`.
        weights: `imagenet`, `none`, `none:SEED`, or `own`: others, which only the model has.
        size: side of the pictures that it takes, in pixels.
    """

    name: str
    cut: str | None
    pooling: str
    weights: str
    size: int


@dataclass(frozen=True, kw_only=True)
class ModelSignature:
    """The contract of a model: its inputs and outputs.

    Args:
        name: of the learnware.
        sizes: of the model's inputs in order: sides of square pictures in pixels.
        views: that are predicted and averaged.
        classes: in the order of the outputs.
        strategy: the strategy that it was trained by; `frozen` and `features` leave the bases as they were.
        bases: the networks in it.
        resize: how pictures become square.
        colour: of the pixels; the model itself rescales them.
        answer: what the outputs are.
    """

    name: str
    sizes: tuple[int, ...]
    views: tuple[str, ...]
    classes: tuple[str, ...]
    strategy: str
    bases: tuple[BaseSpec, ...]
    resize: str = images.RESIZE_METHOD
    colour: str = COLOUR
    answer: str = ANSWER

    def record(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {"format": FORMAT_VERSION, **asdict(self)}


def parse_signature(record: Any) -> ModelSignature:
    """Returns the signature that `ModelSignature.record` gave.

    Raises:
        StarshiftError: anything in it that this version cannot keep.
    """
    require_valid(isinstance(record, dict) and "format" in record, "the entries of a contract, format", record)
    record = update_record(record, "learnware contract")
    signature = parse_record(ModelSignature, {name: value for name, value in record.items() if name != "format"})
    classes, views, sizes, bases = signature.classes, signature.views, signature.sizes, signature.bases
    require_valid(_is_distinct(classes, 2, MAX_CLASSES), "distinct printable classes", classes)
    known_views = _is_distinct(views, 1, MAX_VIEWS) and all(map(VIEW_PATTERN.fullmatch, views))
    require_valid(known_views, "known views", views)
    require_valid(NAME_PATTERN.fullmatch(signature.name), f"a name {NAME_PATTERN.pattern}", signature.name)
    require_valid(signature.strategy.isidentifier(), f"a strategy ({', '.join(STRATEGIES)})", signature.strategy)
    require_valid(0 < len(bases) <= MAX_BASES, "one base or more", len(bases))
    for one in bases:
        texts = (one.name, one.pooling, one.weights, one.cut or "whole")
        require_valid(max(map(len, texts)) < MAX_NAME, "names of a base", texts)
        known = WEIGHTS_PATTERN.fullmatch(one.weights) and one.pooling in POOLINGS
        require_valid(known, "a known base", texts)
    for size in (*sizes, *(one.size for one in bases)):
        require_valid(32 <= size <= 2048, "sizes of 32 to 2048 pixels", size)
    each = sorted({one.size for one in bases})
    require_valid(
        list(sizes) in (each, each[-1:]), "one input of its bases' largest size, or one for every size", sizes
    )
    for field, own in (("resize", images.RESIZE_METHOD), ("colour", COLOUR), ("answer", ANSWER)):
        require_valid(record[field] == own, f"{field}: {own}", record[field])
    return signature


def _is_distinct(texts: tuple[str, ...], least: int, most: int) -> bool:
    """Whether there are so many texts, none of them empty, too long or there twice."""
    return least <= len(set(texts)) == len(texts) <= most and all(0 < len(one) <= MAX_NAME for one in texts)


@dataclass(frozen=True, kw_only=True)
class Learnware:
    """A learnware as read from its archive; all of it is checked but the model's predictions.

    Args:
        path: of the archive.
        digest: SHA-256 of digests.json, which stands for all of it.
        digests: SHA-256 of each member.
        specification: what it is for.
        contract: inputs and outputs of the model.
        pictures: of the probe batch, (n, side, side, 3) uint8.
        predictions: the model's of the probe batch, (n, classes) float32.
        card: Markdown.
        model: the bytes of model.keras; empty where it was not read.
    """

    path: Path
    digest: str
    digests: dict[str, str]
    specification: Specification
    contract: ModelSignature
    pictures: np.ndarray
    predictions: np.ndarray
    card: str
    model: bytes

    @property
    def name(self) -> str:
        """Name in the store."""
        return self.contract.name

    def live(self) -> Any:
        """Loads the keras.Model in safe mode, after it was checked.

        Raises:
            StarshiftError: see safe_loading.load_model; or its inputs or outputs are not those of the contract.
        """
        model = safe_loading.load_model(self.model or read_archive(self.path).model, self.path.name)
        shapes = [tuple(one.shape[1:]) for one in model.inputs]
        expected = [(size, size, 3) for size in self.contract.sizes]
        if shapes != expected or any(one.dtype != "uint8" for one in model.inputs):
            raise build_refusal(self.path.name, f"its model takes {shapes}, not uint8 pictures {expected}")
        outputs, classes = [tuple(one.shape[1:]) for one in model.outputs], len(self.contract.classes)
        if outputs != [(classes,)]:
            raise build_refusal(self.path.name, f"its model answers {outputs}, not {classes} classes")
        return model


def write_archive(
    path: Path,
    *,
    model: bytes,
    specification: Specification,
    contract: ModelSignature,
    pictures: np.ndarray,
    predictions: np.ndarray,
    card: str,
) -> Learnware:
    """Writes an archive atomically, and reads it back with all checks.

    Args:
        path: ends in NAME.learnware; does not exist yet.
        model: the bytes of a .keras file.
        specification, contract, pictures, predictions, card: see Learnware.
    """
    record, arrays = pack_specification(specification)
    contents = {
        MODEL_FILE: model,
        "specification.json": _encode_json(record),
        "specification.npz": safe_loading.pack_arrays(arrays),
        "contract.json": _encode_json(contract.record()),
        "probe.npz": safe_loading.pack_arrays({"pictures": pictures, "predictions": predictions}),
        "card.md": card.encode(),
    }
    contents[DIGESTS_FILE] = _encode_json(
        {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    )
    safe_loading.check_model(model, path.name)
    write_atomic(path, lambda file: safe_loading.write_members(file, contents))
    try:
        return read_archive(path)
    except StarshiftError:
        path.unlink()
        raise


def _encode_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_archive(path: Path, *, whole: bool = True) -> Learnware:
    """Reads an archive and checks it; nothing is written anywhere.

    Args:
        path: of the archive.
        whole: read the model, too.

    Raises:
        StarshiftError: it does not exist, or is damaged, foreign or malicious.
    """
    what = path.name
    if not path.is_file():
        raise StarshiftError(f"There is no learnware {path}.", remedy="invoke store.list shows those that are there")
    unread = () if whole else (MODEL_FILE,)
    with path.open("rb") as file:
        members = safe_loading.read_members(file, what, (*MEMBER_NAMES, DIGESTS_FILE), unread)
    digests = _read_digests(members, what)
    contract = _parse_part("contract", what, parse_signature, safe_loading.parse_json(members["contract.json"], what))
    record = safe_loading.parse_json(members["specification.json"], what)
    arrays = safe_loading.read_arrays(members["specification.npz"], what)
    specification = _parse_part("specification", what, unpack_specification, record, arrays)
    if (contract.name, contract.classes) != (specification.semantic.name, specification.semantic.classes):
        raise build_refusal(what, "its contract and its specification speak of different names or classes")
    if path.name != (own_name := contract.name + ARCHIVE_SUFFIX):
        raise build_refusal(what, f"it calls itself {contract.name!r}, and its file is not {own_name}")
    if whole:
        safe_loading.check_model(members[MODEL_FILE], what)
    return Learnware(
        path=path,
        digest=hashlib.sha256(members[DIGESTS_FILE]).hexdigest(),
        digests=digests,
        specification=specification,
        contract=contract,
        **_read_probe(members["probe.npz"], contract, what),
        card=safe_loading.decode_text(members["card.md"], what),
        model=members.get(MODEL_FILE, b""),
    )


def _read_digests(members: dict[str, bytes], what: str) -> dict[str, str]:
    """Reads the digests of the members and compares each with its member."""
    digests = safe_loading.parse_json(members[DIGESTS_FILE], what)
    if not isinstance(digests, dict) or set(digests) != set(MEMBER_NAMES):
        raise build_refusal(what, f"{DIGESTS_FILE} does not have the digests of {', '.join(MEMBER_NAMES)}")
    for name, content in members.items():
        if name != DIGESTS_FILE and hashlib.sha256(content).hexdigest() != digests[name]:
            raise build_refusal(
                what, f"{name!r} has another digest than {DIGESTS_FILE} says: it is damaged, or was changed"
            )
    return digests


def _parse_part(part: str, what: str, parse: Callable[..., T], *values: Any) -> T:
    """Returns a parsed part of an archive; its errors name the archive."""
    try:
        return parse(*values)
    except StarshiftError as error:
        raise build_refusal(what, f"its {part} does not have {error.expected or error.message}") from error


def _read_probe(content: bytes, contract: ModelSignature, what: str) -> dict[str, np.ndarray]:
    """Reads the probe batch: pictures of the model's largest size, and probabilities."""
    arrays = safe_loading.read_arrays(content, what)
    if set(arrays) != {"pictures", "predictions"}:
        raise build_refusal(what, "its probe batch is not pictures and predictions")
    pictures, predictions = arrays["pictures"], arrays["predictions"]
    side = max(contract.sizes)
    count = len(pictures) if pictures.ndim else 0
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (side, side, 3) or not 0 < count <= MAX_PROBE_PICTURES:
        raise build_refusal(
            what, f"its probe pictures are {pictures.dtype} {pictures.shape}, not uint8 of {side} pixels"
        )
    if predictions.dtype != np.float32 or predictions.shape != (count, len(contract.classes)):
        raise build_refusal(what, f"its probe predictions are {predictions.dtype} {predictions.shape}, not one a class")
    sums = predictions.sum(axis=1, dtype=np.float64)
    if not np.isfinite(predictions).all() or (predictions < 0).any() or np.abs(sums - 1).max() > SUM_TOLERANCE:
        raise build_refusal(what, "its probe predictions are no probabilities")
    return arrays


def format_card(specification: Specification, contract: ModelSignature, drawn: bool) -> str:
    """Formats the model card (Mitchell et al. 2019, Model Cards for Model Reporting), as Markdown.

    Args:
        specification: of the learnware.
        contract: of its model.
        drawn: whether the pictures of the probe batch are synthetic, or taken from a folder.
    """
    about = specification.semantic
    classes = ", ".join(about.classes[:MOST_LISTED_CLASSES])
    more = f", ... ({len(about.classes)} in all)" if len(about.classes) > MOST_LISTED_CLASSES else ""
    score = "not measured" if about.score is None else f"{about.metric} {about.score:.5f} ± {about.spread or 0:.5f}"
    speed = f", {about.pictures_per_second:.0f} pictures/s where it was added" if about.pictures_per_second else ""
    origin = "were drawn for it" if drawn else "were given for it with --probe-images, and travel along"
    sizes = " and ".join(f"{size} x {size}" for size in contract.sizes)
    return f"""# {about.name}

{about.task}: {classes}{more}.

- trained on: {about.data}
- score: {score}, on folds that were held out
- network: {about.base}, strategy {about.strategy}, {about.parameters:,} parameters, {about.megabytes:.1f} MB{speed}
- takes: {sizes} pixels, {contract.colour}; views averaged: {", ".join(contract.views)}
- answers: {contract.answer} probabilities of {len(contract.classes)} classes
- licence: {about.licence}

## What travels with it

No training picture. The specification holds weighted points in the feature space of {specification.probe.base}, \
fitted to {specification.whole.pictures:,} training pictures and their classes: they tell roughly what the pictures \
look like, and no picture can be read from them, but a model and a specification are never proof that nothing about a \
training picture can be inferred.
Its predictions on a probe batch let anyone check that the model answers as it did; the pictures of that batch {origin}.
"""
