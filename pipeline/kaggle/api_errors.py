"""Errors of calls to Kaggle: classifies a failure, and builds one error that says what to do."""

import errno
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from pipeline.errors import StarshiftError
from pipeline.files import build_disk_full_error
from pipeline.kaggle.credentials import LOGIN_COMMAND, SETTINGS_PAGE
from pipeline.kaggle.redact import redact_text

CONNECTION_ERRORS = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
)
UNPROCESSED_ERRORS = (requests.ConnectTimeout, urllib3.exceptions.NewConnectionError)
"""Only these are raised before a request is sent. A reset or a read timeout may come after Kaggle acted on it."""
UNREADABLE_ERRORS = (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError)
TRUNCATED_MESSAGE = "does not match expected size"
"""Part of the client's message when a download is not whole."""
RENEW_TOKEN = (
    f"create a new token at {SETTINGS_PAGE}, or {LOGIN_COMMAND}; note that KAGGLE_API_TOKEN and ~/.kaggle/access_token "
    "are used before a username and key, even when they are stale"
)
VERIFY_PHONE = f"verify your phone number at {SETTINGS_PAGE}: without it Kaggle gives no GPUs and no internet"
CHECK_NETWORK = "look at the network and run again"
FAULTS = {
    "no connection": ("Kaggle cannot be reached", CHECK_NETWORK),
    "no answer in time": ("Kaggle did not answer in time", CHECK_NETWORK),
    "the connection broke off": ("The connection to Kaggle broke off", CHECK_NETWORK),
    "unreadable": (
        "Kaggle's answer cannot be read",
        "run again; if it stays, see whether a proxy or a login page answers in Kaggle's place",
    ),
}
"""Message and remedy of each fault without an answer."""
PAGE_PATHS = {"competition": "competitions", "dataset": "datasets", "kernel": "code", "model": "models"}
MAX_TEXT_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class CallPurpose:
    """What a call is for, so that its error can name it.

    Args:
        doing: such as `submitting to dog-breed-identification`.
        kind: `competition`, `dataset`, `kernel`, `model` or `account`.
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
        place = PAGE_PATHS.get(self.kind)
        return f"https://www.kaggle.com/{place}/{self.name}" if place else "kaggle.com"


class KaggleError(StarshiftError):
    """A call that failed.

    Args:
        status: of the answer (HTTP); None where there was none.
        uncertain: Kaggle may have acted, though its answer did not come. Check before sending again.
    """

    def __init__(
        self, message: str, *, status: int | None = None, uncertain: bool = False, received: str = "", remedy: str = ""
    ) -> None:
        self.status = status
        self.uncertain = uncertain
        super().__init__(redact_text(message), received=redact_text(received), remedy=redact_text(remedy))


def iter_error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error and its causes, inside requests' wrappers too."""
    while error is not None:
        yield error
        # urllib3 keeps the cause in `reason`; requests passes urllib3's error as its first argument.
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)


def _find_response(error: BaseException | None) -> requests.Response | None:
    responses = (getattr(one, "response", None) for one in iter_error_chain(error))
    return next((one for one in responses if isinstance(one, requests.Response)), None)


def find_http_status(error: BaseException) -> int | None:
    """Returns the answer's status, or the code in the body of a 200; None without an answer."""
    response = _find_response(error)
    if response is None or response.status_code >= 400:
        return None if response is None else response.status_code
    try:
        return int(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return None


def find_retry_after(error: BaseException | None) -> float | None:
    """Returns the seconds of Retry-After (seconds or a date, RFC 9110, 10.2.3), or None."""
    response = _find_response(error)
    try:
        return None if response is None else urllib3.Retry().parse_retry_after(response.headers["Retry-After"])
    except (KeyError, urllib3.exceptions.InvalidHeader):
        return None


def classify_fault(error: BaseException) -> str | None:
    """Returns the key in FAULTS of a failure without an answer; None where it is neither network nor answer."""
    chain = list(iter_error_chain(error))
    if any(isinstance(one, UNPROCESSED_ERRORS) for one in chain):
        return "no connection"
    if any(isinstance(one, requests.Timeout | TimeoutError) for one in chain):
        return "no answer in time"
    is_cut = isinstance(error, ValueError) and TRUNCATED_MESSAGE in str(error)
    if is_cut or any(isinstance(one, CONNECTION_ERRORS) for one in chain):
        return "the connection broke off"
    return "unreadable" if isinstance(error, UNREADABLE_ERRORS) else None


def is_unprocessed(error: BaseException) -> bool:
    """Returns whether Kaggle certainly did nothing: it refused for now, or no connection was made."""
    return find_http_status(error) == 429 or classify_fault(error) == "no connection"


def is_transient(error: BaseException) -> bool:
    """Returns whether the same call may succeed later: a fault of the network, of the server, or of an answer."""
    status = find_http_status(error)
    return classify_fault(error) is not None if status is None else status == 429 or status >= 500


def format_error(error: BaseException) -> str:
    """Formats a failure in a few words."""
    label = find_http_status(error) or classify_fault(error) or "unreadable"
    return f"{label}, {redact_text(str(error))[:100]}" if label == "unreadable" or isinstance(label, int) else label


def explain_error(error: BaseException, purpose: CallPurpose, *, repeatable: bool = True) -> StarshiftError:
    """Builds the error of a failed call: what it means, and what to do.

    Args:
        error: raised by the client.
        purpose: of the call.
        repeatable: whether doing it twice does no harm.
    """
    if isinstance(error, StarshiftError):
        return error
    # Checked first: a full disk anywhere in the chain is the cause, whatever it was wrapped in.
    if any(isinstance(one, OSError) and one.errno == errno.ENOSPC for one in iter_error_chain(error)):
        return build_disk_full_error(purpose.folder)
    status, text = find_http_status(error), f"{error}"[:MAX_TEXT_LENGTH]
    if status:
        message, remedy = _explain_status(status, text, purpose, find_retry_after(error))
    else:
        fault = classify_fault(error)
        reason, remedy = FAULTS[fault] if fault else ("That did not work", "see what was received")
        message = f"{reason}: {purpose.doing}{' failed' if fault else ''}."
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
    """Returns message and remedy of an answer with an error."""
    kind, name = purpose.kind, purpose.name
    if status == 401:
        return "Kaggle refuses the credentials: the token is stale or wrong.", RENEW_TOKEN
    # 403 has several causes; only the text of the answer tells them apart.
    if status == 403 and re.search("phone|verif", text, re.IGNORECASE):
        return f"Kaggle wants a verified account: {purpose.doing} failed.", VERIFY_PHONE
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
    remedy = RENEW_TOKEN if kind == "account" else f"look at {purpose.page}"
    return f"Kaggle refuses: {purpose.doing} failed.", remedy


def _format_wait(wait: float | None) -> str:
    return "some minutes" if wait is None else f"{wait:.0f} seconds" if wait < 120 else f"{wait / 60:.0f} minutes"
