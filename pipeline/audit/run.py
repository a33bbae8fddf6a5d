"""The audit of a competition's pictures: every check in its order, a line each, and the page at the end.

Like flow, it knows the order of the rooms: equal pictures first, for they are no decoys; then scenes, the groups that
follow from both, and what these change.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.audit import duplicates, leakage, scene_links
from pipeline.audit import report as audited
from pipeline.audit import report as audited_record
from pipeline.audit import report as words
from pipeline.audit.dataset import AuditDataset
from pipeline.audit.drift import detect_drift
from pipeline.audit.findings import AuditReport
from pipeline.audit.groups import build_groups
from pipeline.audit.keypoints import Keypoints, concatenate_keypoints, detect_keypoints
from pipeline.audit.label_errors import detect_label_issues
from pipeline.audit.split_leakage import RepeatedCVResult, cross_validate_head, shuffle_groups
from pipeline.config import Competition
from pipeline.data import folds, pixel_cache
from pipeline.evaluation.metrics import find_metric
from pipeline.features.extractor import Extractor
from pipeline.files import write_json, write_text
from pipeline.models.base import parse_base
from pipeline.run_options import RunOptions, find_comp_argument
from pipeline.workflow.finish import find_positive_class
from pipeline.workflow.prepare import Dataset, log_stage, prepare_dataset

log = logging.getLogger(__name__)


def run_audit(competition: Competition, options: RunOptions) -> list[Path]:
    """Audits a competition's pictures with the first base of its recipe. Returns the paths that it wrote.

    Args:
        competition: its recipe names the base, the size, the folds and the seed.
        options: `bundle` and `engine` are used.
    """
    recipe = replace(competition.recipe, grouping="duplicates")
    competition = replace(competition, recipe=recipe)
    data = prepare_dataset(competition, [parse_base(recipe.bases[0], recipe.size)], options)
    competition = data.competition
    base = parse_base(competition.recipe.bases[0], recipe.size)
    extractor = Extractor(base, data.files, wanted=options.engine)
    subject = build_audit_dataset(data, extractor)
    found, findings = run_checks(competition, data, extractor, subject)
    folder, report = paths.competition_folder(competition.name), paths.reports_folder(competition.name)
    names = [str(data.pictures.train["id"].iloc[row]) for row in found.groups.first]
    written = [folds.write_groups(folder, subject.digests[: subject.training], names, {"base": str(base)})]
    title = f"{competition.name}: an audit of {len(subject):,} pictures with {base}"
    html = audited.render_page(found, findings, title)
    write_text(report / "audit.html", html)
    write_json(report / "audit.json", audited_record.build_record(found, findings, title))
    written += [report / "audit.json", report / "audit.html"]
    for path in written:
        log.info("wrote %s", paths.format_path(path))
    if len(found.groups.sizes):
        name = find_comp_argument(competition.name)
        log.info(
            "next: invoke run --comp %s --grouped keeps scenes in one fold; invoke finish --comp %s --scenes lets them "
            "agree",
            name,
            name,
        )
    return written


def build_audit_dataset(data: Dataset, extractor: Extractor) -> AuditDataset:
    """The readable pictures, and what the base sees of them."""
    train, test = data.pictures.train, data.pictures.test[data.test_readable]
    digests = [*train["sha256"], *test["sha256"]]
    with log_stage("features") as said:
        values = extractor.features(digests, "plain")
        said.append(f"{len(values):,} x {values.shape[1]}, {extractor.computed:,} computed, the rest cached")
    extractor.store.refresh()
    names = [f"train/{name}" for name in train["id"]] + [f"test/{name}" for name in test["id"]]
    return AuditDataset(
        names=names,
        digests=digests,
        contents=[extractor.store.digest(digest) for digest in digests],
        files=data.files,
        labels=data.labels,
        folds=train["fold"].to_numpy(),
        classes=data.pictures.classes,
        features=values,
        in_view=extractor.features,
        shown=lambda some: pixel_cache.read_pixels(extractor.store, some, data.files),
    )


def run_checks(
    competition: Competition, data: Dataset, extractor: Extractor, subject: AuditDataset
) -> tuple[AuditReport, list[words.Finding]]:
    """Every check: what it found, and in words, which are printed as they come."""
    recipe, said = competition.recipe, list[words.Finding]()
    with log_stage("readable") as line:
        said.append(_append_line(words.assess_unreadable(data.unreadable, len(subject)), line))
    random = np.random.default_rng(recipe.seed)
    hashed, keypoints = scan_pictures(extractor, subject)
    with log_stage("copies") as line:
        pairs = duplicates.confirm_duplicates(duplicates.find_hash_candidates(hashed), subject)
        said.append(_append_line(words.assess_duplicates(pairs, subject), line))
    same = [(pair.first, pair.second) for pair in pairs]
    with log_stage("scenes") as line:
        links = scene_links.find_scene_links(keypoints, subject.directions(), subject.labels, same, random)
        own = [pair for pair in same if max(pair) < subject.training]
        groups = build_groups(subject.labels, own, links.pairs, recipe.folds)
        said.append(_append_line(words.assess_scenes(pairs, links, groups, subject), line))
    with log_stage("folds") as line:
        apart, together = _cross_validate_both(competition, data, subject, groups.first)
        higher = find_metric(competition.metric).higher_is_better
        said.append(_append_line(words.assess_folds(apart, together, competition.metric, higher, groups), line))
    with log_stage("files") as line:
        table = leakage.read_metadata_table([data.files[digest] for digest in subject.digests])
        leak = leakage.cross_validate_metadata(table[: subject.training], subject.labels, groups.first, recipe.seed)
        said.append(_append_line(words.assess_metadata(leak), line))
    with log_stage("labels") as line:
        doubtful = detect_label_issues(subject.labels, together.oof)
        said.append(_append_line(words.assess_labels(doubtful, subject.training), line))
    with log_stage("drift") as line:
        alone = np.concatenate([groups.first, np.arange(subject.training, len(subject))])
        drifted = detect_drift(subject.features, table, subject.part, alone, recipe.seed)
        said.append(_append_line(words.assess_drift(drifted), line))
    found = AuditReport(
        subject=subject,
        unreadable=data.unreadable,
        pairs=pairs,
        links=links,
        groups=groups,
        apart=apart,
        together=together,
        leak=leak,
        suspects=doubtful,
        drift=drifted,
    )
    return found, said


def scan_pictures(extractor: Extractor, subject: AuditDataset) -> tuple[np.ndarray, Keypoints]:
    """The hashes and the keypoints of all pictures."""
    with log_stage("look") as said, ThreadPoolExecutor(1) as aside:
        hashed, found = [], []
        for _, seen in pixel_cache.iterate_chunks(extractor.store, subject.digests, subject.files, "plain"):
            hashed.append(aside.submit(duplicates.compute_hashes, seen))
            found.append(detect_keypoints(seen))
        keypoints = concatenate_keypoints(found)
        said.append(f"{keypoints.counts.sum():,} keypoints in {len(subject):,} pictures")
        return np.concatenate([one.result() for one in hashed]), keypoints


def _append_line(finding: words.Finding, line: list[str]) -> words.Finding:
    """Adds a finding to a stage's line."""
    line.append(finding.line)
    return finding


def _cross_validate_both(
    competition: Competition, data: Dataset, subject: AuditDataset, groups: np.ndarray
) -> tuple[RepeatedCVResult, RepeatedCVResult]:
    """Cross-validation with only equal pixels together, and with the groups; each on a core of its own."""
    from threadpoolctl import threadpool_limits

    recipe, values = replace(competition.recipe, grouping="estimated"), subject.features[: subject.training]
    place = {name: row for row, name in reversed(list(enumerate(data.pictures.train["id"])))}
    equal = data.pictures.train["group"].map(place).to_numpy()
    random = np.random.default_rng(recipe.seed)
    both = shuffle_groups(groups, subject.labels, equal, random), groups

    def scored(one: np.ndarray) -> RepeatedCVResult:
        return cross_validate_head(
            values, subject.labels, one, recipe, competition.metric, find_positive_class(competition, data)
        )

    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        apart, together = pool.map(scored, both)
    return apart, together
