"""Only a whole parcel is a result."""

import hashlib
import json
import zipfile

import pytest

from pipeline.errors import StarshiftError
from pipeline.kernels import result_archive


@pytest.fixture
def packed(home, tmp_path):
    run = home / "data" / "runs" / "pets" / "one"
    run.mkdir(parents=True)
    (run / "metrics.json").write_text("{}")
    (run / "model.keras").write_bytes(bytes(5000))
    for name in (".metrics.json.7.partial", ".7.partial.model.keras"):  # see files.write_atomic and files.replacing
        (run / name).write_text("half")
    store = home / "data" / "cache" / "features"
    for key, pooling in (("pooled", "avg"), ("maps", "none")):
        (store / key).mkdir(parents=True)
        (store / key / "spec.json").write_text(json.dumps({"pooling": pooling}))
        (store / key / "a.npy").write_bytes(b"rows")
        (store / key / "a.json").write_text("{}")
        (store / key / "stray.npy").write_bytes(b"no sidecar")
    path = tmp_path / "working" / result_archive.ARCHIVE_NAME
    result_archive.write_archive(
        path, home, result_archive.list_result_files(home, "pets"), {"state": "complete", "order": "abc"}
    )
    return path


def test_a_parcel_holds_the_run_and_the_pooled_features_and_reads_back(packed, tmp_path):
    found = result_archive.load_archive(packed)
    assert found.summary["order"] == "abc"
    features = {f"data/cache/features/pooled/{name}" for name in ("spec.json", "a.json", "a.npy")}
    assert set(found.files) == {f"data/runs/pets/one/{n}" for n in ("metrics.json", "model.keras")} | features
    found.extract({"data/runs/pets/one/model.keras": tmp_path / "out" / "m"})
    assert (tmp_path / "out" / "m").read_bytes() == bytes(5000)


def test_an_error_page_is_no_result(tmp_path):
    page = tmp_path / result_archive.ARCHIVE_NAME
    page.write_text("<html>500 Internal Server Error</html>")
    with pytest.raises(StarshiftError, match=r"no whole result(.|\n)*<html>500"):
        result_archive.load_archive(page)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_parcel_is_no_result(packed, keep):
    data = packed.read_bytes()
    packed.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(StarshiftError, match="no whole result"):
        result_archive.load_archive(packed)


def test_one_changed_byte_is_noticed(packed):
    data = bytearray(packed.read_bytes())
    data[data.index(bytes(100)) + 50] ^= 1
    packed.write_bytes(data)
    with pytest.raises(StarshiftError, match="no whole result"):
        result_archive.load_archive(packed)


def rewritten(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def other_content(members):
    members["data/runs/pets/one/metrics.json"] = b'{"score": 1}'


def one_more(members):
    members["data/extra"] = b"x"


def one_outside(members):
    manifest = json.loads(members["manifest.json"])
    manifest["files"]["../evil"] = hashlib.sha256(b"x").hexdigest()
    members |= {"manifest.json": json.dumps(manifest).encode(), "../evil": b"x"}


@pytest.mark.parametrize("change", [other_content, one_more, one_outside])
def test_a_parcel_that_is_not_as_its_manifest_says_is_refused(packed, change):
    rewritten(packed, change)
    with pytest.raises(StarshiftError, match="no whole result"):
        result_archive.load_archive(packed)


def test_progress_differs_where_a_result_does_and_not_for_what_was_said(packed, home):
    before = result_archive.load_archive(packed).summary["progress"]
    run = home / "data" / "runs" / "pets"
    (run / "session.log").write_text("words")
    result_archive.write_archive(
        packed, home, result_archive.list_result_files(home, "pets"), {"state": "complete", "order": "abc"}
    )
    assert result_archive.load_archive(packed).summary["progress"] == before
    (run / "one" / "checkpoint.npz").write_bytes(b"epoch 2")
    result_archive.write_archive(
        packed, home, result_archive.list_result_files(home, "pets"), {"state": "complete", "order": "abc"}
    )
    assert result_archive.load_archive(packed).summary["progress"] != before


def respelled(spelling):
    def change(members):
        manifest = json.loads(members["manifest.json"])
        manifest["files"][spelling] = hashlib.sha256(b"other").hexdigest()
        members |= {"manifest.json": json.dumps(manifest).encode(), spelling: b"other"}

    return change


@pytest.mark.parametrize(
    "spelling",
    [
        *(
            "data/./runs/pets/one/metrics.json",
            "data//runs/pets/one/metrics.json",
            "./data/x",
            "data",
            "data/",
            "/data/x",
        ),
        *("data/runs/pets/one/metrics.json/x", "data/...", "data/" + "d/" * 2000 + "x", "data/" + "x" * 256),
    ],
)
def test_a_second_spelling_of_a_name_is_refused_and_so_is_what_no_disk_takes(packed, spelling):
    rewritten(packed, respelled(spelling))
    with pytest.raises(StarshiftError, match="no whole result"):
        result_archive.load_archive(packed)


@pytest.mark.parametrize("manifest", [b"[]", b"3", b"null", b'{"files": 3, "state": "complete"}', b'{"files": [[]]}'])
def test_a_manifest_of_other_values_is_no_result(packed, manifest):
    rewritten(packed, lambda members: members.update({"manifest.json": manifest}))
    with pytest.raises(StarshiftError, match="no whole result"):
        result_archive.load_archive(packed)


def test_a_changed_byte_of_what_is_compressed_is_noticed(home, tmp_path):
    table = home / "data" / "runs" / "pets" / "oof.csv"
    table.parent.mkdir(parents=True)
    table.write_text("".join(f"{number},{number**3 % 97}\n" for number in range(3000)))
    path = tmp_path / result_archive.ARCHIVE_NAME
    result_archive.write_archive(path, home, [table], {"state": "complete", "order": "abc"})
    whole = path.read_bytes()
    for place in range(200, 500, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(StarshiftError, match="no whole result"):
            result_archive.load_archive(path)
