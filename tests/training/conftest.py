"""A small run of a strategy on pictures that the tests draw: red ones and blue ones, and a base with random weights."""

import functools
from dataclasses import replace

import pytest

from pipeline.config import Recipe, Training
from pipeline.data import pixel_cache
from pipeline.models import cuts
from pipeline.models.base import build_scratch_base, parse_base
from pipeline.models.build import build_network
from pipeline.training import cross_validation
from pipeline.training.fold_job import FoldJob, MetricSpec
from tests.conftest import drawn, encoded

BASE = "mobilenet_025@conv_pw_3_relu=none"


@functools.cache
def layers_of(base):
    """As cuts.anatomy, in this process."""
    return cuts.truncate_layers(cuts.list_layers(build_network(replace(base, cut=None, pooling="avg"))), base.cut)


@pytest.fixture(autouse=True)
def _known_anatomy(monkeypatch):
    """Spares every test a process that imports Keras; tests/models/test_cuts.py starts one."""
    monkeypatch.setattr(cuts, "load_layers", layers_of)


@pytest.fixture
def files(tmp_path):
    """Forty pictures of two classes, by digest; even ones are red."""
    found = {}
    for number in range(40):
        tint = (70, -20, -50) if number % 2 else (-50, -20, 70)
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(encoded(drawn(number, tint=tint)))
        found[f"{number:064x}"] = path
    return found


@pytest.fixture
def cv_of(files, tmp_path):
    """Makes the folds of a run: `cv_of(strategy, training...)`, with four fifths to train on and a fifth held out."""

    def make(strategy: str, base: str = BASE, **training) -> cross_validation.CVJob:
        recipe = Recipe(strategy=strategy, bases=(base,), size=32, folds=5, views=("plain", "flip"))
        recipe = replace(recipe, training=Training(**{"batch_size": 8, "epochs": 4, **training}))
        network = build_scratch_base(32) if strategy in ("scratch", "augmented") else parse_base(base, 32)
        pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files)
        digests = list(files)
        job = FoldJob(
            folder=tmp_path / "run",
            strategy=strategy,
            fold=0,
            seed=recipe.seed,
            base=network,
            head=recipe.head,
            training=recipe.resolved_training,
            classes=2,
            labels=tuple(number % 2 for number in range(30)),
            fold_of=tuple(number // 2 % 5 for number in range(30)),
            train=tuple(digests[:30]),
            test=tuple(digests[30:]),
            views=recipe.views,
            training_views=recipe.training_views,
            metric=MetricSpec(function="pipeline.evaluation.metrics:score", name="accuracy"),
        )
        return cross_validation.CVJob(job=job, folds=(0,), files=files, engine="keras")

    return make


@pytest.fixture
def job_of(cv_of):
    """Makes a job whose caches are filled: `job_of(strategy, training...)`."""

    def make(strategy: str, **training) -> FoldJob:
        return cross_validation.fill_caches(cv_of(strategy, **training), []).job

    return make
