"""Audits a competition's pictures: every check in its order, a line each, and the page at the end.

Equal pictures come first, because they are no decoys; then scenes, the groups that follow from both, and what grouped
folds change.
"""

import logging
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.audit import duplicates, leakage, report, scene_links
from pipeline.audit.dataset import AuditDataset
from pipeline.audit.drift import detect_drift
from pipeline.audit.keypoints import Keypoints, concatenate_keypoints, detect_keypoints
from pipeline.audit.label_errors import detect_label_issues, write_suggestions
from pipeline.audit.leakage import RepeatedCVResult, cross_validate_head, shuffle_groups
from pipeline.audit.report import AuditReport
from pipeline.audit.scene_links import Groups, build_groups
from pipeline.config import Competition, Recipe, RunOptions, find_comp_argument
from pipeline.data import folds, pixel_cache
from pipeline.data.corrections import CORRECTIONS_FILE
from pipeline.evaluation.metrics import find_metric
from pipeline.features.extractor import Extractor
from pipeline.files import write_json, write_text
from pipeline.models.base import parse_base
from pipeline.output import print_results
from pipeline.terminal import open_bar
from pipeline.workflow.context import Dataset, log_stage
from pipeline.workflow.run import prepare_dataset

log = logging.getLogger(__name__)
T = TypeVar("T")


def run_audit(competition: Competition, options: RunOptions) -> list[Path]:
    """Audits a competition's pictures with the first base of its recipe. Returns the paths that it wrote.

    Args:
        competition: its recipe names the base, the size, the folds and the seed.
        options: `bundle` and `engine` are used.
    """
    recipe = replace(competition.recipe, grouping="duplicates")
    data = prepare_dataset(replace(competition, recipe=recipe), [parse_base(recipe.bases[0], recipe.size)], options)
    competition = data.competition
    base = parse_base(competition.recipe.bases[0], competition.recipe.size)
    extractor = Extractor(base, data.files, wanted=options.engine)
    dataset = build_audit_dataset(data, extractor)
    result, findings = run_checks(competition, data, extractor, dataset)
    folder, reports = paths.competition_folder(competition.name), paths.reports_folder(competition.name)
    names = [str(data.pictures.train["id"].iloc[row]) for row in result.groups.first]
    groups = folds.write_groups(folder, dataset.digests[: dataset.training], names, {"base": str(base)})
    title = f"{competition.name}: an audit of {len(dataset):,} pictures with {base}"
    write_text(reports / "audit.html", report.render_page(result, findings, title))
    record = report.build_record(result, findings, title)
    print_results(record)
    write_json(reports / "audit.json", record)
    written = [groups, reports / "audit.json", reports / "audit.html", reports / CORRECTIONS_FILE]
    write_suggestions(written[-1], dataset, result.label_issues)
    for path in written:
        log.info("wrote %s", paths.format_path(path))
    name = find_comp_argument(competition.name)
    if result.label_issues:
        log.info("next: write yes into the column apply of %s where its suggestion is right; "
                 "invoke labels.apply --comp %s --csv %s",
                 CORRECTIONS_FILE, name, shlex.quote(paths.format_path(written[-1])))  # fmt: skip
    if len(result.groups.sizes):
        log.info("next: invoke run --comp %s --grouped keeps scenes in one fold; "
                 "invoke finish --comp %s --scenes lets them agree", name, name)  # fmt: skip
    return written


def build_audit_dataset(data: Dataset, extractor: Extractor) -> AuditDataset:
    """Returns the readable pictures with the base's features."""
    train, test = data.pictures.train, data.pictures.test[data.test_readable]
    digests = [*train["sha256"], *test["sha256"]]
    with log_stage("features") as messages:
        values = extractor.features(digests, "plain")
        messages.append(f"{len(values):,} x {values.shape[1]}, {extractor.computed:,} computed, the rest cached")
    extractor.store.refresh()
    return AuditDataset(
        names=[f"train/{name}" for name in train["id"]] + [f"test/{name}" for name in test["id"]],
        digests=digests,
        contents=[extractor.store.digest(digest) for digest in digests],
        files=data.files,
        labels=data.labels,
        folds=train["fold"].to_numpy(),
        classes=data.pictures.classes,
        features=values,
        load_features=extractor.features,
        load_pixels=lambda some: pixel_cache.read_pixels(extractor.store, some, data.files),
    )


class CheckLog:
    """Times checks, prints the finding of each, and collects the findings."""

    def __init__(self) -> None:
        self.findings: list[report.Finding] = []

    def check(self, name: str, compute: Callable[[], T], assess: Callable[[T], report.Finding]) -> T:
        """Runs a check, prints its finding and returns its result."""
        with log_stage(name) as messages:
            result = compute()
            self.findings.append(assess(result))
            messages.append(self.findings[-1].line)
        return result


