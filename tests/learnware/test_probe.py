"""The probe looks at a folder's pictures, and is not mistaken for another."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware import probe
from pipeline.models import base
from tests.conftest import drawn, encoded

BASE = base.Base(name="petite", size=32, weights="none")


class Mean:
    """Stands for an engine: the mean colour."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture
def engine(monkeypatch):
    from pipeline.models import inference_engines

    monkeypatch.setattr(inference_engines, "choose_engine", lambda *_: inference_engines.EngineChoice(engine="keras"))
    monkeypatch.setattr(inference_engines, "load_engine", lambda *_: Mean())


def test_a_folder_is_looked_at_picture_by_picture_without_copies_and_broken_files(tmp_path, engine):
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    for name, tint in (("a.png", (60, 0, 0)), ("deep/b.png", (0, 60, 0)), ("deep/copy of a.png", (60, 0, 0))):
        (tmp_path / "mine" / name).write_bytes(encoded(drawn(1, tint=tint), "PNG"))
    (tmp_path / "mine" / "broken.jpg").write_bytes(b"no picture")
    seen = probe.extract_folder_features(tmp_path / "mine", BASE)
    assert seen.names == ("a.png", "deep/b.png")
    assert list(seen.unreadable) == ["broken.jpg"]
    assert seen.copies == 1
    assert seen.features.shape == (2, 3)
    assert seen.features[0].argmax() == 0
    assert seen.features[1].argmax() == 1


def test_a_folder_that_is_not_there_or_has_no_picture_is_refused(tmp_path):
    with pytest.raises(StarshiftError, match="no such folder"):
        probe.extract_folder_features(tmp_path / "nowhere", BASE)
    with pytest.raises(StarshiftError, match="No picture"):
        probe.extract_folder_features(tmp_path, BASE)


def test_every_broken_file_is_named_and_every_copy_has_its_digest(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(drawn(1), "PNG"))
    for name in ("broken.jpg", "broken too.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    pictures = probe.scan_folder(tmp_path, 32)
    assert set(pictures.unreadable) == {"broken.jpg", "broken too.jpg"}
    assert pictures.digests["a.png"] == pictures.digests["b.png"] in pictures.files
    assert [path.name for path in pictures.files.values()] == ["a.png"]


def test_the_probe_of_a_base_is_that_base():
    assert probe.load_probe_base(probe.build_probe(BASE)) == BASE


@pytest.mark.parametrize("change", [{"digest": "0" * 64}, {"preprocessing": "caffe"}])
def test_a_probe_that_is_another_here_is_refused(change):
    with pytest.raises(StarshiftError, match="probe on this machine") as caught:
        probe.load_probe_base(replace(probe.build_probe(BASE), **change))
    assert next(iter(change.values()))[:12] in str(caught.value)
