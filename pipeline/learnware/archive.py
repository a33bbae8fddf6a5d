"""One learnware in one file: the model, what it is for, how to ask it, and a proof that it still answers the same.

    NAME.learnware      a zip by another name (Kaggle unpacks zips), everything in it stored as it is
      model.keras         the whole model, from uint8 pictures to probabilities
      specification.*     what it is for, in words and as a kernel mean embedding (see specification.py)
      contract.json       preprocessing, views, class names
      probe.npz           a few pictures, and what the model said of them when it was added
      card.md             for people
      digests.json        SHA-256 of everything else

The archive may come from anyone: nothing in it is run, unpacked or believed (see guarded.py and harmless.py).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.files import write_atomic
from pipeline.learnware import contract as contracts
from pipeline.learnware import guarded, harmless
from pipeline.learnware.contract import Contract
from pipeline.learnware.guarded import refused
from pipeline.learnware.specification import Specification, packed, unpacked

SUFFIX = ".learnware"
MODEL, DIGESTS = "model.keras", "digests.json"
NAMES = (MODEL, "specification.json", "specification.npz", "contract.json", "probe.npz", "card.md")
MOST_PICTURES = 64
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Learnware:
    """A learnware as its archive says; all of it checked but for what the model answers.

    Args:
        path: of the archive.
        digest: SHA-256 of digests.json, which stands for all of it.
        digests: SHA-256 of each member.
        specification: what it is for.
        contract: how to ask it.
        pictures: of the probe batch, (n, side, side, 3) uint8.
        predictions: what the model said of them, (n, classes) float32.
        card: Markdown.
        model: the bytes of model.keras; empty where the archive was only glanced at.
    """

    path: Path
    digest: str
    digests: dict[str, str]
    specification: Specification
    contract: Contract
    pictures: np.ndarray
    predictions: np.ndarray
    card: str
    model: bytes

    @property
    def name(self) -> str:
        """By which a store knows it."""
        return self.contract.name

    def live(self) -> Any:
        """The keras.Model, loaded in safe mode after it was looked through.

        Raises:
            StarshiftError: see harmless.load; or its inputs or outputs are not those of the contract.
        """
        model = harmless.load(self.model or opened(self.path).model, self.path.name)
        shapes = [tuple(one.shape[1:]) for one in model.inputs]
        wanted = [(size, size, 3) for size in self.contract.sizes]
        if shapes != wanted or any(one.dtype != "uint8" for one in model.inputs):
            raise refused(self.path.name, f"its model takes {shapes}, not uint8 pictures {wanted}")
        if len(model.outputs) != 1 or tuple(model.outputs[0].shape[1:]) != (len(self.contract.classes),):
            answers = [tuple(one.shape[1:]) for one in model.outputs]
            raise refused(self.path.name, f"its model answers {answers}, not {len(self.contract.classes)} classes")
        return model


def write(
    path: Path,
    *,
    model: bytes,
    specification: Specification,
    contract: Contract,
    pictures: np.ndarray,
    predictions: np.ndarray,
    card: str,
) -> Learnware:
    """Writes an archive, atomically, and reads it back as it would be read from anyone.

    Args:
        path: ends in NAME.learnware; nothing is there yet.
        model: the bytes of a .keras file.
        specification, contract, pictures, predictions, card: see Learnware.
    """
    record, arrays = packed(specification)
    contents = {
        MODEL: model,
        "specification.json": _json(record),
        "specification.npz": guarded.packed(arrays),
        "contract.json": _json(contract.record()),
        "probe.npz": guarded.packed({"pictures": pictures, "predictions": predictions}),
        "card.md": card.encode(),
    }
    contents[DIGESTS] = _json({name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    harmless.check(model, path.name)
    write_atomic(path, lambda file: guarded.stored(file, contents))
    try:
        return opened(path)
    except StarshiftError:
        path.unlink()
        raise


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def opened(path: Path, *, whole: bool = True) -> Learnware:
    """Reads an archive and checks it; nothing is written anywhere.

    Args:
        path: of the archive.
        whole: read the model too. Without it only the words and the embedding are read and checked.

    Raises:
        StarshiftError: it is not there, damaged, foreign or malicious; says why.
    """
    what = path.name
    if not path.is_file():
        raise StarshiftError(f"There is no learnware {path}.", remedy="invoke store.list shows those that are there")
    unread = () if whole else (MODEL,)
    with path.open("rb") as file:
        found = guarded.members(file, what, (*NAMES, DIGESTS), unread)
    digests = _digests(found, what)
    contract = contracts.read(guarded.values(found["contract.json"], what), what)
    specification = _specification(found, what)
    if (contract.name, contract.classes) != (specification.semantic.name, specification.semantic.classes):
        raise refused(what, "its contract and its specification speak of different names or classes")
    if path.name != contract.name + SUFFIX:
        raise refused(what, f"it calls itself {contract.name!r}, and its file is not {contract.name}{SUFFIX}")
    if whole:
        harmless.check(found[MODEL], what)
    return Learnware(
        path=path,
        digest=hashlib.sha256(found[DIGESTS]).hexdigest(),
        digests=digests,
        specification=specification,
        contract=contract,
        **_probe(found["probe.npz"], contract, what),
        card=guarded.text(found["card.md"], what),
        model=found.get(MODEL, b""),
    )


def _digests(found: dict[str, bytes], what: str) -> dict[str, str]:
    """The digests that the archive says, each held against its member."""
    digests = guarded.values(found[DIGESTS], what)
    if not isinstance(digests, dict) or set(digests) != set(NAMES):
        raise refused(what, f"{DIGESTS} does not have the digests of {', '.join(NAMES)}")
    for name, content in found.items():
        if name != DIGESTS and hashlib.sha256(content).hexdigest() != digests[name]:
            raise refused(what, f"{name!r} has another digest than {DIGESTS} says: it is damaged, or was changed")
    return digests


def _specification(found: dict[str, bytes], what: str) -> Specification:
    record, arrays = guarded.values(found["specification.json"], what), guarded.arrays(found["specification.npz"], what)
    try:
        return unpacked(record, arrays)
    except StarshiftError as error:
        reason = f"its specification does not have {error.expected or error.message}"
        raise refused(what, reason) from error


def _probe(content: bytes, contract: Contract, what: str) -> dict[str, np.ndarray]:
    """The probe batch: pictures of the model's largest size, and probabilities."""
    found = guarded.arrays(content, what)
    if set(found) != {"pictures", "predictions"}:
        raise refused(what, "its probe batch is not pictures and predictions")
    pictures, predictions = found["pictures"], found["predictions"]
    side = max(contract.sizes)
    count = len(pictures) if pictures.ndim else 0
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (side, side, 3) or not 0 < count <= MOST_PICTURES:
        raise refused(what, f"its probe pictures are {pictures.dtype} {pictures.shape}, not uint8 of {side} pixels")
    if predictions.dtype != np.float32 or predictions.shape != (count, len(contract.classes)):
        raise refused(what, f"its probe predictions are {predictions.dtype} {predictions.shape}, not one a class")
    sums = predictions.sum(axis=1, dtype=np.float64)
    if not np.isfinite(predictions).all() or (predictions < 0).any() or np.abs(sums - 1).max() > SUM_TOLERANCE:
        raise refused(what, "its probe predictions are no probabilities")
    return found
