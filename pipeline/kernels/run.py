"""Makes a run on Kaggle: pushes its sessions, follows them, and fetches their results into the run folder."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition, RunOptions, find_comp_argument
from pipeline.errors import StarshiftError, require
from pipeline.files import format_utc
from pipeline.kaggle import client, slugs
from pipeline.kaggle.inputs import find_public_dataset
from pipeline.kernels import planning, records, result_download, weights
from pipeline.kernels import push as kernel
from pipeline.kernels.bundle import MAX_SCRIPT_BYTES, CodeBundle, build_bundle
from pipeline.kernels.follow import END_STATUSES, LogView, follow_kernel
from pipeline.kernels.job_builder import build_job
from pipeline.kernels.records import KernelRecord
from pipeline.runs import folder as runs
from pipeline.workflow.finish import format_score_spread

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KernelOptions:
    """How a run is sent.

    Args:
        accelerator: see push.check_accelerator.
        internet: whether the session reaches it.
        attach: datasets (`owner/slug`) and models (`owner/model/framework/variation/version`).
        wait: follow it, and bring it home.
        dry: only show what would be sent.
    """

    accelerator: str = kernel.DEFAULT_ACCELERATOR
    internet: bool = False
    attach: tuple[str, ...] = ()
    wait: bool = True
    dry: bool = False


def attach_weights(api: Any, competition: Competition, request: KernelOptions) -> KernelOptions:
    """Attaches a dataset for each of the weights files: the account's own, or else a public one.

    Raises:
        StarshiftError: no dataset has them, and the internet is off.
    """
    names = [spec.name for spec in weights.list_weights(competition)]
    attach = list(request.attach)
    missing = weights.find_missing_weights(api, names, attach)
    if missing:
        attach += weights.find_own_dataset(api, names)
        missing = weights.find_missing_weights(api, names, attach)
    for name in missing:
        if (public := find_public_dataset(name)) is not None:
            log.info("weights   %s: from the public dataset %s, if its digest is right", name, public)
            attach += [public] if public not in attach else []
    missing = [name for name in missing if find_public_dataset(name) is None]
    require(
        not missing or request.internet,
        "The session would look for weights in vain.",
        expected="every weights file in a dataset, or the internet on",
        received=f"nowhere: {', '.join(missing)}",
        remedy=f"invoke weights --comp {find_comp_argument(competition.name)} --upload, --attach a dataset, "
        "or --internet",
    )
    return replace(request, attach=tuple(attach))


def build_sources(competition: Competition, request: KernelOptions) -> kernel.KernelSources:
    """Returns what is attached to a run's first kernel.

    Raises:
        StarshiftError: see push.KernelSources; or one's own pictures that no dataset has.
    """
    datasets, models = slugs.split_attachments(request.attach)
    require(
        request.attach or competition.data is None,
        "Your own pictures are not on Kaggle.",
        expected=f"--attach owner/slug, a dataset with the folder {Path(competition.data or '').name}",
        received=competition.data,
    )
    own = [competition.slug] if competition.slug else []
    return kernel.KernelSources(competitions=own, datasets=datasets, models=models)


def create_record(owner: str, packed: CodeBundle, request: KernelOptions) -> KernelRecord:
    """Returns the record of a run without sessions, from which `prepare_session` makes the first one."""
    order = packed.order
    return KernelRecord(
        competition=order.competition.name,
        owner=owner,
        fingerprint=order.fingerprint,
        config=order.config,
        order=order.digest,
        digest=packed.digest,
        accelerator=request.accelerator,
    )


def prepare_session(
    previous: KernelRecord, attached: kernel.KernelSources, *, internet: bool, hours: float
) -> KernelRecord:
    """Returns the record of the session after this one, not saved yet.

    Args:
        previous: the session before; for the first one, from `create_record`.
        attached: to the kernel.
        internet: whether the session reaches it.
        hours: after which Kaggle ends it.
    """
    title, slug = records.find_unused_title(previous.competition, previous.fingerprint)
    return replace(
        previous,
        state="pushing",
        slug=slug,
        session=previous.session + 1,
        seconds=int(hours * 3600),
        metadata=kernel.build_metadata(
            previous.owner, title, slug, accelerator=previous.accelerator, internet=internet, sources=attached
        ),
        version=1,
        url="",
        date=format_utc(),
        run="",
        words={},
    )


def push_session(api: Any, record: KernelRecord) -> KernelRecord:
    """Saves and pushes a session. Returns its record as Kaggle took it.

    Raises:
        StarshiftError: Kaggle refuses.
    """
    record.save()
    seconds = planning.compute_run_seconds(record.seconds)
    session = {"number": record.session, "seconds": seconds, "kernel": record.ref, "accelerator": record.accelerator}
    script = records.read_script(record, session)
    record = kernel.push_kernel(api, record, script)
    log.info("pushed    %s, %.0f kB, payload %s", record.page, len(script) / 1e3, record.digest[:16])
    return record


def print_dry_run(packed: CodeBundle, record: KernelRecord, hours: float) -> None:
    """Prints what would be sent; sends nothing."""
    order, size = packed.order, len(packed.script({}).encode())
    print(json.dumps(record.metadata, indent=2))
    print(f"script    {size:,} bytes of at most {MAX_SCRIPT_BYTES:,}; payload SHA-256 {packed.digest}")
    print(f"run       fingerprint {order.fingerprint[:16]}, commit {order.commit}")
    for spec in order.weights:
        print(f"weights   {spec.name} for {spec.base}, SHA-256 {spec.sha256[:16] or 'not here'}")
    print("\n".join(planning.format_plan(order.competition, record.accelerator, hours - planning.MARGIN_HOURS)))


def run_on_kaggle(competition: Competition, options: RunOptions, request: KernelOptions) -> Path | None:
    """Makes a run on Kaggle. Returns its folder here; None where it is not waited for.

    Raises:
        StarshiftError: each thing that can go wrong, with what to do.
    """
    kernel.check_accelerator(request.accelerator)
    attached = build_sources(competition, request)
    order = build_job(competition, options)
    packed = build_bundle(order)
    if request.dry:
        hours = planning.compute_session_hours(request.accelerator, planning.GPUQuota())
        first = create_record("OWNER", packed, request)
        print_dry_run(packed, prepare_session(first, attached, internet=request.internet, hours=hours), hours)
        return None
    api = client.authenticate()
    record = resume_session(api, records.find_unfinished(competition.name, order.fingerprint))
    if record is None:
        request = attach_weights(api, competition, request)
        quota = planning.fetch_quota(api)
        hours = planning.compute_session_hours(request.accelerator, quota)
        plan = planning.format_plan(competition, request.accelerator, hours - planning.MARGIN_HOURS)
        log.info("%s", "\n".join([planning.format_quota(quota), *plan]))
        attached = build_sources(competition, request)
        first = create_record(client.find_username(api), packed, request)
        records.write_script(first, packed.script({}))
        session = prepare_session(first, attached, internet=request.internet, hours=hours)
        record = push_session(api, session)
    return follow_run(api, record) if request.wait else None


def resume_session(api: Any, record: KernelRecord | None) -> KernelRecord | None:
    """Returns the session that runs, after an interrupted one a new one; None where a push never reached Kaggle."""
    if record is None:
        return None
    if record.state == "interrupted":
        return push_next_session(api, record)
    if record.state == "pushing" and not kernel.has_arrived(api, record):
        record.save(state="refused")
        log.info("kernel    %s never came to Kaggle", record.ref)
        return None
    log.info("kernel    this run is under way: %s", record.page)
    return record.save(state="pushed")


def follow_run(api: Any, record: KernelRecord, screen: LogView | None = None) -> Path:
    """Follows a run through its sessions, and fetches its results. Returns its folder.

    Raises:
        StarshiftError: it failed on Kaggle, or has no results.
    """
    while True:
        try:
            status, failure = follow_kernel(api, record, screen)
        except KeyboardInterrupt:
            log.info("\nThe kernel goes on: %s. invoke kernel --comp %s picks it up", record.page, record.competition)
            raise
        result = _fetch_session(api, record, f"{status} {failure}".strip())
        if result.state == "complete" and result.run is not None:
            return _log_summary(result.run, result.summary)
        record = record.save(state=result.state, words=result.summary)
        if status.startswith("CANCEL"):
            raise StarshiftError(
                f"{record.ref} was stopped on Kaggle; what it had done is here.",
                received=status,
                remedy=f"invoke kernel --comp {find_comp_argument(record.competition)} goes on in another session",
            )
        record = push_next_session(api, record)


def _fetch_session(api: Any, record: KernelRecord, status: str) -> result_download.SessionResult:
    """Fetches and records a session's results.

    Raises:
        StarshiftError: it failed on Kaggle.
    """
    try:
        result = result_download.fetch_and_merge(api, record)
    except result_download.NoResultsError as error:
        record.save(state="failed")
        message = f"{error.message[:-1]}: it ended as {status}."
        raise StarshiftError(message, received=error.received, remedy=error.remedy) from error
    run = result.run.name if result.run else ""
    record.save(state=result.state, run=run, words=result.summary)
    line = "home      %s after %.0f s: run %s, %d rows of features that were not here"
    log.info(line, result.state, result.summary["took"], run or "none", result.rows)
    if result.state == "failed":
        where = paths.format_path(result.run / "session.log") if result.run else "its log, above"
        remedy = f"see {where}; once put right, run --on kaggle again"
        raise StarshiftError("The run failed on Kaggle.", received=status, remedy=remedy)
    return result


def push_next_session(api: Any, record: KernelRecord) -> KernelRecord:
    """Pushes the session after one that ran out of time, with that one's output attached.

    Raises:
        StarshiftError: it made no progress, or the quota is used up.
    """
    for other in records.list_records(record.competition):
        is_earlier = other.digest == record.digest and other.ref != record.ref and other.words
        if is_earlier and other.words["progress"] == record.words["progress"]:
            raise StarshiftError(
                "A whole session came no further, so another one would not either.",
                received=f"{record.ref} ended where {other.ref} did",
                remedy="fewer pictures, a smaller size or base, or fewer cached views make an epoch fit in a session",
            )
    metadata = record.metadata
    attached = kernel.KernelSources(
        competitions=metadata["competition_sources"],
        datasets=[slugs.strip_version(name) for name in metadata["dataset_sources"]],  # earlier records have one
        models=metadata["model_sources"],
        kernels=[record.ref],
    )
    log.info("going on  in session %d, with the output of %s", record.session + 1, record.ref)
    hours = planning.compute_session_hours(record.accelerator, planning.fetch_quota(api))
    session = prepare_session(record, attached, internet=metadata["enable_internet"], hours=hours)
    return push_session(api, session)


def resume_run(competition: Competition, *, wait: bool = True) -> Path | None:
    """Resumes what was pushed for a competition. Returns the run's folder once its results are here.

    Raises:
        StarshiftError: nothing was pushed.
    """
    pushed = records.list_records(competition.name)
    if not pushed:
        raise StarshiftError(
            f"Nothing was pushed for {competition.name}.",
            received=f"no file in {paths.format_path(paths.kernels_folder(competition.name))}",
            remedy=f"invoke run --comp {find_comp_argument(competition.name)} --on kaggle",
        )
    line = "kernel    %-11s %s session %d on %s, pushed %s"
    for one in pushed:
        log.info(line, one.state, one.ref, one.session, one.accelerator, one.date)
    last = records.find_unfinished(competition.name)
    if last is None:
        return None
    api = client.authenticate()
    log.info("%s", planning.format_quota(planning.fetch_quota(api)))
    record = resume_session(api, last)
    if record is None:
        raise StarshiftError(f"{last.ref} never came to Kaggle.", remedy="invoke run --on kaggle pushes it again")
    if wait:
        return follow_run(api, record)
    status, _ = kernel.fetch_status(api, record)
    hint = "; without --no-wait it is brought home" if status in END_STATUSES else ""
    log.info("status    %s%s", status.lower(), hint)
    return None


def _log_summary(folder: Path, summary: dict[str, Any]) -> Path:
    """Logs the score and the speed of a finished run. Returns its folder."""
    metrics = runs.read_metrics(folder)
    log.info("\n%s %s (chance %.5f)", metrics["metric"], format_score_spread(metrics), metrics["chance"])
    speeds = ", ".join(f"{name} px {rate:,.0f}/s" for name, rate in summary["rates"].items())
    log.info("%.0f s on %s%s", summary["took"], summary["accelerator"], f"; {speeds}" if speeds else "")
    log.info("wrote %s", paths.format_path(folder))
    return folder
