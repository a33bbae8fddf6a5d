"""Signs in to Kaggle by its official client, sends requests of its SDK, and downloads a competition's bundle.

Every call goes through `call_with_retries`, or `query` for what the client's own methods lack:

    api = authenticate()
    purpose = CallPurpose(doing="asking how the kernel is", kind="kernel", name="me/slug")
    call_with_retries(api.kernels_status, "me/slug/3", purpose=purpose, safe_to_repeat=True).status.name
    query(api, "competitions.competition_api_client.get_submission", {"ref": 7}, purpose)
"""

import contextlib
import io
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives
from pipeline.kaggle.api_errors import CallPurpose
from pipeline.kaggle.credentials import Credential, build_credentials_error, list_credentials
from pipeline.kaggle.kaggle_private import check_client, find_token, load_api_class, send_request
from pipeline.kaggle.retry import call_with_retries

MANUAL_DOWNLOAD_HINT = "or download the archive by hand and give it with --bundle FILE"


def query(
    api: Any, request: str, fields: Mapping[str, Any], purpose: CallPurpose, *, safe_to_repeat: bool = True
) -> Any:
    """Sends one request of Kaggle's SDK through `call_with_retries`. See `send_request`."""
    return call_with_retries(send_request, api, request, fields, purpose=purpose, safe_to_repeat=safe_to_repeat)


def authenticate(otherwise: str = "") -> Any:
    """Returns Kaggle's API, with credentials.

    Args:
        otherwise: a way without it, if there is one; ends a remedy.

    Raises:
        StarshiftError: no credentials, stale ones, no network, no package, or a client that is not known.
    """
    sources = list_credentials()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            api = load_api_class()()
            purpose = CallPurpose(doing="signing in", otherwise=otherwise)
            call_with_retries(_sign_in, api, sources, otherwise, purpose=purpose, safe_to_repeat=True)
    except ImportError as error:
        raise StarshiftError(
            "The kaggle package is not installed.", received=str(error), remedy="pip install -r requirements.txt"
        ) from error
    except OSError as error:
        raise StarshiftError(
            "The Kaggle client cannot use its folder.",
            received=str(error),
            remedy="set KAGGLE_CONFIG_DIR to a folder that can be written",
        ) from error
    check_client(api)
    return api


def _sign_in(api: Any, sources: list[Credential], otherwise: str) -> None:
    """Signs in, and turns the client's exit, or its failure on a file, into an error."""
    try:
        api.authenticate()
        token = find_token()
    except (SystemExit, UnicodeError, TypeError) as error:
        raise build_credentials_error(sources, otherwise) from error
    # The client takes a key that is no text, and sends a stale token in place of a good key.
    kind = find_sign_in_kind(api)
    is_usable = any(one.kind == kind and not one.fault for one in sources)
    if not is_usable or (token and api.config_values.get(api.CONFIG_NAME_TOKEN) != token):
        raise build_credentials_error(sources, otherwise)


def find_sign_in_kind(api: Any) -> str:
    """Returns how the client has signed in, a kind of Credential."""
    method = api.config_values.get(api.CONFIG_NAME_AUTH_METHOD)
    return {"ACCESS_TOKEN": "token", "LEGACY_API_KEY": "key"}.get(str(method), "login")


def find_username(api: Any) -> str:
    """Returns the account's name, as in the addresses of its datasets and kernels."""
    return str(api.config_values.get(api.CONFIG_NAME_USER))


def download_bundle(slug: str, folder: Path) -> Path:
    """Downloads a competition's bundle, from where an interrupted download stopped.

    Args:
        slug: Kaggle's name of the competition.
        folder: where <slug>.zip is put.

    Returns:
        The archive, whole: every member was held against its checksum.

    Raises:
        StarshiftError: one for each thing that can go wrong, with what to do.
    """
    api = authenticate(MANUAL_DOWNLOAD_HINT)
    folder.mkdir(parents=True, exist_ok=True)
    otherwise = f"it resumes; {MANUAL_DOWNLOAD_HINT}"
    purpose = CallPurpose(
        doing=f"downloading {slug}", kind="competition", name=slug, otherwise=otherwise, folder=folder
    )
    options: dict[str, Any] = {"path": str(folder), "quiet": not sys.stderr.isatty(), "purpose": purpose}
    call_with_retries(api.competition_download_files, slug, **options, safe_to_repeat=True)
    downloads = [path for path in folder.glob(f"{slug}.*") if not path.name.endswith(".kaggle-partial")]
    for page in [path for path in downloads if path.is_dir()]:  # an answer without a redirect, saved under its address
        shutil.rmtree(page)
    archive = next((path for path in downloads if path.is_file()), None)
    if archive is None:
        raise StarshiftError(
            "Kaggle sent no archive.",
            expected=f"{slug}.zip in {folder}",
            remedy=f"see whether a proxy or a login page answers in Kaggle's place, {MANUAL_DOWNLOAD_HINT}",
        )
    try:
        archives.check_archive(archive)
    except StarshiftError:
        archive.unlink()
        raise
    return archive
