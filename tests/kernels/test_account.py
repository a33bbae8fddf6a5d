"""`invoke kaggle.check`: who is signed in, what Kaggle allows, and what can be said without it."""

import json

import pytest
from invoke import Context

from pipeline.cli import kernel
from pipeline.kaggle import kaggle_private
from pipeline.kernels.account import check_account, format_account
from tests.kaggle.server import KEY, USER
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions
from tests.kernels.conftest import PETS, SLUG

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def competitions(kernels, kaggle):
    served = Competitions(kaggle, Storage(kaggle))
    served.scorers[SLUG] = lambda _: ("0", "0")
    return served


def lines():
    return "\n".join(line for block in format_account(check_account([PETS])) for line in block)


def test_the_account_its_quota_and_its_rules_are_named(competitions):
    shown = lines()
    assert f"account   {USER}, by a key" in shown and "20.0 of 30 GPU hours left" in shown
    assert "KAGGLE_USERNAME and KAGGLE_KEY" in shown and "accepted" in shown and KEY not in shown


def test_rules_that_are_not_accepted_have_their_page(competitions):
    competitions.entered = False
    assert f"not accepted: https://www.kaggle.com/competitions/{SLUG}/rules" in lines()


def test_a_quota_that_is_not_told_is_not_made_up(competitions, kaggle):
    kaggle.faults["GetAcceleratorQuotaStatistics", "400"] = 1
    record = check_account([PETS])
    assert record["quota"] is None and record["username"] == USER


def test_a_competition_that_kaggle_does_not_show_is_no_reason_to_stop(competitions):
    competitions.scorers.clear()
    record = check_account([PETS])
    assert record["username"] == USER and "knows no competition" in record["competitions"][0]["problem"]


def test_a_code_competition_is_told(competitions):
    competitions.kernels_only.add(SLUG)
    assert check_account([PETS])["competitions"][0]["kernels_only"] is True


def test_a_wrong_key_is_noticed_though_signing_in_asks_nothing(competitions, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "n0tth1s0ne")
    record = check_account([PETS])
    assert record["username"] is None and "stale or wrong" in record["problem"]


def test_without_a_network_credentials_and_versions_are_told(competitions, monkeypatch):
    import kagglesdk.kaggle_env as env

    monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.PROD, "http://127.0.0.1:9")
    shown = lines()
    assert "not signed in" in shown and "Kaggle cannot be reached" in shown
    assert "KAGGLE_USERNAME and KAGGLE_KEY" in shown and "kagglesdk 0.1.38" in shown


def test_without_credentials_it_says_how_to_get_them_and_exits_with_1(competitions, monkeypatch, capfd, user):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(kaggle_private.load_api_class(), "config", str(user / "kaggle.json"))
    (user / "kaggle.json").write_text("")
    with pytest.raises(SystemExit) as ended:
        kernel.check(Context(), comp="dog-breed", json=True)
    document = json.loads(capfd.readouterr().out)
    assert ended.value.code == 1 and document["credentials"][0]["fault"] == "it is empty"
    assert "kaggle auth login" not in document["problem"] and "it is empty" in document["problem"]
