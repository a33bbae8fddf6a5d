"""Predicts a folder of pictures with one learnware or several, and writes the likeliest classes, a row a picture.

Several learnwares predict together: averaged over the classes that they share, each by its weight in the mixture that
covers the pictures best; or each picture is predicted by the one whose training pictures are nearest.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data.picture_files import format_unreadable
from pipeline.errors import StarshiftError, require
from pipeline.learnware import kernel_mean_embedding, probe
from pipeline.learnware.archive import Learnware
from pipeline.learnware.cached_predictions import (
    check_probe_predictions,
    predict_cached,
    predict_probabilities,
    select_classes,
)
from pipeline.learnware.kernel_mean_embedding import compute_nearness
from pipeline.learnware.search import DOES_NOT_FIT, search_specifications
from pipeline.learnware.store import Store
from pipeline.output import print_results
from pipeline.runs import folder as runs
from pipeline.runs import predictor
from pipeline.runs.predictor import RunPredictor

log = logging.getLogger(__name__)
MAX_CHECKED_PICTURES = 500
COMBINATION_MODES = ("mixture", "picture")


@dataclass(frozen=True, kw_only=True)
class LearnwarePredictions:
    """Predictions of pictures.

    Args:
        classes: in the order of the columns.
        probabilities: (pictures, classes) float32.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray


def load_learnware_predictor(learnware: Learnware) -> RunPredictor:
    """Loads a learnware to predict as a run does; the training pictures are not known.

    Raises:
        StarshiftError: the archive is refused, or its model does not predict its probe batch as it did.
    """
    live, contract = learnware.live(), learnware.contract
    check_probe_predictions(learnware, live)
    plain = replace(contract, views=("plain",))

    def classify(pixels: Mapping[int, np.ndarray], _: Mapping[str, np.ndarray] | None) -> np.ndarray:
        return predict_probabilities(live, plain, pixels, [""] * len(next(iter(pixels.values()))))

    return RunPredictor(
        classes=contract.classes,
        sizes=tuple(sorted(contract.sizes)),
        views=contract.views,
        extract=lambda pixels: {},
        classify=classify,
    )


def predict_folder(
    learnwares: Sequence[Learnware],
    folder: Path,
    out: Path,
    *,
    shelf: Store,
    by: str | None = None,
    force: bool = False,
) -> Path:
    """Writes the predictions of the pictures below a folder.

    Args:
        learnwares: read whole; one, or several and a way to combine them.
        folder: of the pictures.
        out: the CSV file.
        shelf: the store that the learnwares are of.
        by: `mixture` or `picture`, for several.
        force: write over an existing file.

    Raises:
        StarshiftError: the file exists; no picture can be read; the learnwares share no two classes.
    """
    names = [one.name for one in learnwares]
    distinct = learnwares and len(set(names)) == len(names)
    require(distinct, "Which learnwares?", expected="distinct --learnware", received=names)
    require(
        (by in COMBINATION_MODES) if len(names) > 1 else by is None,
        "Several learnwares answer in one of two ways.",
        expected="--by mixture or --by picture with several --learnware, and none with one",
        received=by,
    )
    predictor.check_output(out, force=force)
    pictures = probe.scan_folder(folder, learnwares[0].contract.sizes[0])
    for line in format_unreadable(pictures.unreadable):
        log.warning("  warning: %s", line)
    rows = build_rows(learnwares, pictures.files, shelf, by)
    blank = dict.fromkeys(next(iter(rows.values())), "")
    table = [
        {"picture": name, **(rows[pictures.digests[name]] if name in pictures.digests else blank)}
        for name in sorted([*pictures.digests, *pictures.unreadable])
    ]
    runs.write_table(out, table)
    print_results({"learnwares": names, "pictures": table})
    log.info("wrote %s: %d pictures, %d of them unreadable", paths.format_path(out), len(table),
             len(pictures.unreadable))  # fmt: skip
    return out


def build_rows(
    learnwares: Sequence[Learnware], files: Mapping[str, Path], shelf: Store, by: str | None
) -> dict[str, dict[str, Any]]:
    """Predicts pictures and returns a row for each, by digest."""
    digests = tuple(files)
    predictions = [
        LearnwarePredictions(classes=one.contract.classes, probabilities=predict_cached(one, files, digests)[0])
        for one in learnwares
    ]
    if by is None:
        if warning := format_mismatch(learnwares[0], files, shelf):
            log.warning("  warning: %s", warning)
        return dict(zip(digests, build_top_rows(predictions[0]), strict=True))
    weights, nearest = compare_learnwares(learnwares, files, shelf)
    if by == "mixture":
        mixture = average_predictions(predictions, weights, [one.name for one in learnwares])
        return dict(zip(digests, build_top_rows(mixture), strict=True))
    tops = [build_top_rows(one) for one in predictions]
    return {
        digest: {"learnware": learnwares[number].name, **tops[number][row]}
        for row, (digest, number) in enumerate(zip(digests, nearest, strict=True))
    }


