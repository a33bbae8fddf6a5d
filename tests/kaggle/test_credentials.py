"""Credentials in every form that people have: used, or named with what is wrong; tokens that expire are renewed."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import kagglesdk.kaggle_client as sdk
import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import kaggle_private
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import authenticate, find_username, query
from pipeline.kaggle.credentials import list_credentials
from pipeline.kaggle.redact import redact_text
from tests.kaggle.server import KEY, REFRESH_TOKEN, TOKEN, USER
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions

pytestmark = pytest.mark.filterwarnings("ignore")
LIMITS = "GetSubmissionLimits"
GOOD = json.dumps({"username": USER, "key": KEY})
ODD_FILES = {
    "bom": (b"\xef\xbb\xbf" + GOOD.encode(), "byte order mark"),
    "utf-16": (GOOD.encode("utf-16"), "UTF-16, as PowerShell writes it"),
    "empty": (b"", "it is empty"),
    "blank": (b" \n", "it is empty"),
    "no key": (b'{"username": "ann"}', "it has no key"),
    "an empty key": (b'{"username": "ann", "key": " "}', "it has no key"),
    "a blank": (GOOD.replace('"}', ' "}').encode(), "its key begins or ends with a blank"),
    "a number": (b'{"username": 7, "key": 8}', "it has no username and no key"),
    "trailing comma": (GOOD.replace("}", ",}").encode(), "it is no JSON"),
    "a page": (b"<html>Sign in</html>", "it is no JSON"),
    "a token": (TOKEN.encode(), "it is no JSON"),
    "a list": (b"[1]", "it holds no object with username and key"),
    "latin-1": (b'{"username": "caf\xe9", "key": "x"}', "it is not UTF-8"),
}


@pytest.fixture
def kaggle(kaggle, user, monkeypatch):
    """A server, and no credentials; the client's folder is the user's."""
    Competitions(kaggle, Storage(kaggle)).scorers["pets"] = lambda _: ("0", "0")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(kaggle_private, "_renewed", {})
    monkeypatch.setattr(kaggle_private.load_api_class(), "config", str(user / "kaggle.json"))
    return kaggle


def ask(api):
    request, purpose = "competitions.competition_api_client.get_submission_limits", CallPurpose(doing="asking")
    return query(api, request, {"competitionName": "pets"}, purpose, safe_to_repeat=False).num_allowed_now


def write_login(user, *, hours: float, token: str = "KGAT_0ld0ld0ld") -> Path:
    """What `kaggle auth login` writes; the token ends in so many hours."""
    (user / ".kaggle").mkdir(exist_ok=True)
    ends = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    login = {"refresh_token": REFRESH_TOKEN, "access_token": token, "access_token_expiration": ends, "username": USER}
    (user / ".kaggle" / "credentials.json").write_text(json.dumps(login))
    return user / ".kaggle" / "credentials.json"


@pytest.mark.parametrize("form", ODD_FILES)
def test_a_damaged_kaggle_json_is_named_with_its_fault(kaggle, user, form):
    content, fault = ODD_FILES[form]
    (user / "kaggle.json").write_bytes(content)
    with pytest.raises(StarshiftError, match=f"kaggle.json: .*{fault}"):
        authenticate()
    assert not kaggle.asked, "nothing was tried three times"


@pytest.mark.parametrize("name", ["kaggle.json.txt", "kaggle (1).json", "Kaggle.json"])
def test_a_kaggle_json_of_another_name_is_noticed(kaggle, user, name):
    (user / name).write_text(GOOD)
    with pytest.raises(StarshiftError, match=r"its name is not kaggle.json: rename it"):
        authenticate()


def test_a_folder_in_place_of_kaggle_json_is_named(kaggle, user):
    (user / "kaggle.json").mkdir()
    with pytest.raises(StarshiftError, match=r"kaggle.json: it cannot be read"):
        authenticate()


def test_a_key_without_a_username_is_named(kaggle, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    with pytest.raises(StarshiftError, match="no KAGGLE_USERNAME"):
        authenticate()


def test_a_good_kaggle_json_signs_in(kaggle, user):
    (user / "kaggle.json").write_text(GOOD)
    os.chmod(user / "kaggle.json", 0o600)
    assert ask(authenticate()) == 5 and list_credentials()[0].fault == ""


def test_variables_are_enough_beside_a_damaged_kaggle_json(kaggle, user, monkeypatch):
    (user / "kaggle.json").write_bytes(ODD_FILES["utf-16"][0])
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    assert ask(authenticate()) == 5


@pytest.mark.parametrize(("encoding", "fault"), [("utf-16", "UTF-16"), ("utf-8-sig", "byte order mark")])
def test_a_token_as_powershell_writes_it_is_named(kaggle, user, encoding, fault):
    (user / ".kaggle").mkdir()
    (user / ".kaggle" / "access_token").write_bytes(TOKEN.encode(encoding))
    with pytest.raises(StarshiftError, match=f"~/.kaggle/access_token: it .*{fault}"):
        authenticate()


def test_a_token_file_signs_in(kaggle, user):
    (user / ".kaggle").mkdir()
    (user / ".kaggle" / "access_token").write_text(f"{TOKEN}\n")
    assert ask(authenticate()) == 5


def test_a_login_signs_in_and_is_renewed_before_its_end(kaggle, user):
    path = write_login(user, hours=-1)
    api = authenticate()
    assert ask(api) == 5 and find_username(api) == USER and kaggle.count("GenerateAccessToken") == 1
    assert json.loads(path.read_text())["access_token"] in kaggle.tokens


def test_a_login_whose_token_ends_during_a_run_is_renewed_once(kaggle, user):
    write_login(user, hours=5, token=TOKEN)
    api = authenticate()
    assert ask(api) == 5
    kaggle.tokens.clear()
    assert ask(api) == 5 and ask(api) == 5
    assert kaggle.count("GenerateAccessToken") == 1 and kaggle.count(LIMITS) == 4, "one was refused and sent again"


def test_a_login_is_renewed_each_time_that_its_token_ends(kaggle, user):
    write_login(user, hours=5)
    api = authenticate()
    for _ in range(3):
        kaggle.tokens.clear()
        assert ask(api) == 5
    assert kaggle.count("GenerateAccessToken") == 3


def test_a_token_file_that_was_written_anew_is_read_again(kaggle, user):
    (user / ".kaggle").mkdir()
    (user / ".kaggle" / "access_token").write_text(TOKEN)
    api = authenticate()
    kaggle.tokens = {"KGAT_an0ther0ne"}
    (user / ".kaggle" / "access_token").write_text("KGAT_an0ther0ne")
    assert ask(api) == 5


def test_a_login_that_has_ended_is_said_to_be_so_when_signing_in(kaggle, user):
    write_login(user, hours=-1)
    kaggle.refresh_token = None
    with pytest.raises(StarshiftError, match=r"The login to Kaggle has ended(.|\n)*kaggle auth login"):
        authenticate()


def test_a_login_that_ends_for_good_during_a_run_ends_in_one_refusal(kaggle, user):
    write_login(user, hours=5, token=TOKEN)
    api = authenticate()
    kaggle.tokens.clear()
    kaggle.refresh_token = None
    with pytest.raises(KaggleError, match=r"stale or wrong(.|\n)*kaggle auth login") as caught:
        ask(api)
    assert caught.value.status == 401 and kaggle.count(LIMITS) == 1


def test_secrets_of_files_that_the_client_cannot_read_are_masked(user):
    (user / "kaggle.json").write_bytes(ODD_FILES["utf-16"][0])
    write_login(user, hours=5)
    assert redact_text(f"{KEY} and {REFRESH_TOKEN}") == "*** and ***"


def test_a_client_that_makes_its_sessions_in_another_way_is_refused(kaggle, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.setattr(sdk, "KaggleHttpClient", sdk.KaggleHttpClient.__mro__[1])
    with pytest.raises(StarshiftError, match=r"could wait for ever(.|\n)*kaggle 2.2.5 with kagglesdk 0.1.38"):
        authenticate()


def test_a_client_without_what_is_extended_is_refused(monkeypatch):
    monkeypatch.delattr(sdk, "KaggleHttpClient")
    with pytest.raises(StarshiftError, match="not known here"):
        kaggle_private.load_api_class.__wrapped__()
