"""The official Kaggle client, imported nowhere else: authentication, requests of its SDK, a competition's bundle.

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
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, get_type_hints

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives
from pipeline.kaggle.api_errors import CallPurpose
from pipeline.kaggle.redact import redact_text
from pipeline.kaggle.retry import TimeoutAdapter, call_with_retries

MANUAL_DOWNLOAD_HINT = "or download the archive by hand and give it with --bundle FILE"


def send_request(api: Any, request: str, fields: Mapping[str, Any]) -> Any:
    """Sends one request of Kaggle's SDK, for what KaggleApi lacks, or does with more requests or repeats by itself.

    Args:
        api: from `authenticate`.
        request: its place in the SDK, such as `datasets.dataset_api_client.get_dataset`.
        fields: as they are on the wire, `{"ownerSlug": ...}`.

    Raises:
        ValueError: it has no such field, which the SDK would leave out without a word.
    """
    with api.build_kaggle_client() as kaggle:
        method = attrgetter(request)(kaggle)
        kind = get_type_hints(method)["request"]
        if unknown := set(fields) - {field.json_name for field in kind._fields}:
            raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        return method(kind.from_dict(dict(fields)))


def query(
    api: Any, request: str, fields: Mapping[str, Any], purpose: CallPurpose, *, safe_to_repeat: bool = True
) -> Any:
    """Sends one request of Kaggle's SDK through `call_with_retries`. See `send_request`."""
    return call_with_retries(send_request, api, request, fields, purpose=purpose, safe_to_repeat=safe_to_repeat)


@cache
def _load_api_class() -> Any:
    """Returns the class KaggleApi, whose clients have timeouts and print no credentials."""
    import kagglesdk.kaggle_client as sdk

    class Client(sdk.KaggleHttpClient):  # type: ignore[misc, name-defined]
        def _init_session(self) -> None:
            fresh = self._session is None
            super()._init_session()
            for scheme in ("https://", "http://") if fresh else ():
                self._session.mount(scheme, TimeoutAdapter())

        def _print(self, message: str) -> None:
            if self._verbose:
                print(redact_text(message))

    sdk.KaggleHttpClient = Client
    from kaggle.api.kaggle_api_extended import KaggleApi

    return KaggleApi


def authenticate(otherwise: str = "") -> Any:
    """Returns Kaggle's API, with credentials.

    Args:
        otherwise: a way without it, if there is one; ends a remedy.

    Raises:
        StarshiftError: no credentials, stale ones, no network, no package.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            api = _load_api_class()()
            purpose = CallPurpose(doing="signing in", otherwise=otherwise)
            call_with_retries(api.authenticate, purpose=purpose, safe_to_repeat=True)
    except SystemExit as error:
        raise _build_credentials_error(otherwise) from error
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
    if (token := _find_token()[0]) and api.config_values.get(api.CONFIG_NAME_TOKEN) != token:
        raise _build_credentials_error(otherwise)
    return api


def find_username(api: Any) -> str:
    """Returns the account's name, as in the addresses of its datasets and kernels."""
    return str(api.config_values.get(api.CONFIG_NAME_USER))


def _find_token() -> tuple[str | None, str | None]:
    """Returns the access token that the client uses, valid or not, and where it is from."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    token, source = get_access_token_from_env()
    return token, source


def _build_credentials_error(otherwise: str) -> StarshiftError:
    """Builds the error for credentials that are missing or not accepted."""
    way = f", {otherwise}" if otherwise else ""
    token, source = _find_token()
    if token:
        return StarshiftError(
            "Kaggle does not accept the token: it is stale or wrong.",
            received=f"the token in {source}, which is used before a username and key",
            remedy=f"create a new one at https://www.kaggle.com/settings, or remove it{way}",
        )
    return StarshiftError(
        "Kaggle does not know who you are: there are no credentials.",
        expected="KAGGLE_API_TOKEN, ~/.kaggle/access_token or kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY",
        received="none of them",
        remedy=f"create a token at https://www.kaggle.com/settings{way}",
    )


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
