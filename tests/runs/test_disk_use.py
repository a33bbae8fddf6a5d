"""What is on the disk, by competition and by kind; and how to free it."""

import json

from pipeline.runs.disk_use import count_freed_bytes, measure_disk_use
from tests.cli.test_tasks import invoke


def put(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_every_file_counts_for_its_competition_and_its_kind(home):
    for place, size in (
        ("data/competitions/pets/raw/train/1.jpg", 1),
        ("data/competitions/pets/download/pets.zip", 2),
        ("data/competitions/pets/table.json", 4),
        ("data/runs/pets/20261124-203219-features/oof.npz", 8),
        ("data/reports/pets/audit.html", 16),
        ("submissions/pets/latest.csv", 32),
        ("data/cache/pixels/abc/0.npy", 64),
        ("data/store/pets.learnware", 128),
        ("data/reports/store/search.json", 256),
        ("data/ladders/pets/ladder.json", 512),
    ):
        put(home / place, size)
    use = measure_disk_use()
    assert use.competitions == {
        "pets": {"raw": 1, "download": 2, "other": 4, "runs": 8, "reports": 16, "submissions": 32}
    }
    assert use.shared == {"pixels": 64, "store": 128 + 256, "other": 512} and use.total == 1023


def test_a_hard_link_counts_once_and_a_link_to_elsewhere_is_not_followed(home, tmp_path):
    model = put(home / "data" / "runs" / "pets" / "one" / "model.keras", 1000)
    (model.parent / "fold0.keras").hardlink_to(model)
    put(tmp_path / "elsewhere" / "large", 10_000)
    (model.parent / "linked").symlink_to(tmp_path / "elsewhere" / "large")
    assert 1000 <= measure_disk_use().competitions["pets"]["runs"] < 2000


def test_what_has_a_link_elsewhere_is_not_freed(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    outside.mkdir()
    (inside / "second").parent.mkdir()
    (inside / "second").hardlink_to(put(inside / "first", 100))
    assert count_freed_bytes([inside]) == 100
    (outside / "third").hardlink_to(inside / "first")
    assert count_freed_bytes([inside]) == 0 and count_freed_bytes([inside, outside]) == 100


def test_an_empty_home_takes_nothing():
    assert measure_disk_use().total == 0


def test_the_command_line_names_how_to_free_what_is_there(home):
    put(home / "data" / "runs" / "pets" / "one" / "model.keras", 2_000_000)
    document = json.loads(invoke("disk", "--json").stdout)
    assert document["competitions"][0]["runs"] == document["total"] == 2_000_000
    assert set(document["removal"]) == {"runs"} and "invoke runs.delete" in document["removal"]["runs"]
    assert "2.0 MB in" in invoke("disk").stdout
