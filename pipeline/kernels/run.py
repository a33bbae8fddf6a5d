"""A run on Kaggle seen through: followed, brought home, and gone on with in another session where it takes several.

A run on Kaggle instead of here: ordered, bundled and pushed; pipeline/kernels/run.py sees it through.
"""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError, require
from pipeline.files import read_json
from pipeline.kaggle import client, slugs
from pipeline.kaggle.inputs import find_public_dataset
from pipeline.kernels import planning, records, result_download, weights
from pipeline.kernels import push as kernel
from pipeline.kernels.bundle import MAX_SCRIPT_BYTES, CodeBundle, build_bundle
from pipeline.kernels.follow import END_STATUSES, LogView, follow_kernel
from pipeline.kernels.job_builder import build_job
from pipeline.kernels.records import KernelRecord
from pipeline.run_options import RunOptions, find_comp_argument
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
    """The same with a dataset attached for each of the weights files: the account's own, or else a public one.

    Raises:
        StarshiftError: the session would look for weights in vain.
    """
    chosen = weights.list_bases(competition)
    attach = list(request.attach)
    lacking = weights.find_missing_weights(chosen, attach, api)
    if lacking:
        attach += weights.find_own_dataset(api, chosen)
        lacking = weights.find_missing_weights(chosen, attach, api)
    for name in lacking:
        if (public := find_public_dataset(name)) is not None:
            log.info("weights   %s: from the public dataset %s, if its digest is right", name, public)
            attach += [public] if public not in attach else []
    lacking = [name for name in lacking if find_public_dataset(name) is None]
    require(
        not lacking or request.internet,
        "The session would look for weights in vain.",
        expected="every weights file in a dataset, or the internet on",
        received=f"nowhere: {', '.join(lacking)}",
        remedy=f"invoke weights --comp {find_comp_argument(competition.name)} --upload, --attach a dataset, "
        "or --internet",
    )
    return replace(request, attach=tuple(attach))


