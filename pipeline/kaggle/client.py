"""The official Kaggle client, imported nowhere else: signing in, and asking what its own methods do not ask.

Everything is asked through `call_with_retries`, which gives patience and one clear error:

    api = authenticated()
    purpose = Purpose(doing="asking how the kernel is", kind="kernel", name="me/slug")
    call(api.kernels_status, "me/slug/3", purpose=purpose, safe_to_repeat=True).status.name
    call(ask, api, "competitions.competition_api_client.get_submission", {"ref": 7}, purpose=..., safe_to_repeat=True)
"""

import contextlib
import io
import shutil
from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, get_type_hints

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.redact import redact_text
from pipeline.kaggle.retry import TimeoutAdapter, call_with_retries

__all__ = [
    "CallPurpose",
    "KaggleError",
    "authenticate",
    "call_with_retries",
    "download_bundle",
    "find_username",
    "send_request",
]
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


@cache
def _load_api_class() -> Any:
    """The class KaggleApi, all of whose clients have timeouts and print no credentials; before `import kaggle` asks."""
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
    """Kaggle's API, with credentials.

    Args:
        otherwise: a way without it, if there is one; ends a remedy.

    Raises:
        StarshiftError: no credentials, stale ones, no network, no package.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            api = _load_api_class()()
            call_with_retries(
                api.authenticate, purpose=CallPurpose(doing="signing in", otherwise=otherwise), safe_to_repeat=True
            )
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
    if (stale := _find_token()) and api.config_values.get(api.CONFIG_NAME_TOKEN) != stale[0]:
        raise _build_credentials_error(otherwise)
    return api


def find_username(api: Any) -> str:
    """The account's name, as in the addresses of its datasets and kernels."""
    return str(api.config_values.get(api.CONFIG_NAME_USER))


def _find_token() -> tuple[str, str] | None:
    """The access token that the client finds, and where; it is sent even where Kaggle said that it is not valid."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    token, source = get_access_token_from_env()
    return (token, source) if token else None


def _build_credentials_error(otherwise: str) -> StarshiftError:
    """The error for credentials that are missing or not accepted."""
    way = f", {otherwise}" if otherwise else ""
    found = _find_token()
    if found:
        return StarshiftError(
            "Kaggle does not accept the token: it is stale or wrong.",
            received=f"the token in {found[1]}, which is used before a username and key",
            remedy=f"create a new one at https://www.kaggle.com/settings, or remove it{way}",
        )
    return StarshiftError(
        "Kaggle does not know who you are: there are no credentials.",
        expected="KAGGLE_API_TOKEN, ~/.kaggle/access_token or kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY",
        received="none of them",
        remedy=f"create a token at https://www.kaggle.com/settings{way}",
    )


def download_bundle(slug: str, folder: Path) -> Path:
    """Downloads a competition's bundle, going on where an interrupted download stopped.

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
    purpose = CallPurpose(
        doing=f"downloading {slug}",
        kind="competition",
        name=slug,
        otherwise=f"it resumes; {MANUAL_DOWNLOAD_HINT}",
        folder=folder,
    )
    call_with_retries(
        api.competition_download_files, slug, path=str(folder), quiet=False, purpose=purpose, safe_to_repeat=True
    )
    found = [path for path in folder.glob(f"{slug}.*") if not path.name.endswith(".kaggle-partial")]
    for page in [path for path in found if path.is_dir()]:  # an answer that was no redirect, saved under its address
        shutil.rmtree(page)
    archive = next((path for path in found if path.is_file()), None)
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
