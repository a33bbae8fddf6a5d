"""The kinds of failure of a call to Kaggle: what was answered, if anything, and whether it may be asked again."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
import urllib3

UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError)
SHORT = "does not match expected size"
"""How the client says that a download is not whole."""


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from or while handling, inside requests' wrappers too."""
    while error is not None:
        yield error
        # urllib3 keeps the cause in `reason`; requests passes urllib3's error as its first argument.
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)


def status_of(error: BaseException) -> int | None:
    """The status that Kaggle answered with; where it answered 200 with a code in the body, that code."""
    for one in chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, requests.Response):
            return response.status_code if response.status_code >= 400 else _code(response)
    return None


def _code(response: requests.Response) -> int | None:
    try:
        return int(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return None


def ordered_wait(error: BaseException) -> float | None:
    """How many seconds Kaggle says to wait (Retry-After, as seconds or as a date, RFC 9110, 10.2.3), or None."""
    for one in chain(error):
        response = getattr(one, "response", None)
        said = response.headers.get("Retry-After") if isinstance(response, requests.Response) else None
        if said is None:
            continue
        try:
            return max(0.0, float(said))
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return None
    return None


def unheard(error: BaseException) -> bool:
    """Whether Kaggle certainly did nothing: it refused for now, or no connection was made. Always safe to repeat."""
    # Only these are raised before a request is sent. A reset or a read timeout may come after Kaggle acted on it.
    never = (requests.ConnectTimeout, urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError)
    return status_of(error) == 429 or any(isinstance(one, never) for one in chain(error))


def passing(error: BaseException) -> bool:
    """Whether the same call may succeed a little later: a fault of the network, of the server, or of an answer."""
    status = status_of(error)
    if status is not None:
        return status == 429 or status >= 500
    return broken(error) or isinstance(error, UNREADABLE)


def broken(error: BaseException) -> bool:
    """Whether the connection failed: none, silence, a reset, or a body that was cut short."""
    network = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        urllib3.exceptions.HTTPError,
        ConnectionError,
        TimeoutError,
    )
    cut = isinstance(error, ValueError) and SHORT in str(error)
    return cut or any(isinstance(one, network) for one in chain(error))
