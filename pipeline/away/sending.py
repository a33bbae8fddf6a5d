"""A run on Kaggle instead of here: ordered, bundled and pushed; pipeline/away/attending.py sees it through."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.away import weighing
from pipeline.config import Competition
from pipeline.errors import require
from pipeline.kaggle import client, slugs
from pipeline.kaggle.public import holder
from pipeline.naming import called
from pipeline.remote import budget, kernel, plan, pushed
from pipeline.remote.bundle import LARGEST, Bundle
from pipeline.remote.pushed import Pushed

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """How a run is sent.

    Args:
        accelerator: see kernel.accelerated.
        internet: whether the session reaches it.
        attach: datasets (`owner/slug`) and models (`owner/model/framework/variation/version`).
        wait: follow it, and bring it home.
        dry: only show what would be sent.
    """

    accelerator: str = kernel.DEFAULT
    internet: bool = False
    attach: tuple[str, ...] = ()
    wait: bool = True
    dry: bool = False


def with_weights(api: Any, competition: Competition, request: Request) -> Request:
    """The same with a dataset attached for each of the weights files: the account's own, or else a public one.

    Raises:
        StarshiftError: the session would look for weights in vain.
    """
    chosen = weighing.bases_of(competition)
    attach = list(request.attach)
    lacking = weighing.missing_weights(chosen, attach, api)
    if lacking:
        attach += weighing.at_hand(api, chosen)
        lacking = weighing.missing_weights(chosen, attach, api)
    for name in lacking:
        if (public := holder(name)) is not None:
            log.info("weights   %s: from the public dataset %s, if its digest is right", name, public)
            attach += [public] if public not in attach else []
    lacking = [name for name in lacking if holder(name) is None]
    require(
        not lacking or request.internet,
        "The session would look for weights in vain.",
        expected="every weights file in a dataset, or the internet on",
        received=f"nowhere: {', '.join(lacking)}",
        remedy=f"invoke weights --comp {called(competition.name)} --upload, --attach a dataset, or --internet",
    )
    return replace(request, attach=tuple(attach))


def sources(competition: Competition, request: Request, before: tuple[str, ...] = ()) -> kernel.Sources:
    """What is attached to a kernel.

    Raises:
        StarshiftError: see kernel.Sources; or one's own pictures that no dataset has.
    """
    datasets, models = slugs.split_attached(request.attach)
    require(
        request.attach or competition.data is None,
        "Your own pictures are not on Kaggle.",
        expected=f"--attach owner/slug, a dataset with the folder {Path(competition.data or '').name}",
        received=competition.data,
    )
    return kernel.Sources(
        competitions=[competition.slug] if competition.slug else [],
        datasets=datasets,
        models=models,
        kernels=before,
    )


def begun(api: Any, packed: Bundle, request: Request) -> Pushed:
    """A run that is about to be pushed: its script is kept, and its first session has neither name nor hours yet."""
    order = packed.order
    one = Pushed(
        competition=order.competition.name,
        owner=client.username(api),
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
    pushed.keep(one, packed.script({}))
    return one


def push(api: Any, before: Pushed, attached: kernel.Sources, *, internet: bool, hours: float) -> Pushed:
    """Pushes the session of a run after this one.

    Args:
        api: from `authenticated`.
        before: the session before; for the first one, from `begun`.
        attached: to the kernel.
        internet: whether the session reaches it.
        hours: after which Kaggle ends it.

    Raises:
        StarshiftError: Kaggle refuses.
    """
    title, slug = pushed.names(before.competition, before.fingerprint)
    one = replace(
        before,
        state="pushing",
        slug=slug,
        session=before.session + 1,
        seconds=int(hours * 3600),
        metadata=kernel.metadata(
            before.owner, title, slug, accelerator=before.accelerator, internet=internet, sources=attached
        ),
        version=1,
        url="",
        date=pushed.now(),
        run="",
        words={},
    ).save()
    script = pushed.script(one, said(one))
    one = kernel.push(api, one, script)
    log.info("pushed    %s, %.0f kB, payload %s", one.url or one.ref, len(script) / 1e3, one.digest[:16])
    return one


def said(one: Pushed) -> dict[str, Any]:
    """What a session is told of itself."""
    seconds = budget.run_seconds(one.seconds)
    return {"number": one.session, "seconds": seconds, "kernel": one.ref, "accelerator": one.accelerator}


def show(packed: Bundle, request: Request, attached: kernel.Sources) -> None:
    """Prints what would be sent, and asks nothing of Kaggle."""
    order = packed.order
    title, slug = pushed.names(order.competition.name, order.fingerprint)
    words = kernel.metadata(
        "OWNER", title, slug, accelerator=request.accelerator, internet=request.internet, sources=attached
    )
    hours = budget.session_hours(request.accelerator, budget.Quota())
    script = packed.script({})
    print(json.dumps(words, indent=2))
    print(f"script    {len(script.encode()):,} bytes of at most {LARGEST:,}; payload SHA-256 {packed.digest}")
    print(f"run       fingerprint {order.fingerprint[:16]}, commit {order.commit}")
    for one in order.weights:
        print(f"weights   {one.name} for {one.base}, SHA-256 {one.sha256[:16] or 'not here'}")
    print("\n".join(plan.told(order.competition, request.accelerator, hours - budget.MARGIN_HOURS)))
