"""The page of an audit: every check with its number, and the pictures that it is about, side by side, in one file."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.audit.duplicates import NAMES, Pair
from pipeline.audit.found import Found, kinds
from pipeline.audit.subject import Subject
from pipeline.report.audited_findings import Finding
from pipeline.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, PALE, RULE

SIDE, QUALITY = 112, 80
PAIRS, LINKS, SUSPECTS, EXTREMES, LARGE, SMALL, ROW, BARS = 30, 10, 32, 10, 4, 14, 10, 8
"""How many of each are shown: pairs, links, labels, ends of the drift, groups by size and drawn, pictures a group."""
COLOURS = {"fine": GREEN, "look": BLUE, "act": ORANGE}
Shown = dict[str, Any]


def page(found: Found, findings: Sequence[Finding], title: str) -> str:
    """The page, as HTML that needs no other file.

    Args:
        found: by the audit.
        findings: in words, in the order of the checks.
        title: of the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template("audited.html")
    colours = {"ink": INK, "grey": GREY, "rule": RULE, "pale": PALE, "blue": BLUE, **COLOURS}
    shown = _Shown(found.subject)
    return template.render(title=title, findings=findings, colours=colours, sections=_sections(found, shown))


class _Shown:
    """Pictures with what is written below them."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def picture(self, row: int, *words: str) -> Shown:
        """A picture, its name and class, and more words."""
        subject = self.subject
        label = f"{subject.label(row)}, fold {subject.folds[row]}" if row < subject.training else "test"
        return {"source": inlined(subject.pixels([row])[0]), "name": subject.names[row], "words": [label, *words]}

    def pair(self, first: int, second: int, note: str, wrong: bool = False) -> Shown:
        """Two pictures side by side, and a note."""
        return {"pictures": [self.picture(first), self.picture(second)], "note": note, "wrong": wrong}


def inlined(pixels: np.ndarray) -> str:
    """A picture (height, width, 3) uint8 as the source of an <img>: a small JPEG in a data URL."""
    from PIL import Image

    file = io.BytesIO()
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _sections(found: Found, shown: _Shown) -> list[Shown]:
    """The parts of the page; those with nothing to show are left out."""
    subject = found.subject
    every: list[Shown] = [
        {"title": "Unreadable", "lines": [f"{name}: {reason}" for name, reason in found.unreadable.items()]},
        {"title": "Equal pictures", "rows": _duplicates(found.pairs, shown)},
        {"title": "Scenes: the largest groups, then some drawn at random", "rows": _groups(found, shown)},
        {"title": "Scenes: the links that are least sure", "rows": _links(found, shown)},
        {"title": "Scenes: test pictures (left) beside training pictures", "rows": _across(found, shown)},
        {"title": "Classes told by one field of the files alone (AUC)", "bars": _bars(found.leak.alone)},
        {"title": "Labels that may be wrong, the worst first", "rows": _suspects(found, shown)},
    ]
    if found.drift is not None:
        train, test = found.drift.extremes(subject.part, EXTREMES)
        ends = (("most unlike the test", train), ("most unlike the training", test))
        rows = [{"pictures": [shown.picture(int(row)) for row in some], "note": note} for note, some in ends]
        every.append({"title": "Drift: the two ends", "rows": rows})
        every.append(
            {"title": "Parts told by one field of the files alone (AUC)", "bars": _bars(found.drift.fields.alone)}
        )
    blank: Shown = {"rows": [], "bars": [], "lines": []}
    return [blank | one for one in every if any(one.get(part) for part in blank)]


def _duplicates(pairs: Sequence[Pair], shown: _Shown) -> list[Shown]:
    """Pairs of equal pictures, those with two labels first, then those across parts and folds."""

    def urgency(pair: Pair) -> int:
        found = kinds(pair, shown.subject)
        order = ("two labels", "train and test", "across folds")
        return next((place for place, kind in enumerate(order) if kind in found), len(order))

    rows = []
    for pair in sorted(pairs, key=urgency)[:PAIRS]:
        view = "" if pair.view == NAMES[0] else f", the second's {pair.view}"
        likeness = "equal pixels" if pair.exact else f"cosine {pair.similarity:.2f}, {pair.bits} bits{view}"
        where = kinds(pair, shown.subject)
        rows.append(shown.pair(pair.first, pair.second, f"{', '.join(where)}; {likeness}", "two labels" in where))
    return rows


def _groups(found: Found, shown: _Shown) -> list[Shown]:
    """Groups of pictures, a row each."""
    first, counts = np.unique(found.groups.first, return_counts=True)
    first, counts = first[counts > 1], counts[counts > 1]
    order = np.argsort(-counts, kind="stable")
    drawn = np.random.default_rng(0).permutation(order[LARGE:])[:SMALL]
    rows = []
    for place in [*order[:LARGE], *sorted(drawn, key=lambda one: -counts[one])]:
        members = np.flatnonzero(found.groups.first == first[place])
        pictures = [shown.picture(int(row)) for row in members[:ROW]]
        rows.append({"pictures": pictures, "note": f"{counts[place]} pictures"})
    return rows


def _links(found: Found, shown: _Shown) -> list[Shown]:
    """The weakest links, drawn where more are as weak."""
    order = np.random.default_rng(0).permutation(len(found.links.pairs))
    weakest = order[np.argsort(found.links.strength[order], kind="stable")][:LINKS].tolist()
    told = [(*found.links.pairs[place].tolist(), found.links.strength[place]) for place in weakest]
    return [shown.pair(first, second, f"{strength} keypoints agree") for first, second, strength in told]


def _across(found: Found, shown: _Shown) -> list[Shown]:
    """Some links of test pictures, drawn."""
    drawn = np.random.default_rng(0).permutation(found.links.across)[:LINKS]
    return [shown.pair(test, train, "") for test, train in drawn.tolist()]


def _suspects(found: Found, shown: _Shown) -> list[Shown]:
    """Pictures with their label and what they look like."""
    rows = []
    for one in found.suspects.found[:SUSPECTS]:
        words = f"looks like {found.subject.classes[one.guess]}", f"its label: {one.confidence:.1%}"
        rows.append({"pictures": [shown.picture(one.row, *words)], "note": ""})
    return rows


def _bars(alone: Mapping[str, float]) -> list[Shown]:
    """The fields that tell most, with the length of their bars in percent: 0 is chance, 100 without error."""
    return [
        {"name": name, "area": f"{area:.3f}", "length": round(max(0.0, 200 * (area - 0.5)))}
        for name, area in list(alone.items())[:BARS]
    ]
