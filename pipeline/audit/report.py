"""The report of an audit: its findings in words, as an HTML page with the pictures side by side, and as JSON.

A finding is one sentence with the number that matters, and what to do. The page needs no other file.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.audit.dataset import AuditDataset
from pipeline.audit.drift import DriftResult
from pipeline.audit.duplicates import SYMMETRY_NAMES, DuplicatePair
from pipeline.audit.label_errors import LabelIssue
from pipeline.audit.leakage import RepeatedCVResult, SeparabilityResult, compute_grouping_effect
from pipeline.audit.scene_links import Groups, SceneLinks
from pipeline.data.corrections import CORRECTIONS_FILE
from pipeline.evaluation.intervals import Interval, format_interval
from pipeline.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, RULE
from pipeline.terminal import name_program


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """An audit's results.

    Args:
        dataset: the pictures.
        unreadable: why, by `part/id`.
        pairs: equal pictures.
        links: pictures of one scene.
        groups: of the training pictures, from both.
        random_folds: cross-validation with equal pictures together and scenes torn apart.
        grouped_folds: cross-validation with the groups whole.
        metadata: classes told from files alone.
        label_issues: labels that may be wrong.
        drift: training and test pictures told apart; None where there are too few.
    """

    dataset: AuditDataset
    unreadable: Mapping[str, str]
    pairs: Sequence[DuplicatePair]
    links: SceneLinks
    groups: Groups
    random_folds: RepeatedCVResult
    grouped_folds: RepeatedCVResult
    metadata: SeparabilityResult
    label_issues: list[LabelIssue]
    drift: DriftResult | None


def list_pair_kinds(pair: DuplicatePair, dataset: AuditDataset) -> list[str]:
    """Returns where a pair lies: `within test`, `train and test`, `within train` with `two labels`, `across folds`."""
    first, second = pair.first, pair.second
    parts = dataset.part[[first, second]]
    if parts[0] != parts[1]:
        return ["train and test"]
    if parts[0] == 1:
        return ["within test"]
    differ = {"two labels": dataset.labels, "across folds": dataset.folds}
    return ["within train", *(kind for kind, values in differ.items() if values[first] != values[second])]


def count_pair_kinds(pairs: Sequence[DuplicatePair], dataset: AuditDataset) -> Counter[str]:
    """Counts the pairs of each kind, and those that are exact."""
    counts = Counter(kind for pair in pairs for kind in list_pair_kinds(pair, dataset))
    counts["exact"] = sum(pair.exact for pair in pairs)
    return counts


def find_test_overlap(pairs: Sequence[DuplicatePair], links: SceneLinks, dataset: AuditDataset) -> np.ndarray:
    """Returns the rows of the test pictures that show a training picture, or its scene."""
    rows = {pair.second for pair in pairs if pair.first < dataset.training <= pair.second}
    return np.array(sorted(rows | set(links.test_pairs[:, 0].tolist())), int)


LEVEL_FINE, LEVEL_LOOK, LEVEL_ACT = "fine", "look", "act"
LEVEL_COLOURS = {LEVEL_FINE: GREEN, LEVEL_LOOK: BLUE, LEVEL_ACT: ORANGE}
STRONG_AUC = 0.6
"""The AUC from which a leak or a drift is more than a curiosity."""
MIN_GROUP_SHARE = 0.01
THUMBNAIL_SIDE, JPEG_QUALITY = 112, 80
MAX_PAIRS, MAX_LINKS, MAX_LABEL_ISSUES, MAX_DRIFT_EXTREMES, MAX_BARS = 30, 10, 32, 10, 8
LARGEST_GROUPS, SAMPLED_GROUPS, MAX_GROUP_PICTURES = 4, 14, 10
"""How many groups are shown by size and by sampling, and how many pictures of each."""
TemplateData = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """The finding of one check.

    Args:
        check: its name.
        level: LEVEL_FINE, LEVEL_LOOK (see the page) or LEVEL_ACT.
        said: the number that matters.
        advice: what to do; empty where nothing is.
    """

    check: str
    level: str
    said: str
    advice: str = ""

    @property
    def line(self) -> str:
        """Number and advice, for the terminal."""
        return f"{self.said} -> {self.advice}" if self.advice else self.said


def assess_unreadable(reasons: Mapping[str, str], pictures: int) -> Finding:
    """Assesses pictures that cannot be decoded."""
    text = f"{len(reasons)} of {pictures + len(reasons):,} pictures cannot be read"
    if not reasons:
        return Finding("readable", LEVEL_FINE, text)
    lost = sum(name.startswith("test/") for name in reasons)
    advice = "they are left out of training" + (f"; {lost} test pictures get the prior" if lost else "")
    advice = f"fetch the data again (invoke download --force); else {advice}"
    return Finding("readable", LEVEL_ACT if lost else LEVEL_LOOK, text, advice)


def assess_duplicates(pairs: Sequence[DuplicatePair], dataset: AuditDataset) -> Finding:
    """Assesses equal pictures."""
    if not pairs:
        return Finding("copies", LEVEL_FINE, "no picture is there twice, nor nearly")
    count = count_pair_kinds(pairs, dataset)
    kinds = ", ".join(f"{count[kind]} {kind}" for kind in ("exact", "across folds", "train and test", "two labels"))
    text = f"{len(pairs)} pairs of equal or nearly equal pictures: {kinds}"
    if count["two labels"]:
        return Finding("copies", LEVEL_ACT, text, "put the labels of the pairs on the page right, or drop both")
    if count["across folds"]:
        return Finding("copies", LEVEL_ACT, text, "keep them together with --grouped")
    advice = "predict those tests by hand, or do not trust them" if count["train and test"] else ""
    return Finding("copies", LEVEL_LOOK, text, advice)


def assess_scenes(pairs: Sequence[DuplicatePair], links: SceneLinks, groups: Groups, dataset: AuditDataset) -> Finding:
    """Assesses groups of pictures of one scene."""
    share, sizes = groups.joined.mean(), groups.sizes
    text = (
        f"{len(links.pairs):,} links ({links.false_share:.1%} of them false, by decoys) and equal pictures join "
        f"{groups.joined.sum():,} of {dataset.training:,} training pictures ({share:.0%}) "
        f"in {len(sizes)} groups, the largest {sizes[0] if len(sizes) else 0}"
    )
    tests = len(dataset) - dataset.training
    overlap = len(find_test_overlap(pairs, links, dataset)) / max(tests, 1)
    if tests:
        text += f"; {overlap:.0%} of the test pictures show such a scene, too"
    if share <= MIN_GROUP_SHARE:
        return Finding("scenes", LEVEL_FINE, text)
    if overlap > share / 2:
        advice = "--grouped for scenes never seen; random folds are like this test set"
    else:
        advice = "--grouped: random folds test on scenes that were trained on"
    return Finding("scenes", LEVEL_ACT, text, advice)


def assess_folds(
    random_folds: RepeatedCVResult, grouped_folds: RepeatedCVResult, metric: str, higher: bool, groups: Groups
) -> Finding:
    """Assesses random against grouped folds."""
    change = compute_grouping_effect(random_folds, grouped_folds)
    text = (
        f"{metric} {random_folds.score:.4f} ± {random_folds.spread:.4f} with random folds, {grouped_folds.score:.4f} ± "
        f"{grouped_folds.spread:.4f} with grouped ones ({change.estimate:+.4f}, {format_interval(change, '+.4f')}), "
        "by a linear head in the plain view"
    )
    joined = groups.joined
    if joined.any():
        correct = [result.correct[joined].mean() for result in (random_folds, grouped_folds)]
        text += f"; of the pictures in groups {correct[0]:.1%} and {correct[1]:.1%} right"
    if change.is_negative if higher else change.is_positive:
        return Finding("folds", LEVEL_ACT, text, "random folds flatter; compare recipes with --grouped")
    return Finding("folds", LEVEL_FINE, text, "no difference beyond noise")


def assess_metadata(result: SeparabilityResult) -> Finding:
    """Assesses classes told from files alone."""
    text = f"classes from the files alone: {_format_auc(result.auc)}"
    if not result.is_separable:
        return Finding("files", LEVEL_FINE, text)
    text += f", most by {_format_best_field(result)}"
    if result.auc.estimate < STRONG_AUC:
        return Finding("files", LEVEL_LOOK, text, "weak: what a picture shows also decides how far its file shrinks")
    advice = "a leak: see which fields on the page, and whether the test pictures have it"
    return Finding("files", LEVEL_ACT, text, advice)


def assess_labels(issues: Sequence[LabelIssue], pictures: int) -> Finding:
    """Assesses labels that may be wrong."""
    text = f"{len(issues)} of {pictures:,} labels are suspected"
    if not issues:
        return Finding("labels", LEVEL_FINE, text)
    text += ": at least twice as many as would be that improbable if all were right"
    advice = f"look at the worst on the page; {CORRECTIONS_FILE} beside it takes those that you correct"
    return Finding("labels", LEVEL_LOOK, text, advice)


def assess_drift(result: DriftResult | None) -> Finding:
    """Assesses training against test pictures."""
    if result is None:
        return Finding("drift", LEVEL_FINE, "too few test pictures to compare")
    by_features, by_files = _format_auc(result.features.auc), _format_auc(result.metadata.auc)
    text = f"test from training pictures: {by_features} by features, {by_files} by files"
    separable = [one.auc.estimate for one in (result.features, result.metadata) if one.is_separable]
    if not separable:
        return Finding("drift", LEVEL_FINE, text)
    if result.metadata.is_separable:
        text += f" (most by {_format_best_field(result.metadata)})"
    level = LEVEL_ACT if max(separable) >= STRONG_AUC else LEVEL_LOOK
    return Finding("drift", level, text, "folds do not stand for the test: judge by pictures that are like it")


def _format_auc(auc: Interval) -> str:
    """Formats an AUC with its interval."""
    return f"AUC {auc.estimate:.3f} ({auc.low:.3f} to {auc.high:.3f}, chance 0.5)"


def _format_best_field(result: SeparabilityResult) -> str:
    """Formats the field with the highest AUC alone."""
    name, auc = next(iter(result.field_aucs.items()))
    return f"{name}, {auc:.3f} alone"


def render_page(result: AuditReport, findings: Sequence[Finding], title: str) -> str:
    """Renders the page, as HTML that needs no other file.

    Args:
        result: of the audit.
        findings: in the order of the checks.
        title: of the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template("report.html")
    colours = {"ink": INK, "grey": GREY, "rule": RULE, "pale": PALE, "blue": BLUE, **LEVEL_COLOURS}
    page = template.render(title=title, findings=findings, colours=colours, sections=_build_sections(result))
    return name_program(page)


