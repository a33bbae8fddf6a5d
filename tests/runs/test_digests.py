"""A damaged file of a run is named, whatever byte it is that changed, and never blocks the others."""

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json
from pipeline.models.heads import Head
from pipeline.runs import folder as runs
from pipeline.runs import listing
from pipeline.runs.load import load_heads, load_model, load_run
from pipeline.training.export import HEADS_FILE, write_heads
from tests.written import written


@pytest.fixture
def run():
    folder = written(1.0)
    runs.write_table(folder / "history.csv", [{"fold": 0, "l2": 0.1}])
    write_heads(folder / HEADS_FILE, [Head(((np.ones((4, 4), np.float32), np.zeros(4, np.float32)),))])
    runs.write_digests(folder)
    return folder


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


READERS = {
    "config.json": load_run,
    "environment.json": load_run,
    "folds.csv": load_run,
    "metrics.json": load_run,
    "oof.npz": load_run,
    "history.csv": runs.read_history,
    HEADS_FILE: load_heads,
}


@pytest.mark.parametrize("name", READERS)
def test_one_flipped_bit_is_named(run, name):
    READERS[name](run)
    flip(run / name)
    with pytest.raises(StarshiftError, match=f"{name} is damaged"):
        READERS[name](run)


@pytest.mark.parametrize("name", ["metrics.json", "config.json"])
def test_a_run_with_a_damaged_record_is_left_out_of_the_list_and_the_others_stay(run, name, caplog):
    other = written(2.0, seed=1)
    flip(run / name)
    assert [one.run for one in listing.list_runs("mine")] == [other.name]
    assert f"{run.name} is left out: {run.name}/{name} is damaged" in caplog.text


def test_a_damaged_run_of_the_same_configuration_does_not_block_a_new_one(run):
    config = read_json(run / "config.json")
    flip(run / "config.json")
    opened = runs.create_run_folder("mine", config["competition"]["recipe"]["strategy"], config, config["fingerprint"])
    assert opened != run and not runs.is_finished(opened)


def test_a_run_without_digests_is_read_and_its_damaged_arrays_are_named(run):
    (run / runs.DIGESTS_FILE).unlink()
    load_run(run)
    (run / HEADS_FILE).write_bytes(b"no arrays")
    with pytest.raises(StarshiftError, match=r"heads\.npz is damaged"):
        load_heads(run)


def test_what_is_written_after_the_end_of_a_run_has_no_digest(run):
    write_json(run / runs.NOTE_FILE, {"name": "mine"})
    runs.write_digests(run)
    assert set(read_json(run / runs.DIGESTS_FILE)) == {*READERS}


def test_a_model_that_is_cut_off_is_named(run):
    (run / "models").mkdir()
    (run / "models" / "fold0.keras").write_bytes(b"PK cut off")
    with pytest.raises(StarshiftError, match=r"models/fold0\.keras is damaged"):
        load_model(run / "models" / "fold0.keras")
