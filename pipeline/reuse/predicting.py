"""Pictures of one's own, and what learnwares say of them: a table of the likeliest classes, a row a picture.

One learnware answers alone. Several answer together, over the classes that they share, each by its weight in the
mixture that covers the pictures best; or for each picture the one whose training pictures are nearest to it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, runs
from pipeline.errors import StarshiftError, require
from pipeline.learnware import asking
from pipeline.learnware.answers import among
from pipeline.learnware.archive import Learnware
from pipeline.learnware.store import Store
from pipeline.reuse import weighing_up
from pipeline.reuse.pictures import decoded, look

log = logging.getLogger(__name__)
TOP = 5
WAYS = ("mixture", "picture")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a learnware says of the pictures that can be read.

    Args:
        names: of the pictures.
        classes: in the order of the columns.
        probabilities: (pictures, classes) float32.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray


def probabilities(learnware: Learnware, files: Mapping[str, Path]) -> np.ndarray:
    """What a learnware says of pictures: (pictures, classes) float32, rows sum to 1, in the order of `files`.

    The answers are those of the contract: resized as it says, the mean over its views.

    Args:
        learnware: read whole.
        files: of pictures that can be read, by SHA-256 of their bytes.
    """
    model, contract = learnware.live(), learnware.contract
    found = [
        asking.probabilities(model, contract, pixels, digests) for digests, pixels in decoded(files, contract.sizes)
    ]
    return np.concatenate(found) if found else np.empty((0, len(contract.classes)), np.float32)


def predict(
    learnwares: Sequence[Learnware],
    folder: Path,
    out: Path,
    *,
    shelf: Store,
    by: str | None = None,
    force: bool = False,
) -> Path:
    """Writes what learnwares say of the pictures below a folder.

    Args:
        learnwares: read whole; one, or several and a way to put them together.
        folder: of the pictures.
        out: the CSV file.
        shelf: the store that the learnwares are of.
        by: `mixture` or `picture`, for several.
        force: write over a file that is there.

    Raises:
        StarshiftError: the file is there; no picture can be read; the learnwares share no two classes.
    """
    names = [one.name for one in learnwares]
    require(
        learnwares and len(set(names)) == len(names),
        "Which learnwares?",
        expected="distinct --learnware",
        received=names,
    )
    require(
        (by in WAYS) if len(names) > 1 else by is None,
        "Several learnwares answer in one of two ways.",
        expected="--by mixture or --by picture with several --learnware, and none with one",
        received=by,
    )
    if out.exists() and not force:
        raise StarshiftError(
            f"{paths.shown(out)} is there already.", remedy="--force writes over it; --out names another"
        )
    digest_of, files, unreadable = look(folder)
    for name, reason in unreadable.items():
        log.warning("  warning: %s cannot be read: %s", name, reason)
    require(files, "No picture here can be read.", expected=f"pictures in {folder}", received=len(unreadable))
    rows = told(learnwares, files, shelf, by)
    lacking = dict.fromkeys(next(iter(rows.values())), "")
    table = [
        {"picture": name, **(rows[digest_of[name]] if name in digest_of else lacking)}
        for name in sorted([*digest_of, *unreadable])
    ]
    runs.write_table(out, table)
    log.info("wrote %s: %d pictures, %d of them unreadable", paths.shown(out), len(table), len(unreadable))
    return out


def told(
    learnwares: Sequence[Learnware], files: Mapping[str, Path], shelf: Store, by: str | None
) -> dict[str, dict[str, Any]]:
    """A row for each picture, by digest."""
    digests = tuple(files)
    answers = [
        Answers(names=digests, classes=one.contract.classes, probabilities=probabilities(one, files))
        for one in learnwares
    ]
    if by is None:
        if said := weighing_up.strange(learnwares[0], files, shelf):
            log.warning("  warning: %s", said)
        return dict(zip(digests, top(answers[0]), strict=True))
    compared = weighing_up.compared(learnwares, files, shelf)
    if by == "mixture":
        joined = shared(answers, compared.weights, [one.name for one in learnwares])
        return dict(zip(digests, top(joined), strict=True))
    tops = [top(one) for one in answers]
    return {
        digest: {"learnware": learnwares[nearest].name, **tops[nearest][place]}
        for place, (digest, nearest) in enumerate(zip(digests, compared.nearest, strict=True))
    }


def shared(answers: Sequence[Answers], weights: np.ndarray, names: Sequence[str]) -> Answers:
    """The weighted mean over the classes that all of them know; each is held to those classes first.

    Raises:
        StarshiftError: fewer than two classes are shared.
    """
    common = [name for name in answers[0].classes if all(name in one.classes for one in answers)]
    if len(common) < 2:
        raise StarshiftError(
            f"{' and '.join(names)} share no classes that could be averaged.",
            expected="two shared class names at least",
            received=", ".join(common) or "none",
            remedy="--by picture lets the nearest learnware answer for each picture",
        )
    left = sorted({name for one in answers for name in one.classes} - set(common))
    if left:
        log.info("          left out, as not all of them know it: %s", ", ".join(left[:10]))
    mean = np.zeros((len(answers[0].probabilities), len(common)))
    for one, weight in zip(answers, weights, strict=True):
        mean += weight * among(one.probabilities, [one.classes.index(name) for name in common])
    return Answers(names=answers[0].names, classes=tuple(common), probabilities=mean.astype(np.float32))


def top(answers: Answers) -> list[dict[str, Any]]:
    """For each picture the likeliest classes and their probabilities, the likeliest first."""
    order = np.argsort(-answers.probabilities, axis=1, kind="stable")[:, :TOP]
    return [
        {
            key: value
            for place, number in enumerate(row, 1)
            for key, value in (
                (f"class_{place}", answers.classes[number]),
                (f"probability_{place}", f"{answers.probabilities[picture, number]:.6f}"),
            )
        }
        for picture, row in enumerate(order)
    ]
