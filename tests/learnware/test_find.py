"""The search of a folder: what is said, what is written, and what is refused before a picture is looked at."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.learnware import search
from pipeline.learnware.probe import FolderFeatures
from pipeline.learnware.store import Store
from tests.learnware.drawing import GAMMA, PROBE, WIDTH, features, specified

SPECIFICATIONS = [specified("north", 0), specified("south", 6, ("up", "down"))]


def store(specifications=SPECIFICATIONS, gamma=GAMMA):
    learnwares = [SimpleNamespace(specification=one) for one in specifications]
    real = Store(folder=Path("my store"), probe=PROBE, gamma=gamma)
    return SimpleNamespace(**vars(real), flag=real.flag, learnwares=lambda: iter(learnwares))


@pytest.fixture
def looked(monkeypatch, caplog):
    """Lets the folder's pictures be these features; gives what was said."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(search, "load_probe_base", lambda probe: "base")

    def these(values):
        names = tuple(f"{number}.jpg" for number in range(len(values)))
        seen = FolderFeatures(names=names, features=values, unreadable={"b.jpg": "no picture"}, copies=2)
        monkeypatch.setattr(search, "extract_folder_features", lambda *_: seen)
        return caplog

    return these


def test_a_search_says_and_writes_what_fits_and_where_pictures_belong(looked):
    said = looked(features(6, 30, 1)[0])
    report = read_json(search.run_search(Path("my photos"), store()))
    assert "south fits" in said.text
    assert "b.jpg cannot be read: no picture" in said.text
    assert "next: invoke predict --learnware south --store 'my store' --images 'my photos'" in said.text
    assert [match["name"] for match in report["matches"]] == ["south", "north"]
    assert (report["fits"], report["pictures"], report["copies"]) == (True, 30, 2)
    assert report["mixture"]["weights"]["south"] > 0.9
    assert report["belongs"]["0.jpg"] == "south"


def test_nothing_fits_is_an_answer(looked):
    said = looked(np.random.default_rng(0).normal(0, 0.5, (40, WIDTH)) - 3 * np.eye(WIDTH)[10])
    report = read_json(search.run_search(Path("mine"), store()))
    assert "nothing here fits" in said.text
    assert "next: invoke predict" not in said.text
    assert not report["fits"]
    assert set(report["belongs"].values()) == {None}


def test_what_only_a_mixture_covers_is_said(looked):
    said = looked(np.concatenate([features(0, 60, 1)[0], features(6, 60, 1)[0]]))
    search.run_search(Path("mine"), store())
    assert "no single learnware fits, but together they cover your pictures" in said.text


def test_one_class_alone_is_said_to_come_in_other_proportions(looked):
    values, labels = features(6, 100, 1)
    said = looked(values[labels == 0])
    search.run_search(Path("mine"), store())
    assert "south knows such pictures" in said.text


def test_the_filter_by_classes_says_who_was_left_out(looked):
    said = looked(features(6, 30, 1)[0])
    report = read_json(search.run_search(Path("mine"), store(), ["up"]))
    assert "left out: north (does not know up)" in said.text
    assert report["left_out"] == {"north": "does not know up"}


def test_an_empty_store_and_unknown_classes_are_refused_before_a_picture_is_looked_at(monkeypatch):
    monkeypatch.setattr(search, "extract_folder_features", lambda *_: pytest.fail("looked at pictures"))
    with pytest.raises(StarshiftError, match="no learnware to compare with"):
        search.run_search(Path("mine"), store([]))
    with pytest.raises(StarshiftError, match="no learnware to compare with"):
        search.run_search(Path("mine"), store(), ["zebra"])
