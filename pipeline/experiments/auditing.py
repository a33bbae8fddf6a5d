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
from pipeline.audit import duplicates, metadata, scenes, telling
from pipeline.audit.drift import drift
from pipeline.audit.found import Found
from pipeline.audit.groups import grouped
from pipeline.audit.keypoints import Keypoints, describe, joined
from pipeline.audit.subject import Subject
from pipeline.audit.suspects import suspects
from pipeline.audit.validation import Crossed, crossed, torn
from pipeline.config import Competition
from pipeline.dataset import grouping, pixels
from pipeline.features.extract import Extractor
from pipeline.files import write_json, write_text
from pipeline.models.bases import parse
from pipeline.naming import called
from pipeline.options import Options
from pipeline.predict.metrics import higher_is_better
from pipeline.preparation import Data, prepare, stage
from pipeline.report import audited, audited_record
from pipeline.report import audited_findings as words
from pipeline.results import positive_class

log = logging.getLogger(__name__)


def audit(competition: Competition, options: Options) -> list[Path]:
    """Audits a competition's pictures with the first base of its recipe. Returns the paths that it wrote.

    Args:
        competition: its recipe names the base, the size, the folds and the seed.
        options: `bundle` and `engine` are used.
    """
    recipe = replace(competition.recipe, grouping="duplicates")
    competition = replace(competition, recipe=recipe)
    data = prepare(competition, [parse(recipe.bases[0], recipe.size)], options)
    competition = data.competition
    base = parse(competition.recipe.bases[0], recipe.size)
    extractor = Extractor(base, data.files, wanted=options.engine)
    subject = subject_of(data, extractor)
    found, findings = checked(competition, data, extractor, subject)
    folder, report = paths.competition_folder(competition.name), paths.reports_folder(competition.name)
    names = [str(data.pictures.train["id"].iloc[row]) for row in found.groups.first]
    written = [grouping.keep(folder, subject.digests[: subject.training], names, {"base": str(base)})]
    title = f"{competition.name}: an audit of {len(subject):,} pictures with {base}"
    html = audited.page(found, findings, title)
    write_text(report / "audit.html", html)
    write_json(report / "audit.json", audited_record.record(found, findings, title))
    written += [report / "audit.json", report / "audit.html"]
    for path in written:
        log.info("wrote %s", paths.shown(path))
    if len(found.groups.sizes):
        name = called(competition.name)
        log.info(
            "next: invoke run --comp %s --grouped keeps scenes in one fold; invoke finish --comp %s --scenes lets them "
            "agree",
            name,
            name,
        )
    return written


def subject_of(data: Data, extractor: Extractor) -> Subject:
    """The readable pictures, and what the base sees of them."""
    train, test = data.pictures.train, data.pictures.test[data.test_readable]
    digests = [*train["sha256"], *test["sha256"]]
    with stage("features") as said:
        values = extractor.features(digests, "plain")
        said.append(f"{len(values):,} x {values.shape[1]}, {extractor.computed:,} computed, the rest cached")
    extractor.store.refresh()
    names = [f"train/{name}" for name in train["id"]] + [f"test/{name}" for name in test["id"]]
    return Subject(
        names=names,
        digests=digests,
        contents=[extractor.store.digest(digest) for digest in digests],
        files=data.files,
        labels=data.labels,
        folds=train["fold"].to_numpy(),
        classes=data.pictures.classes,
        features=values,
        in_view=extractor.features,
        shown=lambda some: pixels.read(extractor.store, some, data.files),
    )


def checked(
    competition: Competition, data: Data, extractor: Extractor, subject: Subject
) -> tuple[Found, list[words.Finding]]:
    """Every check: what it found, and in words, which are printed as they come."""
    recipe, said = competition.recipe, list[words.Finding]()
    with stage("readable") as line:
        said.append(_told(words.unreadable(data.unreadable, len(subject)), line))
    random = np.random.default_rng(recipe.seed)
    hashed, keypoints = looked_at(extractor, subject)
    with stage("copies") as line:
        pairs = duplicates.confirmed(duplicates.candidates(hashed), subject)
        said.append(_told(words.duplicates(pairs, subject), line))
    same = [(pair.first, pair.second) for pair in pairs]
    with stage("scenes") as line:
        links = scenes.linked(keypoints, subject.directions(), subject.labels, same, random)
        own = [pair for pair in same if max(pair) < subject.training]
        groups = grouped(subject.labels, own, links.pairs, recipe.folds)
        said.append(_told(words.scenes(pairs, links, groups, subject), line))
    with stage("folds") as line:
        apart, together = _crossed_both(competition, data, subject, groups.first)
        higher = higher_is_better(competition.metric)
        said.append(_told(words.validation(apart, together, competition.metric, higher, groups), line))
    with stage("files") as line:
        table = metadata.fields([data.files[digest] for digest in subject.digests])
        leak = telling.by_fields(table[: subject.training], subject.labels, groups.first, recipe.seed)
        said.append(_told(words.metadata(leak), line))
    with stage("labels") as line:
        doubtful = suspects(subject.labels, together.oof)
        said.append(_told(words.suspected(doubtful, subject.training), line))
    with stage("drift") as line:
        alone = np.concatenate([groups.first, np.arange(subject.training, len(subject))])
        drifted = drift(subject.features, table, subject.part, alone, recipe.seed)
        said.append(_told(words.drifted(drifted), line))
    found = Found(
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


def looked_at(extractor: Extractor, subject: Subject) -> tuple[np.ndarray, Keypoints]:
    """The hashes and the keypoints of all pictures."""
    with stage("look") as said, ThreadPoolExecutor(1) as aside:
        hashed, found = [], []
        for _, seen in pixels.chunks(extractor.store, subject.digests, subject.files, "plain"):
            hashed.append(aside.submit(duplicates.hashes, seen))
            found.append(describe(seen))
        keypoints = joined(found)
        said.append(f"{keypoints.counts.sum():,} keypoints in {len(subject):,} pictures")
        return np.concatenate([one.result() for one in hashed]), keypoints


def _told(finding: words.Finding, line: list[str]) -> words.Finding:
    """Adds a finding to a stage's line."""
    line.append(finding.line)
    return finding


def _crossed_both(
    competition: Competition, data: Data, subject: Subject, groups: np.ndarray
) -> tuple[Crossed, Crossed]:
    """Cross-validation with only equal pixels together, and with the groups; each on a core of its own."""
    from threadpoolctl import threadpool_limits

    recipe, values = replace(competition.recipe, grouping="estimated"), subject.features[: subject.training]
    place = {name: row for row, name in reversed(list(enumerate(data.pictures.train["id"])))}
    equal = data.pictures.train["group"].map(place).to_numpy()
    random = np.random.default_rng(recipe.seed)
    both = torn(groups, subject.labels, equal, random), groups

    def scored(one: np.ndarray) -> Crossed:
        return crossed(values, subject.labels, one, recipe, competition.metric, positive_class(competition, data))

    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        apart, together = pool.map(scored, both)
    return apart, together
