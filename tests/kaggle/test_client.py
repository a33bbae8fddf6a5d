"""Signing in, and every kind of failure of a single call: tried again where that is safe, told in one message."""

import base64
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import retry, transfer
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import authenticate, find_username, query, send_request
from pipeline.kaggle.redact import redact_text
from pipeline.kaggle.retry import call_with_retries
from tests.kaggle.server import KEY, RULES, TOKEN, USER, Reply
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions

PASSING = ("429", "gateway", "500", "503", "reset", "lost", "cut", "corrupt", "html")
BASIC = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
LIMITS = "GetSubmissionLimits"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def kaggle(kaggle):
    Competitions(kaggle, Storage(kaggle)).scorers["pets"] = lambda _: ("0", "0")
    return kaggle


def limits(*, safe: bool = True):
    api = authenticate()
    purpose = CallPurpose(doing="asking for the limits", kind="competition", name="pets")
    return call_with_retries(
        api.competition_get_submission_limits, "pets", purpose=purpose, safe_to_repeat=safe
    ).num_allowed_now


def status_of_a_kernel():
    api, purpose = authenticate(), CallPurpose(doing="asking", kind="kernel", name="tester/x-ray")
    return call_with_retries(api.kernels_status, "tester/x-ray", purpose=purpose, safe_to_repeat=True)


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_tried_again(kaggle, fault):
    kaggle.faults[LIMITS, fault] = retry.MAX_ATTEMPTS - 1
    assert limits() == 5 and kaggle.count(LIMITS) == retry.MAX_ATTEMPTS


def test_silence_has_an_end_and_is_tried_again(kaggle, impatient):
    kaggle.faults[LIMITS, "silence"] = 1
    assert limits() == 5


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("429", "asked less often"),
        ("gateway", "asked less often"),
        ("500", "server has a fault: asking for the limits failed"),
        ("503", "server has a fault"),
        ("reset", "connection to Kaggle broke off"),
        ("cut", "connection to Kaggle broke off"),
        ("corrupt", "cannot be read"),
        ("html", "cannot be read"),
    ],
)
def test_a_fault_that_stays_is_given_up_with_one_message(kaggle, fault, words):
    kaggle.faults[LIMITS, fault] = 99
    with pytest.raises(KaggleError, match=words) as caught:
        limits()
    assert kaggle.count(LIMITS) == retry.MAX_ATTEMPTS and not caught.value.uncertain and "remedy" in str(caught.value)


def test_silence_that_stays_is_said_to_be_silence(kaggle, impatient):
    kaggle.faults[LIMITS, "silence"] = 99
    with pytest.raises(KaggleError, match="did not answer in time"):
        limits()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("400", "Kaggle refuses: asking for the limits failed"),
        ("401", "credentials: the token is stale or wrong"),
        ("rules", "pets/rules"),
        ("slug", "knows no competition 'pets'"),
        ("participate", "does not take part in 'pets'"),
        ("phone", "wants a verified account"),
        ("404", "knows no competition 'pets'"),
    ],
)
def test_a_refusal_is_told_at_once_each_kind_in_its_own_words(kaggle, fault, words):
    kaggle.faults[LIMITS, fault] = 99
    with pytest.raises(KaggleError, match=words) as caught:
        limits()
    assert kaggle.count(LIMITS) == 1 and caught.value.status == int(fault if fault.isdigit() else 403)


def test_a_refusal_within_a_200_is_one(kaggle):
    kaggle.calls[LIMITS] = lambda _: Reply(content={"code": 403, "message": RULES})
    with pytest.raises(KaggleError, match="pets/rules") as caught:
        limits()
    assert caught.value.status == 403


def test_a_wrong_kernel_and_a_stale_token_are_told_apart_where_the_client_does_not(kaggle):
    kaggle.faults["GetKernelSessionStatus", "kernel"] = 1
    with pytest.raises(KaggleError, match=r"knows no kernel 'tester/x-ray'(.|\n)*kaggle.com/code/tester/x-ray"):
        status_of_a_kernel()
    kaggle.faults["GetKernelSessionStatus", "401"] = 1
    with pytest.raises(KaggleError, match="stale or wrong") as caught:
        status_of_a_kernel()
    assert caught.value.status == 401


@pytest.mark.parametrize("fault", ["429", "gateway"])
def test_what_was_put_off_is_repeated_even_where_repeating_is_not_safe(kaggle, fault):
    kaggle.faults[LIMITS, fault] = 1
    assert limits(safe=False) == 5 and kaggle.count(LIMITS) == 2


@pytest.mark.parametrize("fault", ["500", "503", "reset", "lost", "cut", "corrupt", "html"])
def test_what_kaggle_may_have_done_is_never_repeated(kaggle, fault):
    kaggle.faults[LIMITS, fault] = 1
    with pytest.raises(KaggleError, match="not known whether Kaggle did it") as caught:
        limits(safe=False)
    assert kaggle.count(LIMITS) == 1 and caught.value.uncertain


def test_silence_is_never_repeated_where_that_is_not_safe(kaggle, impatient):
    kaggle.faults[LIMITS, "silence"] = 1
    with pytest.raises(KaggleError) as caught:
        limits(safe=False)
    assert kaggle.count(LIMITS) == 1 and caught.value.uncertain


