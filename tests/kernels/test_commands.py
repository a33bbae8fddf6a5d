"""The flags of `invoke run --on kaggle`, and `invoke kernel`, through the tasks themselves."""

import logging

import pytest
from invoke import Context

from pipeline.cli.kernel import follow
from pipeline.cli.run import run
from pipeline.kernels import records

pytestmark = pytest.mark.filterwarnings("ignore")
MINE = """
from pipeline.config import Competition, Recipe
COMPETITION = Competition(name="pets", slug="pets-slug", recipe=Recipe(strategy="scratch"))
"""


@pytest.fixture(autouse=True)
def words(monkeypatch):
    """A task sets up the words on the terminal; they are as before afterwards."""
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    monkeypatch.setattr(logging.root, "level", logging.root.level)


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def test_a_dry_run_says_what_would_be_sent_from_a_competition_file_of_one_s_own(kernels, kaggle, mine, capsys):
    run(Context(), comp=mine, on="kaggle", dry_run=True, accelerator="cpu", internet=True, seed="3")
    said = capsys.readouterr().out
    assert '"pets-slug"' in said and '"enable_internet": true' in said and '"enable_gpu": false' in said
    assert "bytes of at most 900,000" in said and not kaggle.asked


def test_a_push_that_is_not_waited_for_is_picked_up_by_kernel(kernels, mine, capsys):
    run(Context(), comp=mine, on="kaggle", wait=False, seed="3")
    assert (
        kernels.latest().body["text"].count("PAYLOAD")
        and records.list_records("pets")[0].accelerator == "NvidiaTeslaT4"
    )
    follow(Context(), comp=mine, wait=False)
    said = capsys.readouterr().out
    assert "starshift-pets-" in said and "status    running" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"on": "moon"}, "--on kaggle"),
        ({"dry_run": True}, "--on kaggle"),
        ({"attach": ["me/x"]}, "--attach: only for a run on Kaggle"),
        ({"accelerator": "cpu", "wait": False}, "--accelerator, --no-wait: only for a run on Kaggle"),
        ({"on": "kaggle", "force": True}, "--force"),
        ({"on": "kaggle", "dry_run": True, "attach": ["datasets/me/x"]}, "remedy: --attach me/x"),
        ({"on": "kaggle", "dry_run": True, "attach": ["me/x/3"]}, "without a version"),
    ],
)
def test_flags_without_a_meaning_are_explained(mine, capsys, flags, words):
    with pytest.raises(SystemExit):
        run(Context(), comp=mine, **flags)
    assert words in capsys.readouterr().err


def test_nothing_to_pick_up_is_said(mine, capsys):
    with pytest.raises(SystemExit):
        follow(Context(), comp=mine)
    assert "Nothing was pushed for pets" in capsys.readouterr().err
