"""What a failed call to Kaggle means: one error that says what to do."""

import errno
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.errors import StarshiftError
from pipeline.files import full_disk
from pipeline.kaggle.kinds import UNREADABLE, broken, chain, ordered_wait, status_of, unheard
from pipeline.kaggle.scrubbing import scrubbed

PAGES = {"competition": "competitions", "dataset": "datasets", "kernel": "code", "model": "models"}
LONGEST_TEXT = 500


@dataclass(frozen=True, kw_only=True)
class Purpose:
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
        return f"https://www.kaggle.com/{PAGES[self.kind]}/{self.name}" if self.kind in PAGES else "kaggle.com"


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
        super().__init__(scrubbed(message), received=scrubbed(received), remedy=scrubbed(remedy))


def brief(error: BaseException) -> str:
    """A failure in a few words, for a line that says that it is tried again."""
    status = status_of(error)
    if status is not None:
        return f"{status}, {scrubbed(str(error))[:100]}"
    if unheard(error):
        return "no connection"
    if any(isinstance(one, requests.Timeout | TimeoutError) for one in chain(error)):
        return "no answer in time"
    return "the connection broke off" if broken(error) else f"unreadable, {scrubbed(str(error))[:100]}"


def explained(error: BaseException, purpose: Purpose, *, repeatable: bool = True) -> StarshiftError:
    """What a failed call means, and what to do.

    Args:
        error: what the client raised.
        purpose: what the call was for.
        repeatable: whether it does no harm to do it twice.
    """
    if isinstance(error, StarshiftError):
        return error
    # Checked first: a full disk anywhere in the chain is the cause, whatever it was wrapped in.
    if any(isinstance(one, OSError) and one.errno == errno.ENOSPC for one in chain(error)):
        return full_disk(purpose.folder)
    status, text = status_of(error), f"{error}"[:LONGEST_TEXT]
    message, remedy = _answered(status, text, purpose, ordered_wait(error)) if status else _unanswered(error, purpose)
    # A refusal (4xx) or a failed connection did nothing. A 5xx or silence may follow an action that was carried out.
    uncertain = not repeatable and not unheard(error) and (status is None or status >= 500)
    if uncertain:
        message += f" It is not known whether Kaggle did it: {purpose.doing}."
        remedy = f"look at {purpose.page} before you try again"
    if purpose.otherwise and status not in (401, 403, 404):
        remedy += f"; {purpose.otherwise}"
    received = text if status else f"{type(error).__name__}: {text}"
    return KaggleError(message, status=status, uncertain=uncertain, received=received, remedy=remedy)


def _answered(status: int, text: str, purpose: Purpose, wait: float | None) -> tuple[str, str]:
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
        return "Kaggle asks to be asked less often.", f"wait {_minutes(wait)} and run again"
    if status >= 500:
        return f"Kaggle's server has a fault: {purpose.doing} failed.", "run again later"
    return f"Kaggle refuses: {purpose.doing} failed.", f"look at {purpose.page}"


def _minutes(wait: float | None) -> str:
    return "some minutes" if wait is None else f"{wait:.0f} seconds" if wait < 120 else f"{wait / 60:.0f} minutes"


def _unanswered(error: BaseException, purpose: Purpose) -> tuple[str, str]:
    """What it means that no usable answer came: (message, remedy)."""
    if unheard(error):
        return f"Kaggle cannot be reached: {purpose.doing} failed.", "look at the network and run again"
    if any(isinstance(one, requests.Timeout | TimeoutError) for one in chain(error)):
        return f"Kaggle did not answer in time: {purpose.doing} failed.", "look at the network and run again"
    if broken(error):
        return f"The connection to Kaggle broke off: {purpose.doing} failed.", "look at the network and run again"
    if isinstance(error, UNREADABLE):
        return (
            f"Kaggle's answer cannot be read: {purpose.doing} failed.",
            "run again; if it stays, see whether a proxy or a login page answers in Kaggle's place",
        )
    return f"That did not work: {purpose.doing}.", "see what was received"
