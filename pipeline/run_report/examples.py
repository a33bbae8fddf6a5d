"""The sections of a report that show pictures: the worst predictions, what an audit suspects, and the embedding map."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from pipeline import paths
from pipeline.config import find_comp_argument
from pipeline.data.pixel_cache import read_cached_pixels
from pipeline.errors import StarshiftError
from pipeline.evaluation.metrics import compute_picture_losses
from pipeline.files import read_json
from pipeline.run_report.charts import Axis
from pipeline.run_report.pictures import ThumbnailSource, build_sprite, encode_data_url
from pipeline.run_report.results import ValidationResult
from pipeline.runs.activation_maps import load_explainer, overlay_map
from pipeline.runs.listing import shorten_base_name
from pipeline.runs.novelty import load_features, normalize_parts

Section = dict[str, Any]
MAX_WORST, MAX_NEAREST, MAX_SUSPECTS, MAX_PAIRS = 24, 3, 24, 12
MAX_EXPLAINED = 8
"""Right pictures, and wrong ones, whose maps are shown."""
THUMBNAIL_SIDE, NEAREST_SIDE, MAP_SIDE = 112, 64, 48
"""Sides of thumbnails in pixels."""
URGENT_KINDS = {"two labels", "train and test", "across folds"}
"""Kinds of equal pictures that are shown, as audit/report.py names them."""
MAX_MAP_PICTURES, MAP_COLUMNS = 600, 25
MAP_WIDTH, MAP_HEIGHT = 720, 460
NO_PICTURES = "The pixel cache of this machine does not have these pictures, so they are shown by name alone."
NO_FEATURES = (
    "The feature cache of this machine does not have the features of every picture in the plain view, so there is no"
    " map, and no nearest training picture is shown."
)


class PictureSections:
    """Builds the sections that show pictures.

    Args:
        result: predictions and labels.
        digests: SHA-256 of each training picture, by id; {} where they are not known.
    """

    def __init__(self, result: ValidationResult, digests: Mapping[str, str]) -> None:
        self.result, self.digests = result, digests
        self.source = ThumbnailSource(digests)
        held = set(result.ids)
        self.names = [*result.ids, *(name for name in result.run.folds.index if name not in held)]
        self.features: np.ndarray | None = None
        self.bases: list[str] = []
        if result.ids and all(name in digests for name in self.names):
            parts = load_features(result.run, [digests[name] for name in self.names])
            self.features = normalize_parts(list(parts.values())) if parts else None
            self.bases = [shorten_base_name(text) for text in parts]

    def build_worst(self) -> Section:
        """Builds the pictures of the highest log loss, each with the nearest pictures that its model was trained on."""
        result, labels = self.result, self.result.oof.labels
        losses = compute_picture_losses(labels, result.probabilities)
        mistakes = np.flatnonzero(result.predicted != labels)
        wrong = [int(row) for row in mistakes[np.argsort(-losses[mistakes], kind="stable")][:MAX_WORST]]
        nearest = {row: self._find_nearest(row) for row in wrong}
        large = self.source.encode([result.ids[row] for row in wrong], THUMBNAIL_SIDE)
        small = self.source.encode([name for each in nearest.values() for name, _ in each], NEAREST_SIDE)
        cards = [
            self._describe(row, large)
            | {"loss": f"{losses[row]:.2f}"}
            | {
                "nearest": [
                    {
                        "name": name,
                        "label": result.run.label[name],
                        "source": small.get(name, ""),
                        "cosine": f"{cosine:.2f}",
                    }
                    for name, cosine in nearest[row]
                ]
            }
            for row in wrong
        ]
        return {
            "cards": cards, "bases": self.bases,
            "notes": ([] if large or not wrong else [NO_PICTURES]) + ([] if self.bases else [NO_FEATURES]),
        }  # fmt: skip

    def _describe(self, row: int, thumbnails: Mapping[str, str]) -> Section:
        """Describes a picture: thumbnail, label, prediction and the probabilities of both."""
        result, label, guess = self.result, self.result.oof.labels[row], self.result.predicted[row]
        return {
            "name": result.ids[row], "source": thumbnails.get(result.ids[row], ""),
            "label": result.classes[label], "label_share": f"{result.probabilities[row, label]:.1%}",
            "predicted": result.classes[guess], "share": f"{result.probabilities[row, guess]:.1%}",
            "right": bool(label == guess),
        }  # fmt: skip

    def build_maps(self) -> Section:
        """Builds what the run looks at in the worst of its wrong pictures and in the surest of its right ones."""
        result, labels = self.result, self.result.oof.labels
        losses, right = compute_picture_losses(labels, result.probabilities), result.predicted == labels
        order = np.argsort(losses, kind="stable")
        rows = [*order[~right[order]][::-1][:MAX_EXPLAINED], *order[right[order]][:MAX_EXPLAINED]]
        try:
            explainer = load_explainer(result.run.folder)
        except StarshiftError as error:
            return {"cards": [], "note": f"There is no map: {error.expected} is needed, and this is {error.received}."}
        digests = [self.digests.get(result.ids[row], "") for row in rows]
        stored = {size: read_cached_pixels(size, digests) for size in explainer.sizes}
        pixels = {size: one for size, one in stored.items() if one is not None}
        if len(pixels) < len(stored):
            return {"cards": [], "note": NO_PICTURES}
        maps = explainer.draw_maps(explainer.extract(pixels), [int(result.predicted[row]) for row in rows])
        cards = [
            self._describe(row, {result.ids[row]: _shrink(picture)})
            | {"overlay": _shrink(overlay_map(picture, values))}
            for row, picture, values in zip(rows, pixels[explainer.sizes[-1]], maps, strict=True)
        ]
        return {"cards": cards, "note": "", "legend": explainer.legend}

    def _find_nearest(self, row: int) -> list[tuple[str, float]]:
        """Finds the pictures of other folds whose features have the highest cosine; id and cosine."""
        if self.features is None:
            return []
        fold = self.result.run.fold
        cosine = self.features @ self.features[row]
        own = np.array([fold[name] for name in self.names]) == fold[self.result.ids[row]]
        order = np.argsort(np.where(own, np.inf, -cosine), kind="stable")[:MAX_NEAREST]
        return [(self.names[other], float(cosine[other])) for other in order if not own[other]]

    def build_audit(self) -> Section | None:
        """Builds what the audit of this competition found; None where there was none."""
        name = self.result.run.config["competition"]["name"]
        stored = read_json(paths.reports_folder(name) / "audit.json")
        if not stored:
            return None
        row_of = {f"train/{name}": row for row, name in enumerate(self.result.ids)}
        suspects = [one for one in stored["suspects"] if one["picture"] in row_of]
        pairs = [one for one in stored["pairs"] if URGENT_KINDS & {*one["kinds"]}]
        copies = [(one["first"], one["second"]) for one in pairs[:MAX_PAIRS]]
        shown = [*(one["picture"] for one in suspects[:MAX_SUSPECTS]), *(name for pair in copies for name in pair)]
        ids = [name.removeprefix("train/") for name in shown if name.startswith("train/")]
        thumbnails = self.source.encode(ids, THUMBNAIL_SIDE)
        sources = {
            f"train/{name}": source for name, source in thumbnails.items()
        }  # test pictures may have the same ids
        return {
            "title": stored["title"], "findings": stored["findings"], "suspects": len(suspects), "pairs": len(pairs),
            "cards": [
                self._describe(row_of[one["picture"]], thumbnails) | {"guess": one["guess"]}
                for one in suspects[:MAX_SUSPECTS]
            ],
            "copies": [
                {"kinds": ", ".join(one["kinds"]),
                 "pictures": [{"name": name, "source": sources.get(name, "")} for name in names]}
                for one, names in zip(pairs, copies, strict=False)
            ],
            "page": paths.format_path(paths.reports_folder(name) / "audit.html"),
        }  # fmt: skip

    def build_map(self, *, tsne: bool = False) -> Section:
        """Builds the map of a sample of the pictures by their features: a dot each, and a sheet of thumbnails.

        Args:
            tsne: by t-SNE (van der Maaten and Hinton 2008), which shows neighbours, instead of PCA.
        """
        result = self.result
        if self.features is None:
            return {"note": NO_FEATURES, "dots": [], "bases": []}
        rows = sample_by_class(result.oof.labels, MAX_MAP_PICTURES, np.random.default_rng(0))
        thumbnails = self.source.read([result.ids[row] for row in rows], MAP_SIDE)
        rows = np.array([row for row in rows if result.ids[row] in thumbnails] or rows)
        place = project(self.features[rows], tsne=tsne)
        x, y = (
            Axis(float(values.min()), float(values.max()), start, end)
            for values, start, end in zip(place.T, (10, MAP_HEIGHT - 10), (MAP_WIDTH - 10, 10), strict=True)
        )
        pictures = [thumbnails[result.ids[row]] for row in rows if result.ids[row] in thumbnails]
        return {
            "note": "" if pictures else NO_PICTURES, "width": MAP_WIDTH, "height": MAP_HEIGHT, "bases": self.bases,
            "method": "t-SNE" if tsne else "PCA", "side": MAP_SIDE, "columns": MAP_COLUMNS, "of": len(result.ids),
            "sprite": encode_data_url(build_sprite(pictures, MAP_COLUMNS)) if pictures else "",
            "dots": [self._describe_dot(row, x.place(a), y.place(b)) for row, (a, b) in zip(rows, place, strict=True)],
            "classes": result.classes,
        }  # fmt: skip

    def _describe_dot(self, row: int, x: float, y: float) -> Section:
        """Describes a dot of the map: place, id, numbers of the label and of the predicted class."""
        labels, predicted = self.result.oof.labels, self.result.predicted
        return {"x": x, "y": y, "id": self.result.ids[row], "label": int(labels[row]), "predicted": int(predicted[row])}


def build_audit_command(name: str) -> str:
    """Builds the command that audits a competition."""
    return f"invoke audit --comp {find_comp_argument(name)}"


def sample_by_class(labels: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    """Samples rows, as many of each class as there are, or as equally many as the limit allows; sorted, (n,) int.

    Args:
        labels: (pictures,) int.
        most: rows.
        random: draws them.
    """
    shuffled = random.permutation(len(labels))
    own = labels[shuffled]
    turn = np.empty(len(labels), int)
    for label in np.unique(own):
        rows = np.flatnonzero(own == label)
        turn[rows] = np.arange(len(rows))
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])


def project(features: np.ndarray, *, tsne: bool = False) -> np.ndarray:
    """Projects features (pictures, width) onto two dimensions, (pictures, 2): by PCA, or by t-SNE."""
    if tsne and len(features) > 30:
        from sklearn.manifold import TSNE

        return np.asarray(TSNE(init="pca", random_state=0).fit_transform(features))
    from sklearn.utils.extmath import randomized_svd

    left, values, _ = randomized_svd(features - features.mean(axis=0), min(2, *features.shape), random_state=0)
    places = left * values
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def _shrink(picture: np.ndarray) -> str:
    """Encodes a picture (side, side, 3) uint8 as a thumbnail in a data URL."""
    return encode_data_url(cv2.resize(picture, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA))
