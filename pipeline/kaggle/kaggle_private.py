"""What is not documented of Kaggle's client, in one place; checked with kaggle 2.2.5 and kagglesdk 0.1.38.

The client has no timeouts, and does not renew a login's access token, which lasts 12 hours. Both are put into the
sessions that it makes; `check_client` tells whether another version still makes them that way.
"""

import threading
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import Any, get_type_hints

import requests

from pipeline.errors import StarshiftError
from pipeline.kaggle.retry import TimeoutAdapter

CHECKED_VERSIONS = "kaggle 2.2.5 with kagglesdk 0.1.38"
SCHEMES = ("https://", "http://")


def find_versions() -> dict[str, str]:
    """Returns the installed versions of Kaggle's packages."""
    versions = {}
    for name in ("kaggle", "kagglesdk", "kagglehub"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@cache
def load_api_class() -> Any:
    """Returns the class KaggleApi, whose sessions have timeouts and renew their token.

    Raises:
        ImportError: it is not installed.
        StarshiftError: another version, without what is to be extended.
    """
    import kagglesdk.kaggle_client as sdk

    try:

        class PatchedClient(sdk.KaggleHttpClient):  # type: ignore[misc, name-defined]
            """Kaggle's client with timeouts. KaggleClient takes it by its name in the module."""

            def _init_session(self) -> None:
                is_new = self._session is None
                super()._init_session()
                if is_new:
                    for scheme in SCHEMES:
                        self._session.mount(scheme, TimeoutAdapter())
                    if isinstance(self._session.auth, self.BearerAuth):
                        self._session.auth = RenewingAuth(self._session.auth.token)

        sdk.KaggleHttpClient = PatchedClient
        from kaggle.api.kaggle_api_extended import KaggleApi
    except AttributeError as error:
        raise build_version_error(str(error)) from error
    return KaggleApi


def check_client(api: Any) -> None:
    """Checks that the client's sessions are those of `load_api_class`.

    Raises:
        StarshiftError: another version of the client makes its sessions in another way.
    """
    with api.build_kaggle_client() as client:
        session = getattr(client.http_client(), "_session", None)
        adapters = [session.get_adapter(scheme) for scheme in SCHEMES] if session is not None else [None]
    if not all(isinstance(adapter, TimeoutAdapter) for adapter in adapters):
        raise build_version_error("sessions without timeouts")


def build_version_error(reason: str) -> StarshiftError:
    """Builds the error for a version of the client that works in another way."""
    versions = " with ".join(f"{name} {number}" for name, number in find_versions().items())
    return StarshiftError(
        "This version of Kaggle's client is not known here: its requests could wait for ever.",
        expected=CHECKED_VERSIONS,
        received=f"{versions}: {reason}",
        remedy="pip install -r requirements-common.txt, with the versions that are expected",
    )


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


def find_token() -> str | None:
    """Returns the access token that the client finds in a variable or a file, valid or not."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    return get_access_token_from_env()[0]


_renewed: dict[str, str] = {}
"""The token after each one that was refused: the client keeps the first."""
_renewing = threading.Lock()
"""A kernel's log is read by a thread of its own."""


class RenewingAuth(requests.auth.AuthBase):
    """Sends an access token; where Kaggle refuses it (401), once more with a new one.

    A refused request did nothing, so any may be repeated. Done as requests does it for HTTPDigestAuth.
    """

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        while self.token in _renewed:
            self.token = _renewed[self.token]
        request.headers["Authorization"] = f"Bearer {self.token}"
        request.register_hook("response", self.repeat_refused)
        return request

    def repeat_refused(self, response: requests.Response, **options: Any) -> requests.Response:
        """Returns the answer to the same request with a new token; this one where there is none."""
        # A redirect to the storage carries no token, and its refusal is about its address.
        if response.status_code != 401 or "Authorization" not in response.request.headers:
            return response
        if (token := renew_token(self.token)) is None:
            return response
        response.close()
        again = response.request.copy()
        again.headers["Authorization"] = f"Bearer {token}"
        repeated: requests.Response = response.connection.send(again, **options)  # type: ignore[attr-defined]
        repeated.history.append(response)
        repeated.request = again
        return repeated


def renew_token(token: str) -> str | None:
    """Returns the token after one that was refused: of its file, or of the login; None where there is no other."""
    with _renewing:
        if token not in _renewed and (new := find_token() or _refresh_login(token)) not in (None, token):
            _renewed[token] = str(new)
            _renewed.pop(str(new), None)  # a token that came back is the last one
        return _renewed.get(token)


def _refresh_login(token: str) -> str | None:
    """Returns a new access token of the login (OAuth): the client uses one until 30 minutes after its end."""
    from kagglesdk.kaggle_creds import KaggleCredentials

    try:
        with load_api_class().build_kaggle_client_with_params(args=[]) as client:
            login = KaggleCredentials.load(client=client)
            if login is not None and login.get_access_token() == token:
                login.refresh_access_token()
            return str(login.get_access_token()) if login is not None else None
    except requests.RequestException:  # the refusal of the first request explains it
        return None
