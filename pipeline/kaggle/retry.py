"""Timeouts, retries and polling of calls to Kaggle; every call goes through `call_with_retries`."""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pipeline.errors import StarshiftError
from pipeline.kaggle import api_errors
from pipeline.kaggle.api_errors import CallPurpose, find_retry_after
from pipeline.kaggle.redact import redact_output

log = logging.getLogger(__name__)
Result = TypeVar("Result")
MAX_ATTEMPTS = 4
FIRST_WAIT = 1.0
MAX_WAIT = 30.0
MAX_RETRY_AFTER = 180.0
"""Seconds: a longer Retry-After is reported, not waited for."""
TIMEOUT = (10.0, 60.0)
"""Seconds until a connection stands, and between two pieces of an answer."""
FIRST_POLL, MAX_POLL = 3.0, 30.0
"""Seconds between polls, which grow by half."""
POLL_TIMEOUT = 1800.0
"""Seconds that Kaggle has to process a dataset or to score a submission."""
LOST_REPLY_SECONDS = 20.0
"""Seconds after a lost reply until what Kaggle does not list counts as not done: lists may lag."""


def call_with_retries(
    function: Callable[..., Any], *arguments: Any, purpose: CallPurpose, safe_to_repeat: bool, **options: Any
) -> Any:
    """Calls a function that sends a request to Kaggle, and turns its failure into one clear error.

    Every request has a timeout (TIMEOUT). A passing fault (429, 5xx, a reset, silence, a cut or unreadable answer) is
    tried again, MAX_ATTEMPTS times in all, after as long as Retry-After says. Where repeating is not safe, only what
    Kaggle certainly did not act upon is tried again: 429, and connections that never stood.

    What Kaggle refuses with HTTP 200 (`.error`, `ref == 0`) is no failure here: check the answer.

    Args:
        function: sends the request; it is called again as it is.
        arguments: its arguments.
        purpose: of the call, for its error.
        safe_to_repeat: whether doing it twice does no harm. Creating, submitting and pushing do.
        options: its keyword arguments.

    Raises:
        KaggleError: `.status` is Kaggle's; where `.uncertain`, it may have been done: look, do not repeat.
        StarshiftError: a full disk, or what the function raises itself.
    """
    retrying = Retrying(
        stop=_should_stop,
        wait=_compute_wait,
        retry=retry_if_exception(api_errors.is_transient if safe_to_repeat else api_errors.is_unprocessed),
        before_sleep=lambda state: _log_retry(state, purpose),
        # Otherwise tenacity's RetryError replaces the error that explains the failure.
        reraise=True,
    )
    try:
        with redact_output():
            return retrying(function, *arguments, **options)
    except StarshiftError:
        raise
    except Exception as error:
        raise api_errors.explain_error(error, purpose, repeatable=safe_to_repeat) from error


def poll(fetch: Callable[[], Result], is_done: Callable[[Result], bool], timeout: float | None = None) -> Result:
    """Calls `fetch` until its result is done or the time is up, and returns the last result.

    Args:
        fetch: returns the present state.
        is_done: whether a state is the last one.
        timeout: seconds; POLL_TIMEOUT where it is None.
    """
    started, pause = time.monotonic(), FIRST_POLL
    while True:
        result = fetch()
        if is_done(result) or time.monotonic() - started > (POLL_TIMEOUT if timeout is None else timeout):
            return result
        time.sleep(pause)
        pause = min(pause * 1.5, MAX_POLL)


def _should_stop(state: RetryCallState) -> bool:
    return stop_after_attempt(MAX_ATTEMPTS)(state) or (find_retry_after(_find_error(state)) or 0) > MAX_RETRY_AFTER


def _compute_wait(state: RetryCallState) -> float:
    retry_after = find_retry_after(_find_error(state))
    return wait_exponential(FIRST_WAIT, max=MAX_WAIT)(state) if retry_after is None else retry_after


def _find_error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _log_retry(state: RetryCallState, purpose: CallPurpose) -> None:
    if (error := _find_error(state)) is not None:
        log.info("  %s: %s; again in %.0f s", purpose.doing, api_errors.format_error(error), state.upcoming_sleep)


# requests has no timeout per session; an adapter is the only place that sees every request.
class TimeoutAdapter(HTTPAdapter):
    """Gives a timeout to every request that has none: Kaggle's client would wait for ever."""

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Sends a request; a session gives all options by name."""
        return super().send(request, **options | {"timeout": options.get("timeout") or TIMEOUT})


def build_session() -> requests.Session:
    """Builds a session for signed addresses: with timeouts, without credentials (not even those of ~/.netrc)."""
    session = requests.Session()
    # Without an auth of its own, a session sends credentials from ~/.netrc. This one adds nothing.
    session.auth = lambda request: request
    for scheme in ("https://", "http://"):
        session.mount(scheme, TimeoutAdapter())
    return session