class _PictureRenderer:
    """Renders pictures with their captions."""

    def __init__(self, dataset: AuditDataset) -> None:
        self.dataset = dataset

    def picture(self, row: int, *captions: str) -> TemplateData:
        """Renders a picture with its name, its class and more captions."""
        dataset = self.dataset
        label = f"{dataset.label(row)}, fold {dataset.folds[row]}" if row < dataset.training else "test"
        source = encode_data_url(dataset.pixels([row])[0])
        return {"source": source, "name": dataset.names[row], "captions": [label, *captions]}

    def pair(self, first: int, second: int, note: str, highlight: bool = False) -> TemplateData:
        """Renders two pictures side by side, and a note."""
        return {"pictures": [self.picture(first), self.picture(second)], "note": note, "highlight": highlight}


def encode_data_url(pixels: np.ndarray) -> str:
    """Encodes a picture (height, width, 3) uint8 as the source of an <img>: a small JPEG in a data URL."""
    from PIL import Image

    file = io.BytesIO()
    small = cv2.resize(pixels, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _build_sections(result: AuditReport) -> list[TemplateData]:
    """Builds the sections of the page; those with nothing to show are left out."""
    renderer = _PictureRenderer(result.dataset)
    sections: list[TemplateData] = [
        {"title": "Unreadable", "lines": [f"{name}: {reason}" for name, reason in result.unreadable.items()]},
        {"title": "Equal pictures", "rows": _build_duplicate_rows(result.pairs, renderer)},
        {"title": "Scenes: the largest groups, then some drawn at random", "rows": _build_group_rows(result, renderer)},
        {"title": "Scenes: the links that are least sure", "rows": _build_link_rows(result, renderer)},
        {"title": "Scenes: test pictures (left) beside training pictures", "rows": _build_test_rows(result, renderer)},
        {"title": "Classes told by one field of the files alone (AUC)", "bars": _build_bars(result.metadata)},
        {"title": "Labels that may be wrong, the worst first", "rows": _build_label_issue_rows(result, renderer)},
    ]
    if result.drift is not None:
        train, test = result.drift.extremes(result.dataset.part, MAX_DRIFT_EXTREMES)
        ends = (("most unlike the test", train), ("most unlike the training", test))
        rows = [{"pictures": [renderer.picture(int(row)) for row in some], "note": note} for note, some in ends]
        bars = _build_bars(result.drift.metadata)
        sections.append({"title": "Drift: the two ends", "rows": rows})
        sections.append({"title": "Parts told by one field of the files alone (AUC)", "bars": bars})
    blank: TemplateData = {"rows": [], "bars": [], "lines": []}
    return [blank | section for section in sections if any(section.get(part) for part in blank)]


def _build_duplicate_rows(pairs: Sequence[DuplicatePair], renderer: _PictureRenderer) -> list[TemplateData]:
    """Builds a row for each pair of equal pictures, those with two labels first, then those across parts and folds."""
    order = ("two labels", "train and test", "across folds")
    kinds = [list_pair_kinds(pair, renderer.dataset) for pair in pairs]
    urgency = [min((order.index(kind) for kind in own if kind in order), default=len(order)) for own in kinds]
    rows = []
    for place in np.argsort(urgency, kind="stable")[:MAX_PAIRS]:
        pair = pairs[place]
        view = "" if pair.view == SYMMETRY_NAMES[0] else f", the second's {pair.view}"
        likeness = "equal pixels" if pair.exact else f"cosine {pair.similarity:.2f}, {pair.bits} bits{view}"
        note = f"{', '.join(kinds[place])}; {likeness}"
        rows.append(renderer.pair(pair.first, pair.second, note, "two labels" in kinds[place]))
    return rows


def _build_group_rows(result: AuditReport, renderer: _PictureRenderer) -> list[TemplateData]:
    """Builds a row for each of some groups."""
    first, counts = np.unique(result.groups.first, return_counts=True)
    first, counts = first[counts > 1], counts[counts > 1]
    order = np.argsort(-counts, kind="stable")
    sampled = np.random.default_rng(0).permutation(order[LARGEST_GROUPS:])[:SAMPLED_GROUPS]
    rows = []
    for place in [*order[:LARGEST_GROUPS], *sorted(sampled, key=lambda one: -counts[one])]:
        members = np.flatnonzero(result.groups.first == first[place])
        pictures = [renderer.picture(int(row)) for row in members[:MAX_GROUP_PICTURES]]
        rows.append({"pictures": pictures, "note": f"{counts[place]} pictures"})
    return rows


def _build_link_rows(result: AuditReport, renderer: _PictureRenderer) -> list[TemplateData]:
    """Builds a row for each of the weakest links, sampled where more are as weak."""
    pairs, strength = result.links.pairs, result.links.strength
    order = np.random.default_rng(0).permutation(len(pairs))
    weakest = order[np.argsort(strength[order], kind="stable")][:MAX_LINKS]
    links = [(*pairs[place].tolist(), strength[place]) for place in weakest]
    return [renderer.pair(first, second, f"{matches} keypoints agree") for first, second, matches in links]


def _build_test_rows(result: AuditReport, renderer: _PictureRenderer) -> list[TemplateData]:
    """Builds a row for each of a sample of the links of test pictures."""
    sample = np.random.default_rng(0).permutation(result.links.test_pairs)[:MAX_LINKS]
    return [renderer.pair(test, train, "") for test, train in sample.tolist()]


def _build_label_issue_rows(result: AuditReport, renderer: _PictureRenderer) -> list[TemplateData]:
    """Builds a row for each picture whose label may be wrong."""
    rows = []
    for issue in result.label_issues[:MAX_LABEL_ISSUES]:
        captions = f"looks like {result.dataset.classes[issue.guess]}", f"its label: {issue.confidence:.1%}"
        rows.append({"pictures": [renderer.picture(issue.row, *captions)], "note": ""})
    return rows


def _build_bars(result: SeparabilityResult) -> list[TemplateData]:
    """Builds a bar for each of the best fields, its length in percent: 0 is chance, 100 without error."""
    return [
        {"name": name, "auc": f"{auc:.3f}", "length": round(max(0.0, 200 * (auc - 0.5)))}
        for name, auc in list(result.field_aucs.items())[:MAX_BARS]
    ]


def build_record(result: AuditReport, findings: Sequence[Finding], title: str) -> dict[str, Any]:
    """Returns the audit as plain JSON values: all that the page shows but the pictures, and every pair by name."""
    dataset, names, links, drift = result.dataset, result.dataset.names, result.links, result.drift
    return {
        "title": title,
        "findings": [asdict(finding) for finding in findings],
        "unreadable": dict(result.unreadable),
        "pairs": [
            asdict(one)
            | {"first": names[one.first], "second": names[one.second], "kinds": list_pair_kinds(one, dataset)}
            for one in result.pairs
        ],
        "pair_counts": dict(count_pair_kinds(result.pairs, dataset)),
        "links": len(links.pairs),
        "link_strength": links.threshold,
        "false_links": links.false_share,
        "struck_keypoints": links.prop_share,
        "group_sizes": result.groups.sizes.tolist(),
        "refused_links": result.groups.refused,
        "tests_known": [names[row] for row in find_test_overlap(result.pairs, links, dataset)],
        "random_folds": result.random_folds.scores,
        "grouped_folds": result.grouped_folds.scores,
        "change": compute_grouping_effect(result.random_folds, result.grouped_folds).record(),
        "files": _build_auc_record(result.metadata),
        "drift": drift and {"features": _build_auc_record(drift.features), "files": _build_auc_record(drift.metadata)},
        "suspects": [
            {"picture": names[one.row], "label": dataset.label(one.row), "guess": dataset.classes[one.guess]}
            for one in result.label_issues
        ],
    }


def _build_auc_record(result: SeparabilityResult) -> dict[str, Any]:
    """Returns an AUC with its interval, and those of single fields, as JSON values."""
    return {**asdict(result.auc), "alone": result.field_aucs}
