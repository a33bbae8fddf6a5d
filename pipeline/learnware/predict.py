"""A folder of pictures of one's own: which of them can be read, and their pixels, some at a time.

Several learnwares beside one's pictures: their weights in the mixture that covers them best, and who is nearest.

Pictures of one's own, and what learnwares say of them: a table of the likeliest classes, a row a picture.

One learnware answers alone. Several answer together, over the classes that they share, each by its weight in the
mixture that covers the pictures best; or for each picture the one whose training pictures are nearest to it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import paths
from pipeline.data import images
from pipeline.data.tables import list_pictures
from pipeline.errors import StarshiftError, require
from pipeline.files import hash_file
from pipeline.learnware import cached_predictions, kernel_mean_embedding, probe
from pipeline.learnware.archive import Learnware
from pipeline.learnware.cached_predictions import select_classes
from pipeline.learnware.kernel_mean_embedding import compute_nearness
from pipeline.learnware.search import DOES_NOT_FIT, search_specifications
from pipeline.learnware.store import Store
from pipeline.runs import folder as runs

CHUNK_SIZE = 256
"""Pictures that are decoded at a time."""


def decode_pictures(
    files: Mapping[str, Path], sizes: Sequence[int]
) -> Iterator[tuple[list[str], dict[int, np.ndarray]]]:
    """Digests and pixels (n, size, size, 3) uint8 by size, some pictures at a time.

    Raises:
        images.Unreadable: one of them cannot be read.
    """
    digests = list(files)
    with ThreadPoolExecutor() as pool:
        for start in tqdm(range(0, len(digests), CHUNK_SIZE), desc="predict", unit="part", disable=None, leave=False):
            part = digests[start : start + CHUNK_SIZE]
            data = [files[digest].read_bytes() for digest in part]
            yield (
                part,
                {
                    size: np.stack(list(pool.map(lambda one, size=size: images.decode(one, size), data)))
                    for size in sizes
                },
            )


def find_readable_pictures(folder: Path) -> tuple[dict[str, str], dict[str, Path], dict[str, str]]:
    """The pictures below a folder.

    Returns:
        The digest of each that can be read, by name; the file, by digest; why the others cannot be read, by name.

    Raises:
        StarshiftError: no such folder, or no picture in it.
    """
    require(
        folder.is_dir(), "There is no such folder.", expected="--images with a folder of pictures", received=str(folder)
    )
    found = list_pictures(folder)
    require(found, "There is no picture.", expected=f"pictures in {folder}", received=0)
    with ThreadPoolExecutor() as pool:
        reasons = dict(zip(found, pool.map(_find_decode_error, found.values()), strict=True))
    digest_of = {name: hash_file(path) for name, path in found.items() if not reasons[name]}
    files = {digest: found[name] for name, digest in digest_of.items()}
    return digest_of, files, {name: reason for name, reason in reasons.items() if reason}


def _find_decode_error(path: Path) -> str:
    """Why a picture cannot be read; empty where it can."""
    try:
        images.decode(path.read_bytes(), 32)
    except (images.UnreadableImageError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


log = logging.getLogger(__name__)
MAX_CHECKED_PICTURES = 500


@dataclass(frozen=True, kw_only=True)
class LearnwareComparison:
    """How learnwares stand to pictures.

    Args:
        weights: of each learnware in the mixture, (learnwares,) float64, their sum 1.
        nearest: for each picture the number of the learnware, one of whose classes' mean is nearest, (pictures,) int.
    """

    weights: np.ndarray
    nearest: np.ndarray


def format_mismatch(learnware: Learnware, files: Mapping[str, Path], shelf: Store) -> str:
    """Says so where a learnware was not trained on such pictures; empty where it may have been, or none can tell here.

    Args:
        learnware: of the store.
        files: pictures that can be read, by digest; some of them are looked at.
        shelf: the store.
    """
    some = list(files)[:MAX_CHECKED_PICTURES]
    if len(some) < 2:
        return ""
    try:
        base = probe.load_probe_base(shelf.probe)
    except StarshiftError:  # another probe than this machine's: the learnware answers all the same
        return ""
    features = probe.extract_features(base, {name: files[name] for name in some}, some, "keras")
    (match,) = search_specifications(
        features, [learnware.specification], shelf.probe, learnware.specification.gamma
    ).matches
    if match.verdict != DOES_NOT_FIT:
        return ""
    return (
        f"{match.name} was not trained on such pictures (MMD² {match.distance:.4f}, sets of its own task stay below "
        f"{match.limit:.4f}): its answers are guesses"
    )


def compare_learnwares(learnwares: Sequence[Learnware], files: Mapping[str, Path], shelf: Store) -> LearnwareComparison:
    """Compares in the probe's feature space; the pictures stay here.

    Args:
        learnwares: of the store.
        files: pictures that can be read, by digest; at least two.
        shelf: the store.

    Raises:
        StarshiftError: the probe on this machine is another one than the store's.
    """
    specifications = [one.specification for one in learnwares]
    gamma = specifications[0].gamma
    features = probe.extract_features(probe.load_probe_base(shelf.probe), files, list(files))
    found = search_specifications(features, specifications, shelf.probe, gamma)
    weight_of = {match.name: match.weight for match in found.matches}
    weights = np.array([weight_of[one.name] for one in learnwares])
    near = [
        compute_nearness(kernel_mean_embedding.normalize_features(features), list(one.by_class.values()), gamma)
        for one in specifications
    ]
    log.info("mixture   %s", ", ".join(f"{one.name} {w:.2f}" for one, w in zip(learnwares, weights, strict=True)))
    for match in found.matches:
        log.info("          %s %s: distance %.4f, its own task's sets stay below %.4f", match.name, match.verdict,
                 match.distance, match.limit)  # fmt: skip
    return LearnwareComparison(weights=weights, nearest=np.argmax(near, axis=0))


TOP_K = 5
COMBINATION_MODES = ("mixture", "picture")


@dataclass(frozen=True, kw_only=True)
class LearnwarePredictions:
    """What a learnware says of the pictures that can be read.

    Args:
        names: of the pictures.
        classes: in the order of the columns.
        probabilities: (pictures, classes) float32.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray


