"""Rows on disk: found by id, whole or not there, and added to without touching what is there."""

import numpy as np
import pytest

from pipeline.data.row_store import (
    DamagedShardError,
    RowStore,
    compute_row_digest,
    compute_shard_rows,
    run_in_background,
)


def store_in(folder) -> RowStore:
    return RowStore(folder, {"kind": "test", "size": 4})


def add(store, ids, offset=0):
    rows = np.arange(len(ids) * 3, dtype=np.float32).reshape(-1, 3) + offset
    store.append(ids, rows, [compute_row_digest(row) for row in rows])
    return rows


def test_the_key_of_a_store_is_golden(tmp_path):
    assert store_in(tmp_path).key == "712b5f3fa0c869fb"


def test_rows_come_back_in_the_order_asked_for(tmp_path):
    first, second = add(store_in(tmp_path), ["a", "b"]), add(store_in(tmp_path), ["c"], 100)
    read = store_in(tmp_path).read(["c", "a", "b", "a"])
    assert (read == np.stack([second[0], first[0], first[1], first[0]])).all()


def test_rows_that_follow_each_other_are_lent_as_they_lie_on_disk_and_cannot_be_written_to(tmp_path):
    rows = add(store_in(tmp_path), ["a", "b", "c", "d"])
    lent = store_in(tmp_path).read(["b", "c"], copied=False)
    assert (lent == rows[1:3]).all()
    with pytest.raises(ValueError, match="read-only"):
        lent[0] = 0


@pytest.mark.parametrize("ids", [["c", "b"], ["a", "c"], ["b", "b"], ["c", "e"], ["e", "c"]])
def test_rows_that_do_not_follow_each_other_are_copied_in_order_whatever_was_asked_for(tmp_path, ids):
    one, other = add(store_in(tmp_path), ["a", "b", "c"]), add(store_in(tmp_path), ["d", "e"], 100)
    found = store_in(tmp_path).read(ids, copied=False)
    assert (found == np.concatenate([one, other])[["abcde".index(name) for name in ids]]).all()
    found[0] = 0


def test_a_shard_without_its_sidecar_does_not_count(tmp_path):
    store = store_in(tmp_path)
    add(store, ["a"])
    next(path for path in store.folder.glob("*.json") if path.stem != "spec").unlink()
    assert store_in(tmp_path).missing(["a"]) == ["a"]


def test_a_sidecar_without_its_array_does_not_count(tmp_path):
    store = store_in(tmp_path)
    add(store, ["a"])
    next(store.folder.glob("*.npy")).unlink()
    assert store_in(tmp_path).missing(["a"]) == ["a"]


def test_a_damaged_row_is_noticed_and_becomes_missing(tmp_path):
    store = store_in(tmp_path)
    add(store, ["a", "b"])
    path = next(store.folder.glob("*.npy"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    fresh = store_in(tmp_path)
    with pytest.raises(DamagedShardError):
        fresh.read(["a"])
    assert fresh.missing(["a", "b"]) == ["a", "b"]


def test_adding_rows_leaves_the_old_shards_as_they_were(tmp_path):
    store = store_in(tmp_path)
    add(store, ["a"])
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert store.missing(["a", "b"]) == ["b"]
    add(store, ["b"])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_dropped_rows_are_missing_and_those_beside_them_stay(tmp_path):
    store = store_in(tmp_path)
    rows = add(store, ["a", "b", "c"])
    store.append(["d"], rows[:1] + 100, unreadable={"x": "truncated"})
    add(store, ["e"], 200)
    untouched = store.shards()
    store.drop(["b", "d", "nobody"])
    for one in (store, store_in(tmp_path)):
        assert one.missing("abcdex") == ["b", "d"] and one.unreadable(["x"]) == {"x": "truncated"}
        assert (one.read(["c", "a"]) == rows[[2, 0]]).all() and one.read(["e"])[0, 0] == 200
    assert len(store.shards()) == 3 and len(set(store.shards()) & set(untouched)) == 1
    add(store, ["b"], 300)
    assert store.read(["b"])[0, 0] == store_in(tmp_path).read(["b"])[0, 0] == 300


def test_unreadable_pictures_are_remembered_with_their_reason(tmp_path):
    store_in(tmp_path).append([], np.empty(0, np.uint8), [], {"x": "truncated"})
    fresh = store_in(tmp_path)
    assert fresh.missing(["x"]) == [] and fresh.unreadable(["x"]) == {"x": "truncated"}


def test_large_rows_make_small_shards():
    assert compute_shard_rows(5120) == 512 and compute_shard_rows(800 * 800 * 3) == 52


def test_what_is_written_behind_is_written_in_order_and_what_it_raises_is_raised():
    done = []
    with run_in_background() as write:
        for number in range(3):
            write(done.append, number)
    assert done == [0, 1, 2]

    def full(number):
        raise OSError(f"no space for {number}")

    with pytest.raises(OSError, match="no space for 7"), run_in_background() as write:
        write(full, 7)
    with pytest.raises(OSError, match="no space for 8"), run_in_background() as write:
        write(full, 8)
        write(done.append, 9)
    assert done == [0, 1, 2]
