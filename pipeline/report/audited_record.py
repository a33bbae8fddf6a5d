"""An audit as plain JSON values: everything that the page shows but the pictures, and every pair by name."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.audit.drift import Drift
from pipeline.audit.duplicates import Pair
from pipeline.audit.found import Found, counted, kinds, tests_known
from pipeline.audit.telling import Told
from pipeline.audit.validation import flattery
from pipeline.report.audited_findings import Finding


def record(found: Found, findings: Sequence[Finding], title: str) -> dict[str, Any]:
    """The audit as plain JSON values."""
    subject, names = found.subject, found.subject.names

    def pair(one: Pair) -> dict[str, Any]:
        return {**asdict(one), "first": names[one.first], "second": names[one.second], "kinds": kinds(one, subject)}

    return {
        "title": title,
        "findings": [asdict(finding) for finding in findings],
        "unreadable": dict(found.unreadable),
        "pairs": [pair(one) for one in found.pairs],
        "pair_counts": dict(counted(found.pairs, subject)),
        "links": len(found.links.pairs),
        "link_strength": found.links.least,
        "false_links": found.links.false_share,
        "struck_keypoints": found.links.struck,
        "group_sizes": found.groups.sizes.tolist(),
        "refused_links": found.groups.refused,
        "tests_known": [names[row] for row in tests_known(found.pairs, found.links, subject)],
        "random_folds": found.apart.scores,
        "grouped_folds": found.together.scores,
        "change": flattery(found.apart, found.together).record(),
        "files": _areas(found.leak),
        "drift": None if found.drift is None else _drift(found.drift),
        "suspects": [
            {"picture": names[one.row], "label": subject.label(one.row), "guess": subject.classes[one.guess]}
            for one in found.suspects.found
        ],
    }


def _areas(told: Told) -> dict[str, Any]:
    """Areas under the curve."""
    return {**asdict(told.area), "alone": told.alone}


def _drift(found: Drift) -> dict[str, Any]:
    """Both kinds of drift."""
    return {"features": _areas(found.features), "files": _areas(found.fields)}
