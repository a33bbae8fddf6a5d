"""Batches: the same for a seed and an epoch whoever asks, and mixed with labels that say what is in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.training import cross_validation
from pipeline.training.data_loader import AugmentedSource, CachedViewSource, RandAugment, TrainSequence, mix_batch
from pipeline.training.fold_data import FoldData


def test_an_epoch_is_the_same_for_whoever_asks_and_in_whatever_order(job_of):
    data = FoldData(job_of("augmented", mixup=0.4, cutmix=1.0, randaugment=0.3, symmetries=True))

    def epoch(number, order):
        source = data.augmented(4)
        batches = TrainSequence(source, data.train, data.labels[data.train], 2, data.job.training, seed=0)
        batches.begin(number)
        return {index: batches[index] for index in order}

    one, two = epoch(2, [0, 1, 2, 0, 1]), epoch(2, [2, 1, 0])
    for index in range(3):
        for first, second in zip(one[index], two[index], strict=True):
            np.testing.assert_array_equal(first, second)
    assert one[0][0].dtype == np.uint8 and not np.array_equal(one[0][0], epoch(3, [0])[0][0])


def test_progressive_sizes_grow_over_the_epochs(job_of):
    source = FoldData(job_of("finetune", unfreeze="all", sizes=(32, 48, 64))).augmented(6)
    sides = [source.take(np.array([0]), epoch).shape[1] for epoch in range(6)]
    assert sides == [32, 32, 48, 48, 64, 64]


def test_other_strategies_take_pictures_of_one_size(job_of):
    assert Training(sizes=(32, 48)).resolved("finetune").sizes == (32, 48)
    source = FoldData(job_of("augmented", sizes=(32, 48, 64))).augmented(6)
    assert [source.take(np.array([0]), epoch).shape[1] for epoch in range(6)] == [32] * 6


def test_randaugment_is_for_pictures_and_what_is_cached_is_none():
    assert cross_validation.uses_cached_activations(Training().resolved("finetune"))
    assert not cross_validation.uses_cached_activations(Training(randaugment=0.3).resolved("finetune"))

    class Activations:
        def take(self, positions, epoch):
            return np.ones((len(positions), 4, 4, 24), np.float16)

    batches = TrainSequence(
        Activations(), np.arange(8), np.arange(8) % 2, 4, Training(randaugment=0.5).resolved("frozen"), seed=0
    )
    batches.begin(0)
    assert batches[0][0].shape[1:] == (4, 4, 24)


def test_every_epoch_draws_one_of_the_views_for_each_picture():
    class Numbers:
        def __init__(self, view):
            self.view = view

        def __len__(self):
            return 50

        def take(self, positions):
            return np.array([[position, self.view] for position in positions])

    views = CachedViewSource([Numbers(view) for view in range(3)], seed=1)
    epochs = [views.take(np.arange(50), epoch) for epoch in range(30)]
    assert all((taken[:, 0] == np.arange(50)).all() for taken in epochs)
    counts = np.bincount(np.concatenate([taken[:, 1] for taken in epochs]), minlength=3)
    assert counts.min() > 400
    np.testing.assert_array_equal(views.take(np.array([7]), 4)[0], epochs[4][7])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), mixup=st.sampled_from([0.0, 0.4]), cutmix=st.sampled_from([0.0, 1.0]))
def test_soft_labels_are_the_shares_of_what_is_seen(seed, mixup, cutmix):
    labels = np.eye(4, dtype=np.float32)
    pictures = np.zeros((4, 16, 16, 4), np.uint8)
    for number in range(4):
        pictures[number, :, :, number] = 200
    inputs, soft = mix_batch(pictures, labels, np.random.default_rng(seed), mixup=mixup, cutmix=cutmix)
    assert inputs.dtype == np.uint8 and inputs.shape == pictures.shape
    np.testing.assert_allclose(inputs.mean(axis=(1, 2)) / 200, soft, atol=0.004)


def test_randaugment_repeats_itself_and_changes_pictures():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    augment = RandAugment(0.5)
    once, again = (augment(pictures, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert once.dtype == np.uint8 and not np.array_equal(once, pictures)


def test_a_regime_takes_the_strategies_defaults_where_it_is_silent_and_refuses_nonsense():
    assert Training().resolved("augmented").dropout == 0.5 and Training(dropout=0.0).resolved("augmented").dropout == 0
    unusable = {"learning_rate": -1.0, "schedule": "linear", "sizes": (64, 32), "ema": 1.0, "balance": "some"}
    for wrong in ({name: value} for name, value in unusable.items()):
        with pytest.raises(StarshiftError, match="expected"):
            Training(**wrong)


def test_augmented_pictures_depend_on_seed_and_epoch(job_of):
    data = FoldData(job_of("augmented"))
    views = [
        AugmentedSource(data.pixels, data.digests, seed=s).take(np.array([3]), e) for s, e in ((0, 0), (0, 1), (1, 0))
    ]
    assert not any(np.array_equal(views[a], views[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
