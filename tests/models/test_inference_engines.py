"""Engines: they agree, the batch does not matter, and the choice is measured once and remembered."""

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.models import inference_engines, openvino_export
from pipeline.models.base import parse_base
from pipeline.models.inference_engines import has_bfloat16

pytestmark = pytest.mark.filterwarnings("ignore")
BASE = "mobilenet_025@conv_pw_3_relu=none"
PIXELS = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARSHIFT_HOME", str(tmp_path_factory.mktemp("home")))
        base = parse_base(BASE, 32)
        chosen = inference_engines.choose_engine(base, lambda: PIXELS)
        names = ["keras", "openvino"] + (["openvino-bf16"] if has_bfloat16() else [])
        engines = {
            name: inference_engines.load_engine(base, inference_engines.EngineChoice(engine=name)) for name in names
        }
        again = inference_engines.choose_engine(base, lambda: pytest.fail("measured twice"))
        yield chosen, again, engines


def test_the_choice_is_the_fastest_that_is_near_enough_and_it_is_remembered(measured):
    chosen, again, _ = measured
    good = [name for name, error in chosen.relative_error.items() if error <= inference_engines.MAX_BFLOAT16_ERROR]
    assert chosen.engine == max(good, key=lambda name: chosen.pictures_per_second[name])
    assert again == chosen


def test_openvino_in_float32_gives_what_keras_gives(measured):
    _, _, engines = measured
    assert np.allclose(engines["openvino"](PIXELS), engines["keras"](PIXELS), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["keras", "openvino"])
def test_a_pictures_features_do_not_depend_on_how_many_others_there_are(measured, name):
    engine = measured[2][name]
    assert (engine(PIXELS)[20] == engine(PIXELS[20:])[0]).all()


def test_one_slow_moment_does_not_decide(monkeypatch):
    times = iter([0.0, 0.9, 1.0, 1.1, 2.0, 2.2, 3.0, 3.3])
    monkeypatch.setattr(inference_engines.time, "perf_counter", lambda: next(times))
    done = []
    assert (
        inference_engines.time_fastest(lambda: done.append(1)) == pytest.approx(0.1)
        and len(done) == inference_engines.MAX_TRIES
    )


def test_an_unknown_engine_lists_those_there_are():
    with pytest.raises(StarshiftError, match="openvino-bf16"):
        inference_engines.choose_engine(parse_base(BASE, 32), lambda: PIXELS, "tensorrt")


def test_an_export_that_has_no_room_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_export, "count_free_bytes", lambda folder: 1 << 20)
    with pytest.raises(StarshiftError, match="disk is full"):
        openvino_export.export_base(parse_base(BASE, 32), tmp_path)
    assert list(tmp_path.iterdir()) == []
