"""How long Kaggle is waited for, and what is tried again: `call`, through which everything is asked.

call(api.kernels_status, "me/slug/3", purpose=purpose, safe_to_repeat=True).status.name
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pipeline.errors import StarshiftError
from pipeline.kaggle.failures import Purpose, brief, explained
from pipeline.kaggle.kinds import ordered_wait, passing, unheard
from pipeline.kaggle.scrubbing import scrubbed_output

log = logging.getLogger(__name__)
ATTEMPTS = 4
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
LONGEST_ORDERED = 180.0
"""Seconds: a longer Retry-After is told to the user, not waited for."""
TIMEOUT = (10.0, 60.0)
"""Seconds until a connection stands, and between two pieces of an answer."""


def call(function: Callable[..., Any], *arguments: Any, purpose: Purpose, safe_to_repeat: bool, **options: Any) -> Any:
    """Calls a function that asks Kaggle, with patience, and turns its failure into one clear error.

    Every request has a timeout (TIMEOUT). A passing fault (429, 5xx, a reset, silence, a cut or unreadable answer) is
    tried again ATTEMPTS times in all, after as long as Retry-After says. Where repeating is not safe, only what Kaggle
    certainly did not act upon is tried again: 429, and connections that never stood.

    What Kaggle refuses with HTTP 200 (`.error`, `ref == 0`) is no failure here: look at the answer.

    Args:
        function: what asks; it is called again as it is.
        arguments: its arguments.
        purpose: what it is for.
        safe_to_repeat: whether doing it twice does no harm. Creating, submitting and pushing do.
        options: its keyword arguments.

    Raises:
        KaggleError: `.status` is Kaggle's; where `.uncertain`, it may have been done: look, do not repeat.
        StarshiftError: a full disk, or what the function raises itself.
    """
    retrying = Retrying(
        stop=_enough,
        wait=_pause,
        retry=retry_if_exception(passing if safe_to_repeat else unheard),
        before_sleep=lambda state: _tell(state, purpose),
        # Otherwise tenacity's RetryError replaces the error that explains the failure.
        reraise=True,
    )
    try:
        with scrubbed_output():
            return retrying(function, *arguments, **options)
    except StarshiftError:
        raise
    except Exception as error:
        raise explained(error, purpose, repeatable=safe_to_repeat) from error


def _enough(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return stop_after_attempt(ATTEMPTS)(state) or (error is not None and (ordered_wait(error) or 0) > LONGEST_ORDERED)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    ordered = None if error is None else ordered_wait(error)
    return wait_exponential(FIRST_WAIT, max=LONGEST_WAIT)(state) if ordered is None else ordered


def _tell(state: RetryCallState, purpose: Purpose) -> None:
    error = state.outcome.exception() if state.outcome else None
    if error is not None:
        pause = state.next_action.sleep if state.next_action else 0.0
        log.info("  %s: %s; again in %.0f s", purpose.doing, brief(error), pause)


# requests has no timeout per session; an adapter is the only place that sees every request.
class Patient(HTTPAdapter):
    """Gives a timeout to every request that has none: Kaggle's client would wait for ever."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Sends a request."""
        return super().send(request, stream, timeout or TIMEOUT, verify, cert, dict(proxies or {}))


def session() -> requests.Session:
    """A session for signed addresses: with timeouts, without credentials (not even those of ~/.netrc)."""
    made = requests.Session()
    # Without an auth of its own, a session sends credentials from ~/.netrc. This one adds nothing.
    made.auth = lambda request: request
    for scheme in ("https://", "http://"):
        made.mount(scheme, Patient())
    return made
