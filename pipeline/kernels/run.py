"""Makes a run on Kaggle: builds its job, pushes its sessions, follows them, and fetches their results."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition, RunOptions, apply_options, find_comp_argument, select_folds
from pipeline.data import folds as splits
from pipeline.data.corrections import find_corrections_path
from pipeline.errors import StarshiftError, require
from pipeline.files import format_utc, hash_json, write_text
from pipeline.kaggle import client, datasets
from pipeline.kaggle.inputs import find_public_dataset
from pipeline.kernels import planning, push, records, weights
from pipeline.kernels.bundle import MAX_SCRIPT_BYTES, CodeBundle, build_bundle, replace_session
from pipeline.kernels.follow import END_STATUSES, follow_kernel
from pipeline.kernels.job import JobSpec
from pipeline.kernels.records import KernelRecord
from pipeline.kernels.result_download import fetch_and_merge
from pipeline.runs import folder as runs
from pipeline.workflow.finish import build_run_config, format_score_spread


def build_job(competition: Competition, options: RunOptions) -> JobSpec:
    """Builds the job from a competition and the options of `invoke run`.

    Raises:
        StarshiftError: an option that has no meaning on Kaggle.
    """
    unusable = [name for name in ("bundle", "force", "resplit", "recompute") if getattr(options, name)]
    expected = "no --bundle, --force, --resplit"
    require(not unusable, "That has no meaning on Kaggle.", expected=expected, received=unusable)
    resolved = apply_options(competition, options)
    folds = select_folds(resolved.recipe, options)
    config = json.loads(json.dumps(build_run_config(resolved, options, folds)))
    split = paths.competition_folder(competition.name) / splits.build_folds_name(competition.recipe)
    corrections = find_corrections_path(competition.name)
    return JobSpec(
        competition=competition,
        folds=options.folds,
        debug=options.debug,
        engine=options.engine,
        tensorboard=options.tensorboard,
        fingerprint=hash_json(config),
        config=config,
        split=(split.name, split.read_bytes().decode("utf-8")) if split.exists() else None,
        weights=tuple(weights.list_weights(competition)),
        commit=runs.find_commit(),
        corrections=corrections.read_bytes().decode("utf-8") if corrections.exists() else "",
    )


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

    accelerator: str = push.DEFAULT_ACCELERATOR
    internet: bool = False
    attach: tuple[str, ...] = ()
    wait: bool = True
    dry: bool = False


def wait_for_datasets(api: Any, names: Iterable[str]) -> None:
    """Waits until Kaggle has processed what is to be attached.

    Raises:
        StarshiftError: Kaggle knows no such dataset, or does not become ready.
    """
    for name in names:
        if datasets.wait_until_idle(api, name) is None:  # nobody's, or another account's, whose status is not told
            datasets.list_files(api, name)


def find_weights_datasets(api: Any, competition: Competition, request: KernelOptions) -> list[str]:
    """Returns the datasets of the weights files that no attachment has: the account's own one, and public ones.

    Raises:
        StarshiftError: no dataset has them, and the internet is off.
    """
    names = [spec.name for spec in weights.list_weights(competition)]
    missing = weights.find_missing_weights(api, names, request.attach)
    own = weights.find_own_dataset(api, names) if missing else []
    missing = weights.find_missing_weights(api, missing, own)
    public = {name: dataset for name in missing if (dataset := find_public_dataset(name)) is not None}
    for name, dataset in public.items():
        log.info("weights   %s: from the public dataset %s, if its digest is right", name, dataset)
    missing = [name for name in missing if name not in public]
    require(
        not missing or request.internet,
        "The session would look for weights in vain.",
        expected="every weights file in a dataset, or the internet on",
        received=f"nowhere: {', '.join(missing)}",
        remedy=f"invoke weights --comp {find_comp_argument(competition.name)} --upload, --attach a dataset, "
        "or --internet",
    )
    return [*own, *public.values()]


def build_sources(competition: Competition, request: KernelOptions) -> dict[str, list[str]]:
    """Returns what is attached to a run's first kernel, by the keys of kernel-metadata.json, each thing once.

    Raises:
        StarshiftError: Kaggle knows no such names; or one's own pictures that no dataset has.
    """
    attached, models = datasets.split_attachments(request.attach)
    models = list(dict.fromkeys([*models, *weights.list_models(competition)]))
    require(
        request.attach or competition.data is None,
        "Your own pictures are not on Kaggle.",
        expected=f"--attach owner/slug, a dataset with the folder {Path(competition.data or '').name}",
        received=competition.data,
    )
    # Datasets without a version, as Kaggle documents them: session_run.py chooses their files by SHA-256.
    return {
        "competition_sources": datasets.check_names("competition", [competition.slug] if competition.slug else []),
        "dataset_sources": datasets.check_names("dataset", attached),
        "model_sources": datasets.check_names("model", models),
    }


def create_record(
    owner: str, packed: CodeBundle, request: KernelOptions, sources: Mapping[str, list[str]]
) -> KernelRecord:
    """Returns the record of a run without sessions, from which `prepare_session` makes the first one."""
    job = packed.job
    return KernelRecord(
        competition=job.competition.name,
        owner=owner,
        fingerprint=job.fingerprint,
        config=job.config,
        job_digest=job.digest,
        digest=packed.digest,
        accelerator=request.accelerator,
        metadata=push.build_metadata(request.accelerator, internet=request.internet, sources=sources),
    )


def prepare_session(previous: KernelRecord, hours: float) -> KernelRecord:
    """Returns the record of the session after this one, not saved yet.

    Args:
        previous: the session before; for the first one, from `create_record`.
        hours: after which Kaggle ends it.
    """
    title, slug = records.find_unused_title(previous.competition, previous.fingerprint)
    return replace(
        previous,
        state="pushing",
        slug=slug,
        session=previous.session + 1,
        seconds=int(hours * 3600),
        metadata=previous.metadata | {"id": f"{previous.owner}/{slug}", "title": title},
        version=1,
        url="",
        date=format_utc(),
        run="",
        summary={"progress": previous.summary.get("progress", "")},
    )


def push_session(api: Any, record: KernelRecord) -> KernelRecord:
    """Saves and pushes a session. Returns its record as Kaggle took it.

    Raises:
        StarshiftError: Kaggle refuses.
    """
    record.save()
    seconds = planning.compute_run_seconds(record.seconds)
    session = {"number": record.session, "seconds": seconds, "kernel": record.ref, "accelerator": record.accelerator}
    script = replace_session(record.script_path.read_text(encoding="utf-8"), session)
    record = push.push_kernel(api, record, script)
    log.info("pushed    %s, %.0f kB, payload %s", record.page, len(script) / 1e3, record.digest[:16])
    return record


def print_dry_run(packed: CodeBundle, record: KernelRecord, hours: float) -> None:
    """Prints what would be sent; sends nothing."""
    job, size = packed.job, len(packed.script({}).encode())
    print(json.dumps(record.metadata, indent=2))
    print(f"script    {size:,} bytes of at most {MAX_SCRIPT_BYTES:,}; payload SHA-256 {packed.digest}")
    print(f"run       fingerprint {job.fingerprint[:16]}, commit {job.commit}")
    for spec in job.weights:
        print(f"weights   {spec.name} for {spec.base}, SHA-256 {spec.sha256[:16] or 'not here'}")
    print("\n".join(planning.format_plan(job.competition, record.accelerator, hours - planning.MARGIN_HOURS)))


def run_on_kaggle(competition: Competition, options: RunOptions, request: KernelOptions) -> Path | None:
    """Makes a run on Kaggle. Returns its folder here; None where it is not waited for.

    Raises:
        StarshiftError: each thing that can go wrong, with what to do.
    """
    push.check_accelerator(request.accelerator)
    sources = build_sources(competition, request)
    packed = build_bundle(build_job(competition, options))
    if request.dry:
        hours = planning.compute_session_hours(request.accelerator, planning.GPUQuota())
        print_dry_run(packed, prepare_session(create_record("OWNER", packed, request, sources), hours), hours)
        return None
    api = client.authenticate()
    record = resume_session(api, records.find_unfinished(competition.name, packed.job.fingerprint))
    if record is None:
        wait_for_datasets(api, sources["dataset_sources"])
        attached = [*sources["dataset_sources"], *find_weights_datasets(api, competition, request)]
        sources["dataset_sources"] = datasets.check_names("dataset", attached)
        quota = planning.fetch_quota(api)
        hours = planning.compute_session_hours(request.accelerator, quota)
        plan = planning.format_plan(competition, request.accelerator, hours - planning.MARGIN_HOURS)
        log.info("%s", "\n".join([planning.format_quota(quota), *plan]))
        first = create_record(client.find_username(api), packed, request, sources)
        write_text(first.script_path, packed.script({}))
        record = push_session(api, prepare_session(first, hours))
    return follow_run(api, record) if request.wait else None


def resume_session(api: Any, record: KernelRecord | None) -> KernelRecord | None:
    """Returns the session that runs, after an interrupted one a new one; None where a push never reached Kaggle."""
    if record is None:
        return None
    if record.state in records.RESUMABLE_STATES:
        return push_next_session(api, record, insist=record.state == "killed")
    if record.state == "pushing" and not push.has_arrived(api, record):
        record.save(state="refused")
        log.info("kernel    %s never came to Kaggle", record.ref)
        return None
    log.info("kernel    this run is under way: %s", record.page)
    return record.save(state="pushed")


def follow_run(api: Any, record: KernelRecord) -> Path:
    """Follows a run through its sessions, and fetches its results. Returns its folder.

    Raises:
        StarshiftError: it failed on Kaggle, or has no results.
    """
    while True:
        try:
            status, failure = follow_kernel(api, record)
        except KeyboardInterrupt:
            comp = find_comp_argument(record.competition)
            log.info("\nThe kernel goes on: %s. invoke kernel --comp %s picks it up", record.page, comp)
            raise
        record = fetch_session(api, record, f"{status} {failure}".strip())
        if record.state == "complete" and record.run:
            return _log_summary(record)
        if status.startswith("CANCEL"):
            raise StarshiftError(
                f"{record.ref} was stopped on Kaggle; what it had packed is here.",
                received=status,
                remedy=f"invoke kernel --comp {find_comp_argument(record.competition)} goes on in another session",
            )
        record = push_next_session(api, record)


def fetch_session(api: Any, record: KernelRecord, status: str) -> KernelRecord:
    """Fetches what a session has left. Returns its record, which says how it ended.

    Raises:
        StarshiftError: it failed on Kaggle.
    """
    fetched = fetch_and_merge(api, record)
    if fetched.state == "failed":
        log_place = paths.format_path(fetched.run_folder / "session.log") if fetched.run else record.page
        raise StarshiftError(
            "The run failed on Kaggle." if fetched.run else f"{record.ref} has no results: its run did not begin.",
            received=status,
            remedy=f"its log says why: {log_place}; once put right, run --on kaggle again",
        )
    if fetched.state == "killed":
        left = "has packed before is here" if fetched.run else "was doing is lost"
        line = "  warning: Kaggle ended %s after %.0f s (%s); what it %s"
        log.warning(line, fetched.ref, fetched.summary["took"], status, left)
    return fetched


def push_next_session(api: Any, record: KernelRecord, *, insist: bool = False) -> KernelRecord:
    """Pushes the session after one that ran out of time, with the outputs attached that it can go on from.

    Args:
        api: from `authenticate`.
        record: the session before.
        insist: even if it came no further than one before it, such as where Kaggle had killed both by accident.

    Raises:
        StarshiftError: it made no progress, or the quota is used up.
    """
    sessions = [one for one in records.list_records(record.competition) if one.digest == record.digest]
    for other in sessions:
        is_same = (other.state, other.summary.get("progress")) == (record.state, record.summary.get("progress"))
        require(
            insist or other.ref == record.ref or not is_same,
            "A whole session came no further, so another one would not either.",
            expected=f"results that {other.ref} did not have",
            received=f"{record.ref}, {record.state}, ended where that one did; its log: {record.page}",
            remedy="fewer pictures, a smaller size or base, or fewer cached views make an epoch fit in a session"
            + (
                f"; invoke kernel --comp {find_comp_argument(record.competition)} tries again"
                if record.state == "killed"
                else ""
            ),
        )
    # A killed session's outputs may not be mounted, so those that it went on from itself are attached, too.
    before = record.metadata["kernel_sources"] if record.state == "killed" else []
    metadata = record.metadata | {
        "dataset_sources": [datasets.strip_version(name) for name in record.metadata["dataset_sources"]],  # of 0.1
        "kernel_sources": [record.ref, *before] if "order" in record.summary else before,
    }
    if "docker_image" not in metadata:
        metadata |= push.fetch_image(api, record)
    log.info("going on  in session %d, with the output of %s", record.session + 1, metadata["kernel_sources"])
    hours = planning.compute_session_hours(record.accelerator, planning.fetch_quota(api))
    hours = planning.limit_hours(hours, sessions)
    return push_session(api, prepare_session(replace(record, metadata=metadata), hours))


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
    status, _ = push.fetch_status(api, record)
    hint = "; without --no-wait it is brought home" if status in END_STATUSES else ""
    log.info("status    %s%s", status.lower(), hint)
    return None


def _log_summary(record: KernelRecord) -> Path:
    """Logs the score and the speed of a finished run. Returns its folder."""
    folder, summary = record.run_folder, record.summary
    metrics = runs.read_metrics(folder)
    log.info("\n%s %s (chance %.5f)", metrics["metric"], format_score_spread(metrics), metrics["chance"])
    speeds = ", ".join(f"{name} px {rate:,.0f}/s" for name, rate in summary["rates"].items())
    log.info("%.0f s on %s%s", summary["took"], summary["accelerator"], f"; {speeds}" if speeds else "")
    log.info("wrote %s", paths.format_path(folder))
    return folder
