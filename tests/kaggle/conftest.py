"""The real client, talking to Kaggle on loopback: credentials, endpoint, and waits that are short."""

import os
import time
from pathlib import Path

import pytest

from pipeline.kaggle import retry
from tests.kaggle.server import KEY, USER, Kaggle


@pytest.fixture
def user(tmp_path, monkeypatch) -> Path:
    """A home folder without credentials, and no variables of Kaggle's."""
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def kaggle(user, monkeypatch):
    """A server that knows the user; whoever wants an answer adds topics to it."""
    import kagglesdk.kaggle_env as env

    server = Kaggle()
    for name, value in {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY, "HTTPS_PROXY": server.address}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.PROD, server.address)
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    yield server
    server.stop()


@pytest.fixture
def impatient(monkeypatch):
    """Silence is not waited out for long. Only for tests of silence: a busy machine may be silent, too."""
    monkeypatch.setattr(retry, "TIMEOUT", (5.0, 0.3))


@pytest.fixture
def quick(monkeypatch):
    """The client's own pauses pass at once."""
    waited = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: waited(min(seconds, 0.01)))