def predict_files(learnware: Learnware, files: Mapping[str, Path]) -> np.ndarray:
    """What a learnware says of pictures: (pictures, classes) float32, rows sum to 1, in the order of `files`.

    The answers are those of the contract: resized as it says, the mean over its views.

    Args:
        learnware: read whole.
        files: of pictures that can be read, by SHA-256 of their bytes.
    """
    model, contract = learnware.live(), learnware.contract
    found = [
        cached_predictions.predict_probabilities(model, contract, pixels, digests)
        for digests, pixels in decode_pictures(files, contract.sizes)
    ]
    return np.concatenate(found) if found else np.empty((0, len(contract.classes)), np.float32)


def predict_folder(
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
        (by in COMBINATION_MODES) if len(names) > 1 else by is None,
        "Several learnwares answer in one of two ways.",
        expected="--by mixture or --by picture with several --learnware, and none with one",
        received=by,
    )
    if out.exists() and not force:
        raise StarshiftError(
            f"{paths.format_path(out)} is there already.", remedy="--force writes over it; --out names another"
        )
    digest_of, files, unreadable = find_readable_pictures(folder)
    for name, reason in unreadable.items():
        log.warning("  warning: %s cannot be read: %s", name, reason)
    require(files, "No picture here can be read.", expected=f"pictures in {folder}", received=len(unreadable))
    rows = build_rows(learnwares, files, shelf, by)
    lacking = dict.fromkeys(next(iter(rows.values())), "")
    table = [
        {"picture": name, **(rows[digest_of[name]] if name in digest_of else lacking)}
        for name in sorted([*digest_of, *unreadable])
    ]
    runs.write_table(out, table)
    log.info("wrote %s: %d pictures, %d of them unreadable", paths.format_path(out), len(table), len(unreadable))
    return out


def build_rows(
    learnwares: Sequence[Learnware], files: Mapping[str, Path], shelf: Store, by: str | None
) -> dict[str, dict[str, Any]]:
    """A row for each picture, by digest."""
    digests = tuple(files)
    answers = [
        LearnwarePredictions(names=digests, classes=one.contract.classes, probabilities=predict_files(one, files))
        for one in learnwares
    ]
    if by is None:
        if said := format_mismatch(learnwares[0], files, shelf):
            log.warning("  warning: %s", said)
        return dict(zip(digests, list_top_classes(answers[0]), strict=True))
    compared = compare_learnwares(learnwares, files, shelf)
    if by == "mixture":
        joined = average_predictions(answers, compared.weights, [one.name for one in learnwares])
        return dict(zip(digests, list_top_classes(joined), strict=True))
    tops = [list_top_classes(one) for one in answers]
    return {
        digest: {"learnware": learnwares[nearest].name, **tops[nearest][place]}
        for place, (digest, nearest) in enumerate(zip(digests, compared.nearest, strict=True))
    }


def average_predictions(
    answers: Sequence[LearnwarePredictions], weights: np.ndarray, names: Sequence[str]
) -> LearnwarePredictions:
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
        mean += weight * select_classes(one.probabilities, [one.classes.index(name) for name in common])
    return LearnwarePredictions(names=answers[0].names, classes=tuple(common), probabilities=mean.astype(np.float32))


def list_top_classes(answers: LearnwarePredictions) -> list[dict[str, Any]]:
    """For each picture the likeliest classes and their probabilities, the likeliest first."""
    order = np.argsort(-answers.probabilities, axis=1, kind="stable")[:, :TOP_K]
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