def build_sources(
    competition: Competition, request: KernelOptions, before: tuple[str, ...] = ()
) -> kernel.KernelSources:
    """What is attached to a kernel.

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
    return kernel.KernelSources(
        competitions=[competition.slug] if competition.slug else [],
        datasets=datasets,
        models=models,
        kernels=before,
    )


def create_record(api: Any, packed: CodeBundle, request: KernelOptions) -> KernelRecord:
    """A run that is about to be pushed: its script is kept, and its first session has neither name nor hours yet."""
    order = packed.order
    one = KernelRecord(
        competition=order.competition.name,
        owner=client.find_username(api),
        slug="",
        fingerprint=order.fingerprint,
        config=order.config,
        order=order.digest,
        digest=packed.digest,
        session=0,
        accelerator=request.accelerator,
        seconds=0,
        metadata={},
        words={},
    )
    records.write_script(one, packed.script({}))
    return one


def push_session(
    api: Any, before: KernelRecord, attached: kernel.KernelSources, *, internet: bool, hours: float
) -> KernelRecord:
    """Pushes the session of a run after this one.

    Args:
        api: from `authenticated`.
        before: the session before; for the first one, from `create_record`.
        attached: to the kernel.
        internet: whether the session reaches it.
        hours: after which Kaggle ends it.

    Raises:
        StarshiftError: Kaggle refuses.
    """
    title, slug = records.find_unused_title(before.competition, before.fingerprint)
    one = replace(
        before,
        state="pushing",
        slug=slug,
        session=before.session + 1,
        seconds=int(hours * 3600),
        metadata=kernel.build_metadata(
            before.owner, title, slug, accelerator=before.accelerator, internet=internet, sources=attached
        ),
        version=1,
        url="",
        date=records.format_now(),
        run="",
        words={},
    ).save()
    script = records.read_script(one, describe_session(one))
    one = kernel.push_kernel(api, one, script)
    log.info("pushed    %s, %.0f kB, payload %s", one.url or one.ref, len(script) / 1e3, one.digest[:16])
    return one


def describe_session(one: KernelRecord) -> dict[str, Any]:
    """What a session is told of itself."""
    seconds = planning.compute_run_seconds(one.seconds)
    return {"number": one.session, "seconds": seconds, "kernel": one.ref, "accelerator": one.accelerator}


def print_dry_run(packed: CodeBundle, request: KernelOptions, attached: kernel.KernelSources) -> None:
    """Prints what would be sent, and asks nothing of Kaggle."""
    order = packed.order
    title, slug = records.find_unused_title(order.competition.name, order.fingerprint)
    words = kernel.build_metadata(
        "OWNER", title, slug, accelerator=request.accelerator, internet=request.internet, sources=attached
    )
    hours = planning.compute_session_hours(request.accelerator, planning.GPUQuota())
    script = packed.script({})
    print(json.dumps(words, indent=2))
    print(f"script    {len(script.encode()):,} bytes of at most {MAX_SCRIPT_BYTES:,}; payload SHA-256 {packed.digest}")
    print(f"run       fingerprint {order.fingerprint[:16]}, commit {order.commit}")
    for one in order.weights:
        print(f"weights   {one.name} for {one.base}, SHA-256 {one.sha256[:16] or 'not here'}")
    print("\n".join(planning.format_plan(order.competition, request.accelerator, hours - planning.MARGIN_HOURS)))


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
        print_dry_run(packed, request, attached)
        return None
    api = client.authenticate()
    one = resume_session(api, records.find_unfinished(competition.name, order.fingerprint))
    if one is None:
        request = attach_weights(api, competition, request)
        left = planning.fetch_quota(api)
        hours = planning.compute_session_hours(request.accelerator, left)
        for line in [
            planning.format_quota(left),
            *planning.format_plan(competition, request.accelerator, hours - planning.MARGIN_HOURS),
        ]:
            log.info("%s", line)
        attached = build_sources(competition, request)
        one = push_session(api, create_record(api, packed, request), attached, internet=request.internet, hours=hours)
    return follow_run(api, one) if request.wait else None


def resume_session(api: Any, one: KernelRecord | None) -> KernelRecord | None:
    """A session that is under way, after an interrupted one a new one; None where a push never came to Kaggle."""
    if one is None:
        return None
    if one.state == "interrupted":
        return push_next_session(api, one)
    if one.state == "pushing" and not kernel.has_arrived(api, one):
        one.save(state="refused")
        log.info("kernel    %s never came to Kaggle", one.ref)
        return None
    log.info("kernel    this run is under way: %s", one.url or one.ref)
    return one.save(state="pushed")


def follow_run(api: Any, one: KernelRecord, screen: LogView | None = None) -> Path:
    """Follows a run through its sessions, and brings it home. Returns its folder.

    Raises:
        StarshiftError: it failed there, or came to nothing.
    """
    while True:
        try:
            status, failure = follow_kernel(api, one, screen)
        except KeyboardInterrupt:
            log.info(
                "\nThe kernel goes on: %s. invoke kernel --comp %s picks it up", one.url or one.ref, one.competition
            )
            raise
        came = _fetch_session(api, one, f"{status} {failure}".strip())
        if came.state == "complete" and came.run is not None:
            return _log_summary(came.run, came.words)
        one = one.save(state=came.state, words=came.words)
        if status.startswith("CANCEL"):
            raise StarshiftError(
                f"{one.ref} was stopped on Kaggle; what it had done is here.",
                received=status,
                remedy=f"invoke kernel --comp {find_comp_argument(one.competition)} goes on in another session",
            )
        one = push_next_session(api, one)


def _fetch_session(api: Any, one: KernelRecord, ended: str) -> result_download.SessionResult:
    """Brings a session home and remembers it.

    Raises:
        StarshiftError: it failed there.
    """
    try:
        came = result_download.fetch_and_merge(api, one)
    except result_download.NoResultsError as error:
        one.save(state="failed")
        message = f"{error.message[:-1]}: it ended as {ended}."
        raise StarshiftError(message, received=error.received, remedy=error.remedy) from error
    run = came.run.name if came.run else ""
    one.save(state=came.state, run=run, words=came.words)
    log.info(
        "home      %s after %.0f s: run %s, %d rows of features that were not here",
        came.state,
        came.words["took"],
        run or "none",
        came.rows,
    )
    if came.state == "failed":
        raise StarshiftError(
            "The run failed on Kaggle.",
            received=ended,
            remedy=f"see {paths.format_path(came.run / 'session.log') if came.run else 'its log, above'}; "
            "once put right, run --on kaggle again",
        )
    return came


def push_next_session(api: Any, one: KernelRecord) -> KernelRecord:
    """Pushes the session after one that ran out of time, with that one's output attached.

    Raises:
        StarshiftError: it made no headway, or the quota is used up.
    """
    earlier = [
        other for other in records.list_records(one.competition) if other.digest == one.digest and other.ref != one.ref
    ]
    same = [other.ref for other in earlier if other.words and other.words["progress"] == one.words["progress"]]
    if same:
        raise StarshiftError(
            "A whole session came no further, so another one would not either.",
            received=f"{one.ref} ended where {same[-1]} did",
            remedy="fewer pictures, a smaller size or base, or fewer cached views make an epoch fit in a session",
        )
    words = one.metadata
    attached = kernel.KernelSources(
        competitions=words["competition_sources"],
        datasets=[slugs.strip_version(name) for name in words["dataset_sources"]],  # earlier records have one
        models=words["model_sources"],
        kernels=[one.ref],
    )
    log.info("going on  in session %d, with the output of %s", one.session + 1, one.ref)
    hours = planning.compute_session_hours(one.accelerator, planning.fetch_quota(api))
    return push_session(api, one, attached, internet=words["enable_internet"], hours=hours)


def resume_run(competition: Competition, *, wait: bool = True) -> Path | None:
    """Goes on with what was pushed for a competition, wherever it stands. Returns the run's folder once it is home.

    Raises:
        StarshiftError: nothing was pushed.
    """
    known = records.list_records(competition.name)
    if not known:
        raise StarshiftError(
            f"Nothing was pushed for {competition.name}.",
            received=f"no file in {paths.format_path(paths.kernels_folder(competition.name))}",
            remedy=f"invoke run --comp {find_comp_argument(competition.name)} --on kaggle",
        )
    for one in known:
        log.info(
            "kernel    %-11s %s session %d on %s, pushed %s", one.state, one.ref, one.session, one.accelerator, one.date
        )
    last = records.find_unfinished(competition.name)
    if last is None:
        return None
    api = client.authenticate()
    log.info("%s", planning.format_quota(planning.fetch_quota(api)))
    going = resume_session(api, last)
    if going is None:
        raise StarshiftError(f"{last.ref} never came to Kaggle.", remedy="invoke run --on kaggle pushes it again")
    if wait:
        return follow_run(api, going)
    status, _ = kernel.fetch_status(api, going)
    log.info(
        "status    %s%s", status.lower(), "; without --no-wait it is brought home" if status in END_STATUSES else ""
    )
    return None


def _log_summary(folder: Path, words: dict[str, Any]) -> Path:
    """The last words of a run that came home."""
    found = read_json(folder / "metrics.json")
    log.info("")
    log.info("%s %s (chance %.5f)", found["metric"], format_score_spread(found), found["chance"])
    speeds = ", ".join(f"{name} px {rate:,.0f}/s" for name, rate in words["rates"].items())
    log.info("%.0f s on %s%s", words["took"], words["accelerator"], f"; {speeds}" if speeds else "")
    log.info("wrote %s", paths.format_path(folder))
    return folder
