"""A run on Kaggle seen through: followed, brought home, and gone on with in another session where it takes several."""

import logging
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.away.ordering import ordered
from pipeline.away.sending import Request, begun, push, show, sources, with_weights
from pipeline.closing import with_spread
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.kaggle import client, slugs
from pipeline.naming import called
from pipeline.options import Options
from pipeline.remote import budget, home, kernel, plan, pushed
from pipeline.remote.bundle import bundle
from pipeline.remote.follow import ENDED, Screen, follow
from pipeline.remote.pushed import Pushed

log = logging.getLogger(__name__)


def send(competition: Competition, options: Options, request: Request) -> Path | None:
    """Makes a run on Kaggle. Returns its folder here; None where it is not waited for.

    Raises:
        StarshiftError: each thing that can go wrong, with what to do.
    """
    kernel.accelerated(request.accelerator)
    attached = sources(competition, request)
    order = ordered(competition, options)
    packed = bundle(order)
    if request.dry:
        show(packed, request, attached)
        return None
    api = client.authenticated()
    one = gone_on(api, pushed.unfinished(competition.name, order.fingerprint))
    if one is None:
        request = with_weights(api, competition, request)
        left = budget.quota(api)
        hours = budget.session_hours(request.accelerator, left)
        for line in [budget.told(left), *plan.told(competition, request.accelerator, hours - budget.MARGIN_HOURS)]:
            log.info("%s", line)
        attached = sources(competition, request)
        one = push(api, begun(api, packed, request), attached, internet=request.internet, hours=hours)
    return attend(api, one) if request.wait else None


def gone_on(api: Any, one: Pushed | None) -> Pushed | None:
    """A session that is under way, after an interrupted one a new one; None where a push never came to Kaggle."""
    if one is None:
        return None
    if one.state == "interrupted":
        return going_on(api, one)
    if one.state == "pushing" and not kernel.arrived(api, one):
        one.save(state="refused")
        log.info("kernel    %s never came to Kaggle", one.ref)
        return None
    log.info("kernel    this run is under way: %s", one.url or one.ref)
    return one.save(state="pushed")


def attend(api: Any, one: Pushed, screen: Screen | None = None) -> Path:
    """Follows a run through its sessions, and brings it home. Returns its folder.

    Raises:
        StarshiftError: it failed there, or came to nothing.
    """
    while True:
        try:
            status, failure = follow(api, one, screen)
        except KeyboardInterrupt:
            log.info(
                "\nThe kernel goes on: %s. invoke kernel --comp %s picks it up", one.url or one.ref, one.competition
            )
            raise
        came = _home(api, one, f"{status} {failure}".strip())
        if came.state == "complete" and came.run is not None:
            return _closing(came.run, came.words)
        one = one.save(state=came.state, words=came.words)
        if status.startswith("CANCEL"):
            raise StarshiftError(
                f"{one.ref} was stopped on Kaggle; what it had done is here.",
                received=status,
                remedy=f"invoke kernel --comp {called(one.competition)} goes on in another session",
            )
        one = going_on(api, one)


def _home(api: Any, one: Pushed, ended: str) -> home.Home:
    """Brings a session home and remembers it.

    Raises:
        StarshiftError: it failed there.
    """
    try:
        came = home.bring(api, one)
    except home.NoResultsError as error:
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
            remedy=f"see {paths.shown(came.run / 'session.log') if came.run else 'its log, above'}; once put right, "
            "run --on kaggle again",
        )
    return came


def going_on(api: Any, one: Pushed) -> Pushed:
    """Pushes the session after one that ran out of time, with that one's output attached.

    Raises:
        StarshiftError: it made no headway, or the quota is used up.
    """
    earlier = [other for other in pushed.listed(one.competition) if other.digest == one.digest and other.ref != one.ref]
    same = [other.ref for other in earlier if other.words and other.words["progress"] == one.words["progress"]]
    if same:
        raise StarshiftError(
            "A whole session came no further, so another one would not either.",
            received=f"{one.ref} ended where {same[-1]} did",
            remedy="fewer pictures, a smaller size or base, or fewer cached views make an epoch fit in a session",
        )
    words = one.metadata
    attached = kernel.Sources(
        competitions=words["competition_sources"],
        datasets=[slugs.without_version(name) for name in words["dataset_sources"]],  # earlier records have one
        models=words["model_sources"],
        kernels=[one.ref],
    )
    log.info("going on  in session %d, with the output of %s", one.session + 1, one.ref)
    hours = budget.session_hours(one.accelerator, budget.quota(api))
    return push(api, one, attached, internet=words["enable_internet"], hours=hours)


def pick_up(competition: Competition, *, wait: bool = True) -> Path | None:
    """Goes on with what was pushed for a competition, wherever it stands. Returns the run's folder once it is home.

    Raises:
        StarshiftError: nothing was pushed.
    """
    known = pushed.listed(competition.name)
    if not known:
        raise StarshiftError(
            f"Nothing was pushed for {competition.name}.",
            received=f"no file in {paths.shown(paths.kernels_folder(competition.name))}",
            remedy=f"invoke run --comp {called(competition.name)} --on kaggle",
        )
    for one in known:
        log.info(
            "kernel    %-11s %s session %d on %s, pushed %s", one.state, one.ref, one.session, one.accelerator, one.date
        )
    last = pushed.unfinished(competition.name)
    if last is None:
        return None
    api = client.authenticated()
    log.info("%s", budget.told(budget.quota(api)))
    going = gone_on(api, last)
    if going is None:
        raise StarshiftError(f"{last.ref} never came to Kaggle.", remedy="invoke run --on kaggle pushes it again")
    if wait:
        return attend(api, going)
    status, _ = kernel.status(api, going)
    log.info("status    %s%s", status.lower(), "; without --no-wait it is brought home" if status in ENDED else "")
    return None


def _closing(folder: Path, words: dict[str, Any]) -> Path:
    """The last words of a run that came home."""
    found = read_json(folder / "metrics.json")
    log.info("")
    log.info("%s %s (chance %.5f)", found["metric"], with_spread(found), found["chance"])
    speeds = ", ".join(f"{name} px {rate:,.0f}/s" for name, rate in words["rates"].items())
    log.info("%.0f s on %s%s", words["took"], words["accelerator"], f"; {speeds}" if speeds else "")
    log.info("wrote %s", paths.shown(folder))
    return folder