def test_a_connection_that_never_stood_is_tried_again_and_certain(kaggle, monkeypatch):
    import kagglesdk.kaggle_env as env

    tried = []
    monkeypatch.setattr(retry, "_log_retry", lambda *_: tried.append(1))
    monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.PROD, "http://127.0.0.1:9")
    with pytest.raises(KaggleError, match="cannot be reached") as caught:
        limits(safe=False)
    assert len(tried) == retry.MAX_ATTEMPTS - 1 and not caught.value.uncertain


def test_kaggles_wait_is_waited_for(kaggle):
    kaggle.retry_after = "1"
    kaggle.faults[LIMITS, "429"] = 1
    started = time.monotonic()
    assert limits() == 5 and time.monotonic() - started >= 0.4


def test_kaggles_wait_may_be_a_date(kaggle):
    when = datetime.now(UTC) + timedelta(seconds=1.5)
    kaggle.retry_after = format_datetime(when.replace(microsecond=0), usegmt=True)
    kaggle.faults[LIMITS, "429"] = 1
    assert limits() == 5 and datetime.now(UTC) >= when.replace(microsecond=0)


def test_a_long_wait_is_told_instead(kaggle):
    kaggle.retry_after = "3600"
    kaggle.faults[LIMITS, "429"] = 1
    with pytest.raises(KaggleError, match="wait 60 minutes"):
        limits()
    assert kaggle.count(LIMITS) == 1


def test_a_token_is_used_before_a_key(kaggle, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert limits() == 5 and find_username(authenticate()) == USER
    assert kaggle.requests[-2][2] == f"Bearer {TOKEN}" or kaggle.requests[-1][2] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("place", ["KAGGLE_API_TOKEN", "access_token"])
def test_a_stale_token_is_named_though_there_is_a_good_key(kaggle, monkeypatch, user, place):
    if place == "KAGGLE_API_TOKEN":
        monkeypatch.setenv(place, "KGAT_5tale5tale5tale")
    else:
        (user / ".kaggle").mkdir()
        (user / ".kaggle" / "access_token").write_text("KGAT_5tale5tale5tale\n")
    with pytest.raises(StarshiftError, match=f"token in .*{place}") as caught:
        limits()
    assert kaggle.count(LIMITS) == 0 and "5tale" not in str(caught.value)


def test_signing_in_survives_a_fault_and_gives_up_with_one_message(kaggle, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.faults["IntrospectToken", "503"] = 2
    assert limits() == 5
    kaggle.faults["IntrospectToken", "503"] = 99
    with pytest.raises(StarshiftError, match="server has a fault: signing in failed"):
        limits()


def test_signing_in_does_not_wait_for_ever(kaggle, monkeypatch, impatient):
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.faults["IntrospectToken", "silence"] = 99
    with pytest.raises(StarshiftError, match="did not answer in time"):
        limits()


def test_a_request_that_is_misspelt_is_noticed(kaggle):
    with pytest.raises(AttributeError):
        send_request(authenticate(), "competitions.competition_api_client.get_submision", {"ref": 1})
    with pytest.raises(ValueError, match="reff"):
        send_request(authenticate(), "competitions.competition_api_client.get_submission", {"reff": 1})


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_clients_own_verbose_output_shows_no_credentials(kaggle, monkeypatch, capsys, token):
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    api = authenticate()
    monkeypatch.setattr(api, "args", ["--verbose"])
    request, purpose = "competitions.competition_api_client.get_submission_limits", CallPurpose(doing="asking")
    query(api, request, {"competitionName": "pets"}, purpose)
    output = capsys.readouterr().out
    assert "Authorization: ***" in output and not any(secret in output for secret in (KEY, BASIC, TOKEN))


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Basic {BASIC}",
        f"{{'Authorization': 'Bearer {TOKEN}'}}",
        f"KAGGLE_KEY={KEY}",
        f'{{"username":"tester","key":"{KEY}"}}',
        f'{{"token": "{TOKEN}"}}',
        f"https://tester:{KEY}@proxy:3128 refused",
        f"GET https://storage.googleapis.com/x/a.zip?X-Goog-Credential=me&X-Goog-Signature={'ab12' * 9}&x=1",
        f"/upload/session?upload_id={'ADPycd' * 5} failed",
        f"a token out of nowhere: {TOKEN}",
    ],
)
def test_credentials_are_taken_out_of_any_text(user, text):
    hidden = (BASIC, KEY, TOKEN, "ab12ab12", "ADPycdADPycd")
    assert any(secret in text for secret in hidden) and not any(secret in redact_text(text) for secret in hidden)


def test_a_key_in_a_file_is_taken_out_in_any_form(user):
    (user / "kaggle.json").write_text('{"username": "ann", "key": "plainletters"}')
    whole = base64.b64encode(b"ann:plainletters").decode()
    assert redact_text(f"plainletters and {whole}, said ann") == "*** and ***, said ann"


def test_ordinary_words_stay(user):
    text = "KeyError: 'id'; token and key; basic things; https://www.kaggle.com/x?page=2 (10 of 12 rows)"
    assert redact_text(text) == text


def test_an_error_about_a_signed_address_does_not_show_the_signature(kaggle, user, tmp_path):
    path, url = tmp_path / "a.zip", f"http://127.0.0.1:9/a.zip?X-Goog-Signature={'ab12' * 9}"
    path.write_bytes(b"data")
    with pytest.raises(KaggleError, match="cannot be reached") as caught:
        transfer.upload_resumable(path, url, CallPurpose(doing="sending a.zip"))
    assert "ab12" not in str(caught.value)
