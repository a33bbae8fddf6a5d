"""A run on features: what bfloat16 rounds too much is computed once more."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import competitions
from pipeline.config import RunOptions
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.models import backend, inference_engines
from pipeline.paths import REPOSITORY
from pipeline.training import export
from pipeline.training.export import PrecisionError
from pipeline.workflow import run

pytestmark = pytest.mark.filterwarnings("ignore")


class Idle:
    """In the place of the process that builds the live model."""

    begun = 0

    def begin(self, bases):
        Idle.begun += 1

    def finish(self, folder, heads, pixels, expected, precision):
        if Idle.begun == 1:
            raise PrecisionError("They differ.", received="0.2")
        return {"parity_difference": 0.0}

    def stop(self):
        pass


@pytest.fixture
def wanted(monkeypatch):
    """The engines that are asked for; Keras runs all of them."""
    found = []

    def chosen(base, sample, wanted="auto", keeping=None):
        found.append(wanted)
        return inference_engines.EngineChoice(engine="keras")

    monkeypatch.setattr(inference_engines, "choose_engine", chosen)
    monkeypatch.setattr(export, "ModelExporter", Idle)
    monkeypatch.setattr(Idle, "begun", 0)
    return found


def test_heads_that_bfloat16_is_too_coarse_for_get_float32(mine, wanted, caplog):
    folder = run.run(competitions.load(Path(mine)), RunOptions())
    assert wanted[0] == "auto" and wanted[-1] == "openvino" and "too coarse for these heads (0.2)" in caplog.text
    assert read_json(folder / "metrics.json")["parity_difference"] == 0.0


def test_an_engine_that_was_asked_for_is_kept_to(mine, wanted):
    with pytest.raises(PrecisionError):
        run.run(competitions.load(Path(mine)), RunOptions(engine="openvino-bf16"))
    assert set(wanted) == {"openvino-bf16"}


def test_a_run_takes_one_base_at_two_sizes(mine):
    competition = competitions.load(Path(mine))
    bases = ("mobilenet_025:32@conv_pw_3_relu=none", "mobilenet_025:64@conv_pw_3_relu=none")
    competition = replace(competition, recipe=replace(competition.recipe, bases=bases))
    folder = run.run(competition, RunOptions(engine="keras"))
    results, environment = read_json(folder / "metrics.json"), read_json(folder / "environment.json")
    assert results["parity_difference"] < 1e-4
    assert set(results["engines"]) == set(environment["weights"]) == set(bases)


def test_the_process_that_runs_the_stages_does_not_import_keras():
    code = "import sys, pipeline.workflow.run; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_tensorboard_is_refused_on_jax_before_anything_is_fetched(monkeypatch, home):
    monkeypatch.setattr(backend, "find_backend", lambda: "jax")
    with pytest.raises(StarshiftError, match="--tensorboard needs TensorFlow"):
        run.run(competitions.find("sprouts"), RunOptions(tensorboard=True))
    assert not home.exists()
