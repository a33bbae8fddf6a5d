"""The page of an audit: every check with its number, and the pictures that it is about, side by side, in one file.

What an audit found, in words: for each check one sentence with the number that matters, and what to do.

An audit as plain JSON values: everything that the page shows but the pictures, and every pair by name.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.audit.dataset import AuditDataset
from pipeline.audit.drift import DriftResult
from pipeline.audit.duplicates import SYMMETRY_NAMES, DuplicatePair
from pipeline.audit.findings import AuditReport, count_pair_kinds, find_test_overlap, list_pair_kinds
from pipeline.audit.groups import Groups
from pipeline.audit.label_errors import INSTALL_COMMAND, LabelIssues
from pipeline.audit.leakage import SeparabilityResult
from pipeline.audit.scene_links import SceneLinks
from pipeline.audit.split_leakage import RepeatedCVResult, compute_grouping_effect
from pipeline.evaluation.intervals import Interval, format_interval
from pipeline.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, RULE

LEVEL_FINE, LEVEL_LOOK, LEVEL_ACT = "fine", "look", "act"
STRONG_AUC = 0.6
"""The area from which a leak or a drift is more than a curiosity."""
MIN_GROUP_SHARE = 0.01


@dataclass(frozen=True)
class Finding:
    """One check.

    Args:
        check: its name.
        level: FINE, LOOK (see the page) or ACT.
        said: the number that matters.
        advice: what to do; empty where nothing is.
    """

    check: str
    level: str
    said: str
    advice: str = ""

    @property
    def line(self) -> str:
        """Both, for the terminal."""
        return f"{self.said} -> {self.advice}" if self.advice else self.said


def assess_unreadable(reasons: Mapping[str, str], pictures: int) -> Finding:
    """Pictures that cannot be decoded."""
    said = f"{len(reasons)} of {pictures + len(reasons):,} pictures cannot be read"
    if not reasons:
        return Finding("readable", LEVEL_FINE, said)
    lost = sum(name.startswith("test/") for name in reasons)
    advice = "they are left out of training" + (f"; {lost} test pictures get the prior" if lost else "")
    return Finding(
        "readable",
        LEVEL_ACT if lost else LEVEL_LOOK,
        said,
        f"fetch the data again (invoke download --force); else {advice}",
    )


def assess_duplicates(pairs: Sequence[DuplicatePair], subject: AuditDataset) -> Finding:
    """Equal pictures."""
    if not pairs:
        return Finding("copies", LEVEL_FINE, "no picture is there twice, nor nearly")
    count = count_pair_kinds(pairs, subject)
    order = ("exact", "across folds", "train and test", "two labels")
    kinds = ", ".join(f"{count[kind]} {kind}" for kind in order)
    said = f"{len(pairs)} pairs of equal or nearly equal pictures: {kinds}"
    if count["two labels"]:
        return Finding("copies", LEVEL_ACT, said, "put the labels of the pairs on the page right, or drop both")
    if count["across folds"]:
        return Finding("copies", LEVEL_ACT, said, "keep them together with --grouped")
    advice = "predict those tests by hand, or do not trust them" if count["train and test"] else ""
    return Finding("copies", LEVEL_LOOK, said, advice)


def assess_scenes(pairs: Sequence[DuplicatePair], links: SceneLinks, groups: Groups, subject: AuditDataset) -> Finding:
    """Groups of pictures of one scene."""
    share, sizes = groups.joined.mean(), groups.sizes
    said = (
        f"{len(links.pairs):,} links ({links.false_share:.1%} of them false, by decoys) and equal pictures join "
        f"{groups.joined.sum():,} of {subject.training:,} training pictures ({share:.0%}) "
        f"in {len(sizes)} groups, the largest {sizes[0] if len(sizes) else 0}"
    )
    tests = len(subject) - subject.training
    known = len(find_test_overlap(pairs, links, subject)) / max(tests, 1)
    if tests:
        said += f"; {known:.0%} of the test pictures show such a scene, too"
    if share <= MIN_GROUP_SHARE:
        return Finding("scenes", LEVEL_FINE, said)
    if known > share / 2:
        advice = "--grouped for scenes never seen; random folds are like this test set"
    else:
        advice = "--grouped: random folds test on scenes that were trained on"
    return Finding("scenes", LEVEL_ACT, said, advice)


def assess_folds(
    apart: RepeatedCVResult, together: RepeatedCVResult, metric: str, higher: bool, groups: Groups
) -> Finding:
    """Random against grouped folds."""
    change = compute_grouping_effect(apart, together)
    said = (
        f"{metric} {apart.score:.4f} ± {apart.spread:.4f} with random folds, {together.score:.4f} ± "
        f"{together.spread:.4f} with grouped ones ({change.estimate:+.4f}, {format_interval(change, '+.4f')}), "
        "by a linear head in the plain view"
    )
    joined = groups.joined
    if joined.any():
        both = apart.right[joined].mean(), together.right[joined].mean()
        said += f"; of the pictures in groups {both[0]:.1%} and {both[1]:.1%} right"
    worse = change.is_negative if higher else change.is_positive
    if worse:
        return Finding("folds", LEVEL_ACT, said, "random folds flatter; compare recipes with --grouped")
    return Finding("folds", LEVEL_FINE, said, "no difference beyond noise")


def assess_metadata(told: SeparabilityResult) -> Finding:
    """Classes told from files alone."""
    said = f"classes from the files alone: {_format_auc(told.area)}"
    if not told.tells:
        return Finding("files", LEVEL_FINE, said)
    said += f", most by {_format_best_field(told)}"
    if told.area.estimate < STRONG_AUC:
        return Finding("files", LEVEL_LOOK, said, "weak: what a picture shows also decides how far its file shrinks")
    return Finding(
        "files", LEVEL_ACT, said, "a leak: see which fields on the page, and whether the test pictures have it"
    )


def assess_labels(found: LabelIssues, pictures: int) -> Finding:
    """Labels that may be wrong."""
    said = f"{len(found.found)} of {pictures:,} labels are suspected ({found.method})"
    advice = "look at the worst on the page before training longer"
    if found.method == "ranking":
        advice = f"only ranked, cleanlab is not installed: {INSTALL_COMMAND}"
    return Finding("labels", LEVEL_LOOK if found.found else LEVEL_FINE, said, advice if found.found else "")


def assess_drift(found: DriftResult | None) -> Finding:
    """Training against test pictures."""
    if found is None:
        return Finding("drift", LEVEL_FINE, "too few test pictures to compare")
    by_features, by_files = _format_auc(found.features.area), _format_auc(found.fields.area)
    said = f"test from training pictures: {by_features} by features, {by_files} by files"
    if not (found.features.tells or found.fields.tells):
        return Finding("drift", LEVEL_FINE, said)
    worst = max(told.area.estimate for told in (found.features, found.fields) if told.tells)
    if found.fields.tells:
        said += f" (most by {_format_best_field(found.fields)})"
    level = LEVEL_ACT if worst >= STRONG_AUC else LEVEL_LOOK
    return Finding("drift", level, said, "folds do not stand for the test: judge by pictures that are like it")


def _format_auc(area: Interval) -> str:
    """An area with its interval."""
    return f"AUC {area.estimate:.3f} ({area.low:.3f} to {area.high:.3f}, chance 0.5)"


def _format_best_field(told: SeparabilityResult) -> str:
    """The field that tells most, alone."""
    name, area = next(iter(told.alone.items()))
    return f"{name}, {area:.3f} alone"


THUMBNAIL_SIDE, JPEG_QUALITY = 112, 80
(
    MAX_PAIRS,
    MAX_LINKS,
    MAX_LABEL_ISSUES,
    MAX_DRIFT_EXTREMES,
    LARGEST_GROUPS,
    SAMPLED_GROUPS,
    MAX_GROUP_PICTURES,
    MAX_BARS,
) = 30, 10, 32, 10, 4, 14, 10, 8
"""How many of each are shown: pairs, links, labels, ends of the drift, groups by size and drawn, pictures a group."""
LEVEL_COLOURS = {"fine": GREEN, "look": BLUE, "act": ORANGE}
TemplateData = dict[str, Any]


def render_page(found: AuditReport, findings: Sequence[Finding], title: str) -> str:
    """The page, as HTML that needs no other file.

    Args:
        found: by the audit.
        findings: in words, in the order of the checks.
        title: of the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template("report.html")
    colours = {"ink": INK, "grey": GREY, "rule": RULE, "pale": PALE, "blue": BLUE, **LEVEL_COLOURS}
    shown = _PictureRenderer(found.subject)
    return template.render(title=title, findings=findings, colours=colours, sections=_build_sections(found, shown))


