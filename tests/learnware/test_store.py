"""A store: what makes its learnwares comparable, and that one bad archive does not spoil the others."""

import json
from dataclasses import replace

import pytest
from invoke import Context

from pipeline.cli import learnware
from pipeline.errors import StarshiftError
from pipeline.learnware import store
from tests.learnware import making


def test_a_new_store_takes_the_probe_it_is_given_and_keeps_it(tmp_path, home):
    probe = store.parse_probe("petite")
    assert probe.base == "petite" and probe.size == 128 and len(probe.digest) == 64 and probe.preprocessing == "tf"
    begun = store.open_or_create_store(None, probe)
    assert begun.folder == home / "data" / "store" and begun.gamma is None and not begun.folder.exists()
    store.write_store(replace(begun, gamma=0.3))
    assert store.open_store() == store.open_or_create_store(None, probe) == replace(begun, gamma=0.3)
    with pytest.raises(StarshiftError, match="another probe"):
        store.open_or_create_store(None, store.parse_probe("petite", 96))


def test_a_store_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(StarshiftError, match="no store in"):
        store.open_store(tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        "no json", "[]", "{}", '{"version": 2}', '{"version": 1, "probe": {}, "gamma": 1.0}',
        '{"version": 1, "probe": {"base": "x", "size": "1", "digest": "", "preprocessing": ""}, "gamma": 1.0}',
        '{"version": 1, "probe": {"base": "x", "size": 1, "digest": "", "preprocessing": ""}, "gamma": -1.0}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused(shelf, record):
    (shelf / store.STORE_FILE).write_text(record)
    with pytest.raises(StarshiftError, match="cannot be used"):
        store.open_store(shelf)


def test_learnwares_that_cannot_be_compared_are_refused(shelf):
    found = store.open_store(shelf)
    for other, words in (
        (replace(found, probe=replace(found.probe, digest="b" * 64)), "another probe"),
        (replace(found, probe=replace(found.probe, size=96)), "another probe"),
        (replace(found, gamma=1.0), "another gamma"),
    ):
        with pytest.raises(StarshiftError, match=words):
            other.learnware("tiny")
        assert list(other.learnwares()) == []


def test_a_bad_archive_is_told_and_the_others_are_used(shelf, model, caplog):
    making.made(shelf, model, "good")
    data = bytearray((shelf / "tiny.learnware").read_bytes())
    data[len(data) // 2] ^= 1
    (shelf / "tiny.learnware").write_bytes(data[:-30])
    (shelf / "bad.learnware").write_bytes(b"no zip")
    found = store.open_store(shelf)
    assert [one.name for one in found.learnwares()] == ["good"]
    assert "bad.learnware is refused" in caplog.text
    assert {name: bool(reason) for name, reason in store.verify_learnwares(found).items()} == {
        "bad": True, "good": False, "tiny": True,
    }  # fmt: skip


def test_the_tasks_list_show_verify_and_remove(shelf, capsys):
    folder = str(shelf)
    learnware.list_(Context(), store=folder)
    said = capsys.readouterr().out
    assert "tiny" in said and "accuracy 0.90000 ± 0.01000" in said and "petite at 128 px" in said
    learnware.show(Context(), learnware="tiny", store=folder)
    assert "# tiny" in capsys.readouterr().out
    learnware.verify(Context(), store=folder)
    assert "4 probe pictures answered as before" in capsys.readouterr().out
    (shelf / "bad.learnware").write_bytes(b"no zip")
    with pytest.raises(SystemExit):
        learnware.verify(Context(), store=folder)
    learnware.verify(Context(), learnware=["tiny"], store=folder)
    for name in ("bad", "tiny"):
        learnware.remove(Context(), learnware=name, store=folder)
    assert [path.name for path in shelf.iterdir()] == [store.STORE_FILE]
    with pytest.raises(SystemExit):
        learnware.remove(Context(), learnware="tiny", store=folder)
    assert "There is no learnware 'tiny'" in capsys.readouterr().err


def test_a_misspelt_learnware_is_answered_by_the_nearest(shelf):
    with pytest.raises(StarshiftError, match=r"no learnware 'tinny'[^?]*did you mean tiny\?"):
        store.open_store(shelf).learnware("tinny")


def test_the_tasks_list_show_and_verify_print_json(shelf, capsys):
    learnware.list_(Context(), store=str(shelf), json=True)
    (listed,) = json.loads(capsys.readouterr().out)["learnwares"]
    learnware.show(Context(), learnware="tiny", store=str(shelf), json=True)
    shown = json.loads(capsys.readouterr().out)
    assert listed["name"] == "tiny" and {**shown, **listed} == shown and shown["card"].startswith("# tiny")
    learnware.verify(Context(), store=str(shelf), json=True)
    (verified,) = json.loads(capsys.readouterr().out)["learnwares"]
    assert verified["whole"] and "answered as before" in verified["finding"]


def test_a_name_cannot_lead_out_of_the_store(shelf):
    (shelf.parent / "outside.learnware").write_bytes(b"")
    for name in ("../outside", "/etc/passwd", "", "a.b"):
        with pytest.raises(StarshiftError, match="Unusable name"):
            store.remove_learnware(store.open_store(shelf), name)
    assert (shelf.parent / "outside.learnware").exists()


def test_the_record_says_what_the_store_is(shelf):
    record = json.loads((shelf / store.STORE_FILE).read_text())
    assert record["version"] == 1 and record["gamma"] == making.GAMMA and record["probe"]["base"] == "petite"