def run_checks(
    competition: Competition, data: Dataset, extractor: Extractor, dataset: AuditDataset
) -> tuple[AuditReport, list[report.Finding]]:
    """Runs every check. Returns the results and the findings, which are printed as they come."""
    checks = CheckLog()
    checks.check("readable", lambda: data.unreadable, lambda reasons: report.assess_unreadable(reasons, len(dataset)))
    pairs, links, groups = check_copies_and_scenes(checks, competition.recipe, extractor, dataset)
    metric, labels, seed = competition.metric, dataset.labels, competition.recipe.seed
    random_folds, grouped_folds = checks.check(
        "folds",
        lambda: _cross_validate_both(competition, data, dataset, groups.first),
        lambda results: report.assess_folds(*results, metric, find_metric(metric).higher_is_better, groups),
    )

    def cross_validate_files() -> tuple[pd.DataFrame, leakage.SeparabilityResult]:
        table = leakage.read_metadata_table([data.files[digest] for digest in dataset.digests])
        return table, leakage.cross_validate_metadata(table[: dataset.training], labels, groups.first, seed)

    table, metadata = checks.check("files", cross_validate_files, lambda result: report.assess_metadata(result[1]))
    label_issues = checks.check(
        "labels",
        lambda: detect_label_issues(labels, grouped_folds.oof),
        lambda issues: report.assess_labels(issues, dataset.training),
    )
    all_groups = np.concatenate([groups.first, np.arange(dataset.training, len(dataset))])
    drift = checks.check(
        "drift", lambda: detect_drift(dataset.features, table, dataset.part, all_groups, seed), report.assess_drift
    )
    result = AuditReport(
        dataset=dataset,
        unreadable=data.unreadable,
        pairs=pairs,
        links=links,
        groups=groups,
        random_folds=random_folds,
        grouped_folds=grouped_folds,
        metadata=metadata,
        label_issues=label_issues,
        drift=drift,
    )
    return result, checks.findings


def check_copies_and_scenes(
    checks: CheckLog, recipe: Recipe, extractor: Extractor, dataset: AuditDataset
) -> tuple[list[duplicates.DuplicatePair], scene_links.SceneLinks, Groups]:
    """Runs the checks for copies and for scenes. Returns the pairs of copies, the links and the groups."""
    random = np.random.default_rng(recipe.seed)
    hashes, keypoints = scan_pictures(extractor, dataset)
    pairs = checks.check(
        "copies",
        lambda: duplicates.confirm_duplicates(duplicates.find_hash_candidates(hashes), dataset),
        lambda pairs: report.assess_duplicates(pairs, dataset),
    )
    equal = [(pair.first, pair.second) for pair in pairs]

    def link_scenes() -> tuple[scene_links.SceneLinks, Groups]:
        links = scene_links.find_scene_links(keypoints, dataset.directions(), dataset.labels, equal, random)
        own = [pair for pair in equal if max(pair) < dataset.training]
        return links, build_groups(dataset.labels, own, links.pairs, recipe.folds)

    return pairs, *checks.check("scenes", link_scenes, lambda result: report.assess_scenes(pairs, *result, dataset))


def scan_pictures(extractor: Extractor, dataset: AuditDataset) -> tuple[np.ndarray, Keypoints]:
    """Computes the hashes and the keypoints of all pictures."""
    with log_stage("look") as messages, ThreadPoolExecutor(1) as background:
        hashes, parts = [], []
        with open_bar(total=len(dataset), desc="keypoints", unit="picture") as bar:
            for _, pixels in pixel_cache.iterate_chunks(extractor.store, dataset.digests, dataset.files, "plain"):
                hashes.append(background.submit(duplicates.compute_hashes, pixels))
                parts.append(detect_keypoints(pixels))
                bar.update(len(pixels))
        keypoints = concatenate_keypoints(parts)
        messages.append(f"{keypoints.counts.sum():,} keypoints in {len(dataset):,} pictures")
        return np.concatenate([one.result() for one in hashes]), keypoints


def _cross_validate_both(
    competition: Competition, data: Dataset, dataset: AuditDataset, groups: np.ndarray
) -> tuple[RepeatedCVResult, RepeatedCVResult]:
    """Cross-validates with only equal pixels together, and with the groups; each on a core of its own."""
    from threadpoolctl import threadpool_limits

    recipe, values = replace(competition.recipe, grouping="estimated"), dataset.features[: dataset.training]
    positive = data.positive
    row_of = {name: row for row, name in reversed(list(enumerate(data.pictures.train["id"])))}
    equal = data.pictures.train["group"].map(row_of).to_numpy()
    random_groups = shuffle_groups(groups, dataset.labels, equal, np.random.default_rng(recipe.seed))

    def score(one: np.ndarray) -> RepeatedCVResult:
        return cross_validate_head(values, dataset.labels, one, recipe, competition.metric, positive)

    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        random_folds, grouped_folds = pool.map(score, (random_groups, groups))
    return random_folds, grouped_folds