class _PictureRenderer:
    """Pictures with what is written below them."""

    def __init__(self, subject: AuditDataset) -> None:
        self.subject = subject

    def picture(self, row: int, *words: str) -> TemplateData:
        """A picture, its name and class, and more words."""
        subject = self.subject
        label = f"{subject.label(row)}, fold {subject.folds[row]}" if row < subject.training else "test"
        return {
            "source": encode_data_url(subject.pixels([row])[0]),
            "name": subject.names[row],
            "words": [label, *words],
        }

    def pair(self, first: int, second: int, note: str, wrong: bool = False) -> TemplateData:
        """Two pictures side by side, and a note."""
        return {"pictures": [self.picture(first), self.picture(second)], "note": note, "wrong": wrong}


def encode_data_url(pixels: np.ndarray) -> str:
    """A picture (height, width, 3) uint8 as the source of an <img>: a small JPEG in a data URL."""
    from PIL import Image

    file = io.BytesIO()
    small = cv2.resize(pixels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _build_sections(found: AuditReport, shown: _PictureRenderer) -> list[TemplateData]:
    """The parts of the page; those with nothing to show are left out."""
    subject = found.subject
    every: list[TemplateData] = [
        {"title": "Unreadable", "lines": [f"{name}: {reason}" for name, reason in found.unreadable.items()]},
        {"title": "Equal pictures", "rows": _build_duplicate_rows(found.pairs, shown)},
        {"title": "Scenes: the largest groups, then some drawn at random", "rows": _build_group_rows(found, shown)},
        {"title": "Scenes: the links that are least sure", "rows": _build_link_rows(found, shown)},
        {"title": "Scenes: test pictures (left) beside training pictures", "rows": _build_test_link_rows(found, shown)},
        {"title": "Classes told by one field of the files alone (AUC)", "bars": _build_bars(found.leak.alone)},
        {"title": "Labels that may be wrong, the worst first", "rows": _build_label_issue_rows(found, shown)},
    ]
    if found.drift is not None:
        train, test = found.drift.extremes(subject.part, MAX_DRIFT_EXTREMES)
        ends = (("most unlike the test", train), ("most unlike the training", test))
        rows = [{"pictures": [shown.picture(int(row)) for row in some], "note": note} for note, some in ends]
        every.append({"title": "Drift: the two ends", "rows": rows})
        every.append(
            {"title": "Parts told by one field of the files alone (AUC)", "bars": _build_bars(found.drift.fields.alone)}
        )
    blank: TemplateData = {"rows": [], "bars": [], "lines": []}
    return [blank | one for one in every if any(one.get(part) for part in blank)]


def _build_duplicate_rows(pairs: Sequence[DuplicatePair], shown: _PictureRenderer) -> list[TemplateData]:
    """Pairs of equal pictures, those with two labels first, then those across parts and folds."""

    def urgency(pair: DuplicatePair) -> int:
        found = list_pair_kinds(pair, shown.subject)
        order = ("two labels", "train and test", "across folds")
        return next((place for place, kind in enumerate(order) if kind in found), len(order))

    rows = []
    for pair in sorted(pairs, key=urgency)[:MAX_PAIRS]:
        view = "" if pair.view == SYMMETRY_NAMES[0] else f", the second's {pair.view}"
        likeness = "equal pixels" if pair.exact else f"cosine {pair.similarity:.2f}, {pair.bits} bits{view}"
        where = list_pair_kinds(pair, shown.subject)
        rows.append(shown.pair(pair.first, pair.second, f"{', '.join(where)}; {likeness}", "two labels" in where))
    return rows


def _build_group_rows(found: AuditReport, shown: _PictureRenderer) -> list[TemplateData]:
    """Groups of pictures, a row each."""
    first, counts = np.unique(found.groups.first, return_counts=True)
    first, counts = first[counts > 1], counts[counts > 1]
    order = np.argsort(-counts, kind="stable")
    drawn = np.random.default_rng(0).permutation(order[LARGEST_GROUPS:])[:SAMPLED_GROUPS]
    rows = []
    for place in [*order[:LARGEST_GROUPS], *sorted(drawn, key=lambda one: -counts[one])]:
        members = np.flatnonzero(found.groups.first == first[place])
        pictures = [shown.picture(int(row)) for row in members[:MAX_GROUP_PICTURES]]
        rows.append({"pictures": pictures, "note": f"{counts[place]} pictures"})
    return rows


def _build_link_rows(found: AuditReport, shown: _PictureRenderer) -> list[TemplateData]:
    """The weakest links, drawn where more are as weak."""
    order = np.random.default_rng(0).permutation(len(found.links.pairs))
    weakest = order[np.argsort(found.links.strength[order], kind="stable")][:MAX_LINKS].tolist()
    told = [(*found.links.pairs[place].tolist(), found.links.strength[place]) for place in weakest]
    return [shown.pair(first, second, f"{strength} keypoints agree") for first, second, strength in told]


def _build_test_link_rows(found: AuditReport, shown: _PictureRenderer) -> list[TemplateData]:
    """Some links of test pictures, drawn."""
    drawn = np.random.default_rng(0).permutation(found.links.across)[:MAX_LINKS]
    return [shown.pair(test, train, "") for test, train in drawn.tolist()]


def _build_label_issue_rows(found: AuditReport, shown: _PictureRenderer) -> list[TemplateData]:
    """Pictures with their label and what they look like."""
    rows = []
    for one in found.suspects.found[:MAX_LABEL_ISSUES]:
        words = f"looks like {found.subject.classes[one.guess]}", f"its label: {one.confidence:.1%}"
        rows.append({"pictures": [shown.picture(one.row, *words)], "note": ""})
    return rows


def _build_bars(alone: Mapping[str, float]) -> list[TemplateData]:
    """The fields that tell most, with the length of their bars in percent: 0 is chance, 100 without error."""
    return [
        {"name": name, "area": f"{area:.3f}", "length": round(max(0.0, 200 * (area - 0.5)))}
        for name, area in list(alone.items())[:MAX_BARS]
    ]


def build_record(found: AuditReport, findings: Sequence[Finding], title: str) -> dict[str, Any]:
    """The audit as plain JSON values."""
    subject, names = found.subject, found.subject.names

    def pair(one: DuplicatePair) -> dict[str, Any]:
        return {
            **asdict(one),
            "first": names[one.first],
            "second": names[one.second],
            "kinds": list_pair_kinds(one, subject),
        }

    return {
        "title": title,
        "findings": [asdict(finding) for finding in findings],
        "unreadable": dict(found.unreadable),
        "pairs": [pair(one) for one in found.pairs],
        "pair_counts": dict(count_pair_kinds(found.pairs, subject)),
        "links": len(found.links.pairs),
        "link_strength": found.links.least,
        "false_links": found.links.false_share,
        "struck_keypoints": found.links.struck,
        "group_sizes": found.groups.sizes.tolist(),
        "refused_links": found.groups.refused,
        "tests_known": [names[row] for row in find_test_overlap(found.pairs, found.links, subject)],
        "random_folds": found.apart.scores,
        "grouped_folds": found.together.scores,
        "change": compute_grouping_effect(found.apart, found.together).record(),
        "files": _build_auc_record(found.leak),
        "drift": None if found.drift is None else _build_drift_record(found.drift),
        "suspects": [
            {"picture": names[one.row], "label": subject.label(one.row), "guess": subject.classes[one.guess]}
            for one in found.suspects.found
        ],
    }


def _build_auc_record(told: SeparabilityResult) -> dict[str, Any]:
    """Areas under the curve."""
    return {**asdict(told.area), "alone": told.alone}


def _build_drift_record(found: DriftResult) -> dict[str, Any]:
    """Both kinds of drift."""
    return {"features": _build_auc_record(found.features), "files": _build_auc_record(found.fields)}
