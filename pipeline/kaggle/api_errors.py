"""What a failed call to Kaggle means: one error that says what to do.

The kinds of failure of a call to Kaggle: what was answered, if anything, and whether it may be asked again.
"""

import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
import urllib3

from pipeline.errors import StarshiftError
from pipeline.files import build_disk_full_error
from pipeline.kaggle.redact import redact_text

UNREADABLE_ERRORS = (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError)
TRUNCATED_MESSAGE = "does not match expected size"
"""How the client says that a download is not whole."""


def iter_error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from or while handling, inside requests' wrappers too."""
    while error is not None:
        yield error
        # urllib3 keeps the cause in `reason`; requests passes urllib3's error as its first argument.
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)


def find_http_status(error: BaseException) -> int | None:
    """The status that Kaggle answered with; where it answered 200 with a code in the body, that code."""
    for one in iter_error_chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, requests.Response):
            return response.status_code if response.status_code >= 400 else _read_body_code(response)
    return None


def _read_body_code(response: requests.Response) -> int | None:
    try:
        return int(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return None


def find_retry_after(error: BaseException) -> float | None:
    """How many seconds Kaggle says to wait (Retry-After, as seconds or as a date, RFC 9110, 10.2.3), or None."""
    for one in iter_error_chain(error):
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


def is_unprocessed(error: BaseException) -> bool:
    """Whether Kaggle certainly did nothing: it refused for now, or no connection was made. Always safe to repeat."""
    # Only these are raised before a request is sent. A reset or a read timeout may come after Kaggle acted on it.
    never = (requests.ConnectTimeout, urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError)
    return find_http_status(error) == 429 or any(isinstance(one, never) for one in iter_error_chain(error))


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later: a fault of the network, of the server, or of an answer."""
    status = find_http_status(error)
    if status is not None:
        return status == 429 or status >= 500
    return is_connection_error(error) or isinstance(error, UNREADABLE_ERRORS)


def is_connection_error(error: BaseException) -> bool:
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
    cut = isinstance(error, ValueError) and TRUNCATED_MESSAGE in str(error)
    return cut or any(isinstance(one, network) for one in iter_error_chain(error))


PAGE_PATHS = {"competition": "competitions", "dataset": "datasets", "kernel": "code", "model": "models"}
MAX_TEXT_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class CallPurpose:
    """What a call is for, so that its failure can be told.

    Args:
        doing: what was going on, such as `submitting to dog-breed-identification`.
        kind: of thing that it is about: `competition`, `dataset`, `kernel`, `model` or `account`.
        name: of that thing: a slug, or `owner/slug`.
        otherwise: another way to get there, if there is one; ends a remedy.
        folder: that is written to, for a full disk.
    """

    doing: str
    kind: str = "account"
    name: str = ""
    otherwise: str = ""
    folder: Path = Path()

    @property
    def page(self) -> str:
        """The thing's address."""
        return (
            f"https://www.kaggle.com/{PAGE_PATHS[self.kind]}/{self.name}" if self.kind in PAGE_PATHS else "kaggle.com"
        )


class KaggleError(StarshiftError):
    """A call that failed.

    Args:
        status: of the answer (HTTP); None where there was none.
        uncertain: Kaggle may have done what was asked, though its answer did not come. Look before asking again.
    """

    def __init__(
        self, message: str, *, status: int | None = None, uncertain: bool = False, received: str = "", remedy: str = ""
    ) -> None:
        self.status = status
        self.uncertain = uncertain
        super().__init__(redact_text(message), received=redact_text(received), remedy=redact_text(remedy))


def format_error(error: BaseException) -> str:
    """A failure in a few words, for a line that says that it is tried again."""
    status = find_http_status(error)
    if status is not None:
        return f"{status}, {redact_text(str(error))[:100]}"
    if is_unprocessed(error):
        return "no connection"
    if any(isinstance(one, requests.Timeout | TimeoutError) for one in iter_error_chain(error)):
        return "no answer in time"
    return "the connection broke off" if is_connection_error(error) else f"unreadable, {redact_text(str(error))[:100]}"


def explain_error(error: BaseException, purpose: CallPurpose, *, repeatable: bool = True) -> StarshiftError:
    """What a failed call means, and what to do.

    Args:
        error: what the client raised.
        purpose: what the call was for.
        repeatable: whether it does no harm to do it twice.
    """
    if isinstance(error, StarshiftError):
        return error
    # Checked first: a full disk anywhere in the chain is the cause, whatever it was wrapped in.
    if any(isinstance(one, OSError) and one.errno == errno.ENOSPC for one in iter_error_chain(error)):
        return build_disk_full_error(purpose.folder)
    status, text = find_http_status(error), f"{error}"[:MAX_TEXT_LENGTH]
    message, remedy = (
        _explain_status(status, text, purpose, find_retry_after(error))
        if status
        else _explain_no_answer(error, purpose)
    )
    # A refusal (4xx) or a failed connection did nothing. A 5xx or silence may follow an action that was carried out.
    uncertain = not repeatable and not is_unprocessed(error) and (status is None or status >= 500)
    if uncertain:
        message += f" It is not known whether Kaggle did it: {purpose.doing}."
        remedy = f"look at {purpose.page} before you try again"
    if purpose.otherwise and status not in (401, 403, 404):
        remedy += f"; {purpose.otherwise}"
    received = text if status else f"{type(error).__name__}: {text}"
    return KaggleError(message, status=status, uncertain=uncertain, received=received, remedy=remedy)


def _explain_status(status: int, text: str, purpose: CallPurpose, wait: float | None) -> tuple[str, str]:
    """What an answer with an error means: (message, remedy)."""
    kind, name = purpose.kind, purpose.name
    if status == 401:
        return (
            "Kaggle refuses the credentials: the token is stale or wrong.",
            "create a new token at https://www.kaggle.com/settings; note that KAGGLE_API_TOKEN and "
            "~/.kaggle/access_token are used before a username and key, even when they are stale",
        )
    # 403 has several causes; only the text of the answer tells them apart.
    if status == 403 and "rules" in text:
        return (
            f"The rules of {name} have not been accepted with this account.",
            f"accept them at https://www.kaggle.com/competitions/{name}/rules and run again",
        )
    if status == 403 and "participate" in text:
        return (
            f"This account does not take part in {name!r}, or there is no such competition.",
            f"join it at {purpose.page}/rules, or correct slug= in the competition file",
        )
    if status in (403, 404):
        where = "slug= in the competition file" if kind == "competition" else "the name; is the token this account's?"
        return (
            f"Kaggle knows no {kind} {name!r}, or does not show it to this account.",
            f"look at {purpose.page} and correct {where}",
        )
    if status == 429:
        return "Kaggle asks to be asked less often.", f"wait {_format_wait(wait)} and run again"
    if status >= 500:
        return f"Kaggle's server has a fault: {purpose.doing} failed.", "run again later"
    return f"Kaggle refuses: {purpose.doing} failed.", f"look at {purpose.page}"


def _format_wait(wait: float | None) -> str:
    return "some minutes" if wait is None else f"{wait:.0f} seconds" if wait < 120 else f"{wait / 60:.0f} minutes"


def _explain_no_answer(error: BaseException, purpose: CallPurpose) -> tuple[str, str]:
    """What it means that no usable answer came: (message, remedy)."""
    if is_unprocessed(error):
        return f"Kaggle cannot be reached: {purpose.doing} failed.", "look at the network and run again"
    if any(isinstance(one, requests.Timeout | TimeoutError) for one in iter_error_chain(error)):
        return f"Kaggle did not answer in time: {purpose.doing} failed.", "look at the network and run again"
    if is_connection_error(error):
        return f"The connection to Kaggle broke off: {purpose.doing} failed.", "look at the network and run again"
    if isinstance(error, UNREADABLE_ERRORS):
        return (
            f"Kaggle's answer cannot be read: {purpose.doing} failed.",
            "run again; if it stays, see whether a proxy or a login page answers in Kaggle's place",
        )
    return f"That did not work: {purpose.doing}.", "see what was received"
