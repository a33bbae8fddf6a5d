"""Submits a run to a code competition: a kernel without internet predicts the test pictures with the run's models.

The run's files go into a private dataset of their own, once. The kernel is pushed, and once it is complete its version
is submitted; Kaggle then runs it again on the hidden test set (kernel_inference.py).
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError, require
from pipeline.files import write_text
from pipeline.kaggle import client, datasets, submissions
from pipeline.kernels import planning, push, records
from pipeline.kernels.bundle import CodeBundle, build_bundle
from pipeline.kernels.follow import follow_kernel
from pipeline.kernels.job import JobSpec
from pipeline.kernels.kernel_inference import SUBMISSION_FILE
from pipeline.kernels.records import KernelRecord
from pipeline.kernels.result_archive import ARCHIVE_NAME, write_archive
from pipeline.kernels.run import prepare_session
from pipeline.runs import folder as runs
from pipeline.runs import load, predictor
from pipeline.workflow import submit

log = logging.getLogger(__name__)
RUN_FILES = ("config.json", "environment.json", "metrics.json", "folds.csv", "oof.npz", "model.keras", "models/*.keras")
"""What predicts; heads on features are in model.keras, too, with their bases."""
MANIFEST_PREFIX = "starshift-run-"


@dataclass(frozen=True, kw_only=True)
class CodeSubmissionOptions:
    """How a run is submitted to a code competition.

    Args:
        accelerator: see push.check_accelerator.
        hours: that the competition gives a kernel.
        message: of the user, shown in Kaggle's list.
        dry: only show what would be sent.
    """

    accelerator: str = push.DEFAULT_ACCELERATOR
    hours: float = planning.SESSION_HOURS["gpu"]
    message: str = ""
    dry: bool = False


def list_run_files(folder: Path) -> list[Path]:
    """Lists the files that predict with a run, and with its members where it is made of others.

    Raises:
        StarshiftError: a run has no model, or a base with weights of one's own.
    """
    members = [folder.parent / one["run"] for one in runs.read_config(folder).get("made_of", ())]
    for one in members or [folder]:
        predictor.list_models(one)
        files = [text for text, base in load.list_bases(runs.read_config(one)).items() if not base.published]
        require(not files, "A base's own weights file is not sent.", expected="published weights", received=files)
    return [path for one in (folder, *members) for pattern in RUN_FILES for path in sorted(one.glob(pattern))]


def pack_run(folder: Path) -> Path:
    """Packs the files that predict with a run, once: the archive's digest tells whether Kaggle has it."""
    config = runs.read_config(folder)
    path = paths.cache_folder("uploads") / config["fingerprint"][:16] / ARCHIVE_NAME
    if not path.exists():
        summary = {"state": "complete", "order": config["fingerprint"], "run": folder.name}
        write_archive(path, paths.home_folder(), list_run_files(folder), summary)
    return path


def submit_code(competition: Competition, run: str | None, options: CodeSubmissionOptions) -> Path:
    """Submits a run to a code competition, and waits for its score. Returns the run's folder.

    Args:
        competition: of Kaggle's.
        run: its name, or the beginning of its name; None takes the best run.
        options: of this submission.

    Raises:
        StarshiftError: the run cannot predict, Kaggle refuses, or the kernel failed.
    """
    slug = submit.require_slug(competition)
    push.check_accelerator(options.accelerator)
    require(options.hours > planning.MARGIN_HOURS, "So short a kernel cannot predict.",
            expected=f"more than {planning.MARGIN_HOURS} hours", received=options.hours)  # fmt: skip
    folder = load.find_run_folder(run, competition.name) if run else submit.find_best_run(competition)
    require(runs.is_finished(folder) and not runs.read_config(folder).get("debug"), "The run cannot be submitted.",
            expected="a finished run on all pictures", received=folder.name)  # fmt: skip
    config, archive = runs.read_config(folder), pack_run(folder)
    fingerprint = config["fingerprint"]
    packed = build_bundle(
        JobSpec(competition=competition, fingerprint=fingerprint, config={}, commit=runs.find_commit())
    )
    dataset = f"starshift-{records.slugify(competition.name)[:24]}-{fingerprint[:8]}"
    log.info("run      %s: %s", folder.name, submit.format_cv_score(folder))
    log.info("model    %.1f MB, for the private dataset %s", archive.stat().st_size / 1e6, dataset)
    if options.dry:
        log.info("dry run  nothing was sent to %s", slug)
        return folder
    api = client.authenticate()
    entry = submit.SubmissionFile(folder=folder, path=archive, rows=0, digest=fingerprint, message=options.message)

    def send(before: set[int]) -> int:
        notes, title = f"the run {folder.name}", f"Starshift: {competition.name[:20]} {fingerprint[:8]}"
        source = datasets.strip_version(datasets.sync_files(api, dataset, title, MANIFEST_PREFIX, [archive], notes))
        record = _push_kernel(api, competition, packed, source, folder.name, options)
        kernel = f"{_follow(api, record)}/{record.version}"
        return submissions.submit_kernel(api, slug, kernel, SUBMISSION_FILE, entry.description, entry.mark, before)

    ref = submit.submit_once(api, slug, entry, send)
    log.info("         Kaggle runs the kernel on the hidden test set, which may take hours")
    return submit.wait_and_keep(api, competition, entry, ref)


def _push_kernel(
    api: Any, competition: Competition, packed: CodeBundle, source: str, run: str, options: CodeSubmissionOptions
) -> KernelRecord:
    """Pushes the kernel, or returns the one that was pushed for this run and this code already."""
    name = f"{competition.name}.submission"  # beside the kernels that make runs, which `invoke kernel` goes on with
    used = [one for one in records.list_records(name) if one.digest == packed.digest and one.state == "pushed"]
    if used:
        return used[-1]
    sources = {"competition_sources": [str(competition.slug)], "dataset_sources": [source], "model_sources": []}
    first = KernelRecord(
        competition=name, owner=client.find_username(api), fingerprint=packed.job.fingerprint, config={},
        digest=packed.digest, job_digest=packed.job.digest, accelerator=options.accelerator,
        metadata=push.build_metadata(options.accelerator, internet=False, sources=sources),
    )  # fmt: skip
    record = prepare_session(first, options.hours).save()
    session = {"module": "pipeline.kernels.kernel_inference", "run": run, "order": packed.job.fingerprint}
    script = packed.script(session | {"seconds": planning.compute_run_seconds(record.seconds)})
    write_text(record.script_path, script)
    return push.push_kernel(api, record, script)


def _follow(api: Any, record: KernelRecord) -> str:
    """Follows a kernel to its end. Returns its `owner/slug`.

    Raises:
        StarshiftError: it failed.
    """
    log.info("pushed   %s", record.page)
    status, failure = follow_kernel(api, record)
    if status != "COMPLETE":
        record.save(state="failed")
        raise StarshiftError(
            f"{record.ref} has written no submission: it ended as {status}.",
            received=failure or "no reason",
            remedy=f"its log says why: {record.page}",
        )
    return record.ref
