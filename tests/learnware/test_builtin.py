"""What the repository puts into a store itself, offline."""

import pytest

from pipeline.learnware import builtin, store
from tests.cli.test_tasks import invoke


def test_the_worlds_pictures_are_drawn_once_and_are_others_than_those_of_pretraining(monkeypatch):
    monkeypatch.setattr(builtin, "PICTURES_PER_CLASS", 1)
    monkeypatch.setattr(builtin.world, "CLASSES", builtin.world.CLASSES[:2])
    competition = builtin.draw_world()
    folder = builtin.Path(competition.data)
    pictures = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert pictures == ["plant 01/0.png", "plant 02/0.png"] and builtin.FIRST_PICTURE > 10**6 + 1000
    (folder / "plant 01" / "0.png").unlink()
    builtin.draw_world()
    assert not (folder / "plant 01" / "0.png").exists()


@pytest.mark.slow
def test_a_started_store_lists_verifies_and_predicts_offline_and_is_not_made_twice(home, tmp_path):
    done = invoke("store.start", "--engine", "keras")
    assert done.returncode == 0, done.stderr
    found = store.open_store(home / "data" / "store")
    assert found.names == ["sprouts", "world"] and found.probe.base == "petite"
    assert invoke("store.verify").returncode == 0
    again = invoke("store.start", "--engine", "keras")
    assert "sprouts is there already" in again.stdout and "world is there already" in again.stdout
    pictures = home / "data" / "competitions" / "sprouts" / "raw" / "test"
    out = tmp_path / "out.csv"
    flags = ("--images", str(pictures), "--out", str(out), "--by", "mixture")
    told = invoke("predict", "--learnware", "sprouts", "--learnware", "world", *flags)
    assert told.returncode == 1 and "share no classes" in told.stderr
    told = invoke("predict", "--learnware", "sprouts", "--learnware", "world", *flags[:-1], "picture")
    assert told.returncode == 0, told.stderr
    routed = out.read_text().count(",sprouts,")
    assert routed > 400, "442 of 600 when it was written; by chance 300 +- 12: drawn leaves look alike to petite"
