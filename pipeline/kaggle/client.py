"""The official Kaggle client, imported nowhere else: a download that resumes, errors that say what to do."""

import contextlib
import errno
import io
import logging
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives

log = logging.getLogger(__name__)
ATTEMPTS = 4
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
BY_HAND = "or download the archive by hand and give it with --bundle FILE"


def download(slug: str, folder: Path) -> Path:
    """Downloads a competition's bundle, going on where an interrupted download stopped.

    Args:
        slug: Kaggle's name of the competition.
        folder: where <slug>.zip is put.

    Returns:
        The archive, whole: every member was held against its checksum.

    Raises:
        StarshiftError: one for each thing that can go wrong, with what to do.
    """
    api = authenticated()
    folder.mkdir(parents=True, exist_ok=True)
    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(FIRST_WAIT, max=LONGEST_WAIT),
        retry=retry_if_exception(_passing),
        reraise=True,
    )
    try:
        retrying(api.competition_download_files, slug, path=str(folder), quiet=False)
    except Exception as error:
        raise explained(error, slug, folder) from error
    found = [path for path in folder.glob(f"{slug}.*") if not path.name.endswith(".kaggle-partial")]
    if not found:
        raise StarshiftError(
            "Kaggle sent no archive.", expected=f"{slug}.zip in {folder}", remedy=f"try again, {BY_HAND}"
        )
    try:
        archives.check(found[0])
    except StarshiftError:
        found[0].unlink()
        raise
    return found[0]


def authenticated() -> Any:
    """Kaggle's API, with credentials.

    Raises:
        StarshiftError: no credentials, stale ones, no network, no package.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            from kaggle.api.kaggle_api_extended import KaggleApi

            api = KaggleApi()
            api.authenticate()
    except SystemExit as error:
        raise StarshiftError(
            "Kaggle does not know who you are: there are no credentials.",
            expected="KAGGLE_API_TOKEN, ~/.kaggle/access_token or kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY",
            received="none of them, or a token that Kaggle does not accept",
            remedy=f"create a token at https://www.kaggle.com/settings, {BY_HAND}",
        ) from error
    except ImportError as error:
        raise StarshiftError(
            "The kaggle package is not installed.", received=str(error), remedy="pip install -r requirements.txt"
        ) from error
    except OSError as error:
        if hasattr(error, "response"):  # requests' errors are OSErrors
            raise explained(error, "", Path()) from error
        raise StarshiftError(
            "The Kaggle client cannot use its folder.",
            received=str(error),
            remedy="set KAGGLE_CONFIG_DIR to a folder that can be written",
        ) from error
    return api


def _passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    import requests

    status = _status(error)
    return isinstance(error, requests.ConnectionError | requests.Timeout) or status == 429 or (status or 0) >= 500


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else response.status_code


def explained(error: BaseException, slug: str, folder: Path) -> StarshiftError:
    """What a failed request means, and what to do.

    Args:
        error: what the client raised.
        slug: of the competition.
        folder: that was written to.
    """
    import requests

    status, text = _status(error), str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return archives.full_disk(folder)
    if status == 401:
        return StarshiftError(
            "Kaggle refuses the credentials: the token is stale or wrong.",
            received=text,
            remedy="create a new token at https://www.kaggle.com/settings; note that KAGGLE_API_TOKEN and "
            "~/.kaggle/access_token are used before a username and key, even when they are stale",
        )
    if status == 403 and "rules" in text:
        return StarshiftError(
            f"The rules of {slug} have not been accepted with this account.",
            received=text,
            remedy=f"accept them at https://www.kaggle.com/competitions/{slug}/rules and run again",
        )
    if status in (403, 404):
        return StarshiftError(
            f"Kaggle knows no competition {slug!r}, or does not show it to this account.",
            expected="the last part of the competition's address",
            received=text,
            remedy=f"look at https://www.kaggle.com/competitions/{slug} and correct slug= in the competition file",
        )
    if status == 429:
        return StarshiftError(
            "Kaggle asks to be asked less often.", received=text, remedy="wait some minutes and run again"
        )
    if status is not None and status >= 500:
        return StarshiftError("Kaggle's server has a fault.", received=text, remedy=f"run again later, {BY_HAND}")
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return StarshiftError(
            "Kaggle cannot be reached.",
            received=text[:300],
            remedy=f"look at the network and run again: it resumes; {BY_HAND}",
        )
    return StarshiftError("The download failed.", received=f"{type(error).__name__}: {text[:500]}", remedy="run again")