def format_mismatch(learnware: Learnware, files: Mapping[str, Path], shelf: Store) -> str:
    """Returns a warning where a learnware was not trained on such pictures; empty where it was, or none can tell.

    Args:
        learnware: of the store.
        files: pictures that can be read, by digest; the first 500 are compared.
        shelf: the store.
    """
    sample = {digest: files[digest] for digest in list(files)[:MAX_CHECKED_PICTURES]}
    if len(sample) < 2:
        return ""
    try:
        base = probe.load_probe_base(shelf.probe)
    except StarshiftError:  # this machine's probe is not the store's; the learnware predicts all the same
        return ""
    features = probe.extract_features(base, sample, list(sample), "keras")
    specification = learnware.specification
    (match,) = search_specifications(features, [specification], shelf.probe, specification.gamma).matches
    if match.verdict != DOES_NOT_FIT:
        return ""
    return (
        f"{match.name} was not trained on such pictures (MMD² {match.distance:.4f}, sets of its own task stay below "
        f"{match.limit:.4f}): its answers are guesses"
    )


def compare_learnwares(
    learnwares: Sequence[Learnware], files: Mapping[str, Path], shelf: Store
) -> tuple[np.ndarray, np.ndarray]:
    """Compares learnwares with pictures in the probe's feature space.

    Args:
        learnwares: of the store.
        files: pictures that can be read, by digest; at least two.
        shelf: the store.

    Returns:
        The weight of each learnware in the mixture, (learnwares,) float64, their sum 1; and for each picture the number
        of the learnware one of whose classes is nearest, (pictures,) int.

    Raises:
        StarshiftError: the probe on this machine is another one than the store's.
    """
    specifications = [one.specification for one in learnwares]
    gamma = specifications[0].gamma
    features = probe.extract_features(probe.load_probe_base(shelf.probe), files, list(files))
    matches = search_specifications(features, specifications, shelf.probe, gamma).matches
    weight_of = {match.name: match.weight for match in matches}
    rows = kernel_mean_embedding.normalize_features(features)
    nearness = [compute_nearness(rows, list(one.by_class.values()), gamma) for one in specifications]
    log.info("mixture   %s", ", ".join(f"{one.name} {weight_of[one.name]:.2f}" for one in learnwares))
    for match in matches:
        log.info("          %s %s: distance %.4f, its own task's sets stay below %.4f", match.name, match.verdict,
                 match.distance, match.limit)  # fmt: skip
    return np.array([weight_of[one.name] for one in learnwares]), np.argmax(nearness, axis=0)


def average_predictions(
    predictions: Sequence[LearnwarePredictions], weights: np.ndarray, names: Sequence[str]
) -> LearnwarePredictions:
    """Returns the weighted mean over the shared classes; each set of predictions is rescaled to those classes first.

    Raises:
        StarshiftError: fewer than two classes are shared.
    """
    common = [name for name in predictions[0].classes if all(name in one.classes for one in predictions)]
    if len(common) < 2:
        raise StarshiftError(
            f"{' and '.join(names)} share no classes that could be averaged.",
            expected="two shared class names at least",
            received=", ".join(common) or "none",
            remedy="--by picture lets the nearest learnware answer for each picture",
        )
    others = sorted({name for one in predictions for name in one.classes} - set(common))
    if others:
        log.info("          left out, as not all of them know it: %s", ", ".join(others[:10]))
    mean = np.zeros((len(predictions[0].probabilities), len(common)))
    for one, weight in zip(predictions, weights, strict=True):
        mean += weight * select_classes(one.probabilities, [one.classes.index(name) for name in common])
    return LearnwarePredictions(classes=tuple(common), probabilities=mean.astype(np.float32))


def build_top_rows(predictions: LearnwarePredictions) -> list[dict[str, str]]:
    """Builds for each picture the cells of its row: the likeliest classes and their probabilities."""
    tops = predictor.list_top_classes(predictions.classes, predictions.probabilities)
    return [predictor.build_table_row(top) for top in tops]
