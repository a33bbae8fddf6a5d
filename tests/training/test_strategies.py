"""Each strategy learns what it could not know by chance, keeps BatchNorm's statistics, and is handed over whole."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.config import HEADS, STRATEGIES, SYMMETRY_VIEWS, Training
from pipeline.errors import StarshiftError
from pipeline.features.cache import open_feature_store
from pipeline.models import build
from pipeline.models.build import build_network
from pipeline.models.inference_engines import EngineChoice
from pipeline.training import cross_validation, fold_job, fold_worker
from pipeline.training.fold_data import FoldData
from pipeline.training.linear_probe import HEAD_FUNCTIONS
from pipeline.training.strategies import STRATEGY_FUNCTIONS, finetune


def trained(job):
    fold_worker.run_fold_job(job, "a test")
    return fold_job.read_result(job)


@pytest.mark.parametrize(
    ("strategy", "training"),
    [
        ("scratch", {"epochs": 8}),
        ("augmented", {"epochs": 12, "patience": 12, "symmetries": True}),
        ("frozen", {"epochs": 12, "cached_views": 2}),
        ("frozen", {"epochs": 12, "end_to_end": True}),
        ("finetune", {"unfreeze": "conv_pw_2", "cached_views": 2, "learning_rate": 1e-3}),
        ("finetune", {"unfreeze": "conv_pw_2", "cached_views": 1, "learning_rate": 1e-3, "symmetries": True}),
        ("finetune", {"unfreeze": "all", "layer_decay": 0.7, "ema": 0.9, "weight_decay": 0.01}),
        ("finetune", {"unfreeze": "all", "sizes": (32, 48), "mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1}),
    ],
)
def test_a_strategy_learns_red_from_blue_and_its_saved_model_predicts_what_was_stored(job_of, strategy, training):
    job = job_of(strategy, **training)
    result = trained(job)
    truth = np.array(job.labels)[np.array(job.fold_of) == 0]
    assert result.validation.shape == (2, 6, 2) and result.test.shape == (2, 10, 2)
    assert (result.validation.mean(axis=0).argmax(axis=1) == truth).mean() >= 5 / 6
    live = keras.models.load_model(job.model)
    shown = FoldData(job).pixels.take(FoldData(job).test)
    assert shown.dtype == np.uint8
    np.testing.assert_allclose(live.predict(shown, verbose=0), result.test[0], atol=0.02)
    assert {"epoch", "loss", "val_loss", "score", "chosen"} <= set(result.history[0])


@pytest.mark.parametrize("unfreeze", ["conv_pw_2", "all"])
def test_fine_tuning_moves_gamma_but_not_the_statistics_of_batchnorm(job_of, unfreeze, monkeypatch):
    better = iter(range(100))
    monkeypatch.setattr(FoldData, "score", lambda *_: next(better))
    job = job_of("finetune", unfreeze=unfreeze, cached_views=1, learning_rate=1e-3)
    before = {v.path: v.numpy() for v in build_network(job.base).variables}
    fitted = finetune(FoldData(job))
    network = next(layer for layer in fitted.live.layers if isinstance(layer, keras.Model))
    after = {v.path: v.numpy() for v in network.variables}
    for path in (path for path in before if "moving" in path):
        np.testing.assert_array_equal(before[path], after[path])
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert "conv_pw_2_bn/gamma" in moved and any(path.endswith("kernel") for path in moved)
    assert unfreeze == "all" or not any("_1" in path for path in moved)


def test_cached_and_plain_fine_tuning_are_one_network(job_of):
    job = job_of("finetune", unfreeze="conv_pw_2", cached_views=1)
    assert job.cached and job.cut == "conv_dw_2_relu"
    fitted = finetune(FoldData(job))
    assert fitted.model is not fitted.live and 0 < fitted.facts["parity_difference"] < 2e-2
    plain = job_of("finetune", unfreeze="conv_pw_2", cached_views=0, epochs=1)
    assert plain.cut == "conv_dw_2_relu" and not plain.cached
    assert finetune(FoldData(plain)).parameters == fitted.parameters


def test_a_broken_preprocessing_is_caught_at_the_first_hand_over(job_of, monkeypatch):
    job = job_of("finetune", unfreeze="conv_pw_2", cached_views=1)
    original = build.preprocess
    for module in ("pipeline.models.build", "pipeline.training.networks"):
        monkeypatch.setattr(f"{module}.preprocess", lambda pixels, mode, name: original(pixels, "caffe", name))
    with pytest.raises(StarshiftError, match="the head on the frozen base"):
        finetune(FoldData(job))


def test_without_room_on_the_disk_the_lower_part_is_computed_anew(cv_of, monkeypatch, caplog):
    monkeypatch.setattr(cross_validation, "DISK_MARGIN", 1 << 60)
    said = []
    job = cross_validation.fill_caches(cv_of("finetune", unfreeze="conv_pw_2", cached_views=1), said).job
    assert not job.cached and job.cut == "conv_dw_2_relu" and "they are not kept" in caplog.text
    assert "computed anew in every epoch" in "; ".join(said)


def test_views_to_train_on_are_computed_only_of_pictures_that_a_fold_is_trained_on(cv_of):
    cv = cv_of("frozen", cached_views=1)
    job = cross_validation.fill_caches(cv, []).job
    store = open_feature_store(job.base, "augment-1", "float32")
    held = [digest for digest, fold in zip(job.train, job.fold_of, strict=True) if fold == 0]
    assert store.missing(job.train) == held and len(held) == 6
    cross_validation.fill_caches(replace(cv, folds=(0, 1)), [])
    assert store.missing(job.train) == []


def test_frozen_keeps_what_a_later_finetune_needs_and_that_computes_nothing_again(cv_of):
    frozen = cv_of("frozen", cached_views=1)
    cross_validation.fill_caches(
        replace(frozen, capture_for=Training(unfreeze="conv_pw_2", cached_views=1).resolved("finetune")), []
    )
    said = []
    job = cross_validation.fill_caches(cv_of("finetune", unfreeze="conv_pw_2", cached_views=1), said).job
    assert job.cached and job.cut == "conv_dw_2_relu"
    assert "@conv_dw_2_relu: 0 rows computed" in "; ".join(said)
    fitted = finetune(FoldData(job))
    assert max(fitted.differences) < 1e-2


def test_a_last_polish_never_makes_it_worse(job_of):
    job = job_of("finetune", unfreeze="conv_pw_2", cached_views=1, polish=1, epochs=1)
    tuned, polished = finetune(FoldData(job)).stages
    assert (polished.best_score, -polished.best_loss) >= (tuned.best_score, -tuned.best_loss - 1e-2)


def test_a_wrong_name_to_unfreeze_from_lists_the_right_ones(cv_of):
    with pytest.raises(StarshiftError, match="conv_pw_2"):
        cross_validation.fill_caches(cv_of("finetune", unfreeze="block9"), [])


def test_with_symmetries_all_eight_are_cached_and_drawn_from():
    assert cross_validation.list_cached_views(Training(cached_views=1).resolved("finetune")) == ("plain", "augment-1")
    training = Training(cached_views=1, symmetries=True).resolved("finetune")
    assert cross_validation.list_cached_views(training) == (*SYMMETRY_VIEWS, "augment-1")


def test_without_warps_the_cached_views_are_all_that_fresh_pictures_could_show(job_of):
    training = Training(symmetries=True, warp=False).resolved("finetune")
    assert cross_validation.list_cached_views(training) == SYMMETRY_VIEWS
    assert cross_validation.list_cached_views(Training(warp=False).resolved("frozen")) == ("plain", "flip")
    data = FoldData(job_of("augmented", symmetries=True, warp=False))
    seen = [data.augmented(40).take(np.array([0]), epoch)[0].tobytes() for epoch in range(40)]
    assert set(seen) == {data.pictures(view).take(np.array([0]), 0)[0].tobytes() for view in SYMMETRY_VIEWS}


def test_the_minutes_of_a_fine_tuning_grow_with_its_epochs_and_its_folds(cv_of):
    choice = EngineChoice(engine="keras", pictures_per_second={"keras": 10.0})
    twice = [cross_validation.estimate_minutes(cv_of("finetune", epochs=epochs), choice) for epochs in (4, 8)]
    # a fold trains 24 pictures an epoch, three forward passes each: four epochs are 28.8 s at 10 pictures a second
    assert twice[1] - twice[0] == pytest.approx(28.8 / 60)
    assert cross_validation.estimate_minutes(replace(cv_of("finetune"), folds=(0, 1)), choice) > 1.8 * twice[0]


def test_no_minutes_are_estimated_without_a_benchmark(cv_of):
    assert cross_validation.estimate_minutes(cv_of("finetune"), EngineChoice(engine="keras")) is None


def test_every_strategy_and_head_that_a_recipe_may_name_has_its_function():
    assert {"features", *STRATEGY_FUNCTIONS} == {*STRATEGIES} and {*HEAD_FUNCTIONS} == {*HEADS}
