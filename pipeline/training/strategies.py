"""The strategies that train a network on one fold: `scratch`, `augmented`, `frozen` and `finetune`.

Each returns a FittedFold: the model that was trained, and the live model with the same weights, which is saved.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from pipeline.models import cuts
from pipeline.models.build import build_network
from pipeline.models.heads import Head
from pipeline.models.keras_private import is_seed_state
from pipeline.models.small_cnn import build_small_cnn
from pipeline.training import device, networks
from pipeline.training.checkpoint import TrainingState, assign_values, copy_values
from pipeline.training.cross_validation import list_cached_views
from pipeline.training.data_loader import CachedSource, CachedViewSource, Source
from pipeline.training.export import check_features, check_predictions
from pipeline.training.fold_data import FoldData
from pipeline.training.inference import predict, predict_features
from pipeline.training.linear_probe import fit_heads
from pipeline.training.networks import Standardizer

POLISH_LR_FACTOR = 0.2
"""Learning rate of the last epochs with fresh augmentation, as a share of the rate before."""
HIDDEN_UNITS = 256


@dataclass(kw_only=True)
class FittedFold:
    """A trained network.

    Args:
        live: from uint8 pictures to probabilities; what is saved.
        model: predicts from `source_of`; the live network itself, or the part of it above a cache.
        source_of: its inputs in a view.
        precision: what was rounded on the way to those inputs, see `export.PROBABILITY_TOLERANCE`.
        parameters: how many were trained.
        stages: how far each stage of training came.
        before: records of the history that come before those of the stages.
        differences: of the parity checks so far.
    """

    live: Any
    model: Any
    source_of: Callable[[str], Source]
    precision: str = "float32"
    parameters: int = 0
    stages: list[TrainingState] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def predict(self, data: FoldData) -> tuple[np.ndarray, np.ndarray]:
        """Predicts validation and test pictures in every view, each (views, pictures, classes) float32."""
        sources = [self.source_of(view) for view in data.job.views]
        validation = [predict(self.model, source, data.validation) for source in sources]
        return np.stack(validation), np.stack([predict(self.model, source, data.test) for source in sources])

    def check_parity(self, data: FoldData, step: str) -> None:
        """Compares the live network with the model on a few validation pictures."""
        view = data.job.views[0]
        live = predict(self.live, data.pictures(view), data.sample)
        cached = predict(self.model, self.source_of(view), data.sample)
        self.differences.append(check_predictions(live, cached, self.precision, step))

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record an epoch; `chosen` marks the best one of its stage."""
        records = list(self.before)
        for stage in self.stages:
            records += [{**r, "chosen": r["epoch"] == stage.best_epoch} for r in stage.history]
        return records

    @property
    def facts(self) -> dict[str, Any]:
        """What metrics.json stores of the fold: plain JSON values."""
        return {
            "parameters": self.parameters,
            "epochs": sum(stage.epoch for stage in self.stages),
            "best_epoch": self.stages[-1].best_epoch if self.stages else 0,
            "seconds_per_epoch": [second for stage in self.stages for second in stage.seconds],
            "parity_difference": max(self.differences, default=0.0),
        }


def count_trainable(model: Any) -> int:
    """Counts the trainable parameters of a model."""
    return int(sum(np.prod(variable.shape) for variable in model.trainable_variables))


def train_scratch(data: FoldData) -> FittedFold:
    """Trains the small network on the pictures as they are."""
    return _train_small_cnn(data, augment=False)


def train_augmented(data: FoldData) -> FittedFold:
    """Trains the small network with augmentation and dropout."""
    return _train_small_cnn(data, augment=True)


def _train_small_cnn(data: FoldData, *, augment: bool) -> FittedFold:
    job = data.job
    with device.open_device_scope():
        model = build_small_cnn(job.base.size, job.classes, job.training.dropout or 0.0)
        source = data.augmented(job.training.epochs or 1) if augment else data.pictures("plain")
        state = data.run(data.trainer(model, source, data.pictures(job.views[0]), stage=job.strategy))
        live = build_small_cnn(job.base.size, job.classes, 0.0)  # a saved model must not ask for our optimizer
        assign_values(live.variables, copy_values(v for v in model.variables if not is_seed_state(v)))
    return FittedFold(
        live=live, model=model, source_of=data.pictures, parameters=count_trainable(model), stages=[state]
    )


def train_frozen(data: FoldData) -> FittedFold:
    """Trains an MLP head on a frozen base with augmentation.

    Every epoch draws one of k cached augmented views of each picture; with `end_to_end`, as the talk does, pictures are
    augmented anew and pass through the whole base: the same head and stopping, many times as slow.
    """
    return _train_end_to_end(data) if data.job.training.end_to_end else _train_from_views(data)


def _build_head(data: FoldData) -> tuple[list[Any], Standardizer]:
    """Builds a random head, and the scale of the features that it stands on."""
    job = data.job
    rows = data.cached(job.base, "plain").take(data.train)
    scale = Standardizer(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6))
    head = networks.build_random_head(rows.shape[1], job.classes, HIDDEN_UNITS, job.seed)
    return networks.build_head_layers(head), scale


def _build_live_model(data: FoldData, network: Any, head: list[Any], scale: Standardizer) -> Any:
    return networks.build_live_model(data.job.base, network, networks.build_head_layers(scale.folded(head)))


def _build_view_source(data: FoldData, base: Any) -> CachedViewSource:
    """Opens the cached augmented views of a base for training."""
    views = [data.cached(base, view, train_only=True) for view in list_cached_views(data.job.training)]
    return CachedViewSource(views, seed=data.job.seed)


def _train_from_views(data: FoldData) -> FittedFold:
    """Trains on cached features in k augmented views."""
    job, source = data.job, _build_view_source(data, data.job.base)
    with device.open_device_scope():
        head, scale = _build_head(data)
        model = networks.build_feature_model(head, job.training.dropout or 0.0, scale)
        validation = CachedSource(data.cached(job.base, job.views[0]))
        state = data.run(data.trainer(model, source, validation, stage="frozen"))
        live = _build_live_model(data, build_network(job.base), head, scale)
    features = predict_features(live, data.pictures(job.views[0]), data.sample)
    check_features(features, validation.take(data.sample, 0), job.precision, "the frozen base")
    return FittedFold(
        live=live,
        model=model,
        source_of=lambda view: CachedSource(data.cached(job.base, view)),
        precision=job.precision,
        parameters=count_trainable(model),
        stages=[state],
    )


def _train_end_to_end(data: FoldData) -> FittedFold:
    """Trains on freshly augmented pictures."""
    job = data.job
    with device.open_device_scope():
        head, scale = _build_head(data)
        network = build_network(job.base)
        network.trainable = False
        model = networks.build_pixel_model(job.base, network, head, job.training.dropout or 0.0, scale=scale)
        source = data.augmented(job.training.epochs or 1)
        state = data.run(data.trainer(model, source, data.pictures(job.views[0]), stage="frozen"))
        live = _build_live_model(data, network, head, scale)
    return FittedFold(
        live=live, model=model, source_of=data.pictures, parameters=count_trainable(model), stages=[state]
    )


def finetune(data: FoldData) -> FittedFold:
    """Fits a head on the frozen base, then trains it together with the layers above the cut.

    The activations at the cut are cached, and training starts from them. Where nothing is frozen, or the cache has no
    room, pictures pass through the whole base in every epoch. Each step is followed by a parity check.
    """
    job, training = data.job, data.job.training
    first, records = _fit_first_head(data)
    with device.open_device_scope():
        network = build_network(job.base, free=bool(training.sizes))
        head = networks.build_head_layers(first)
        live = networks.build_live_model(job.base, network, head)
        fitted = FittedFold(live=live, model=live, source_of=data.pictures, before=records)
        _check_first_head(data, fitted, first)
        networks.freeze_up_to(network, job.cut)
        if job.cached:
            _use_cached_activations(data, fitted, network, head)
        _train_above_cut(data, fitted, network, head)
        if training.polish:
            _polish(data, fitted, network, head)
    return fitted


def _fit_first_head(data: FoldData) -> tuple[Head, list[dict[str, Any]]]:
    """Fits the head on the frozen base from cached features; returns it and its record in the history."""
    job, fold = data.job, data.head_features()
    heads, records = fit_heads([fold], job.head, job.classes, job.seed)
    loss = next(record["val_loss"] for record in records if record["chosen"])
    score = data.score(fold.held_labels, heads[0].probabilities(fold.held_features))
    record = {"fold": job.fold, "stage": "head", "epoch": 0, "loss": "", "val_loss": loss, "score": score}
    return heads[0], [{**record, "chosen": True}]


def _check_first_head(data: FoldData, fitted: FittedFold, first: Head) -> None:
    """Checks that the live network with the first head predicts what that head predicts on cached features."""
    job, sample, step = data.job, data.sample, "the head on the frozen base"
    features = data.cached(job.base, job.views[0]).take(sample)
    pictures = data.pictures(job.views[0])
    check_features(predict_features(fitted.live, pictures, sample), features, job.precision, step)
    live = predict(fitted.live, pictures, sample)
    fitted.differences.append(check_predictions(live, first.probabilities(features), job.precision, step))


def _use_cached_activations(data: FoldData, fitted: FittedFold, network: Any, head: list[Any]) -> None:
    """Lets the part above the cut predict from now on, from cached activations."""
    job = data.job
    lower = replace(job.base, cut=job.cut, pooling="none")
    upper = cuts.build_upper_part(network, str(job.cut))
    fitted.model = networks.build_cut_model(job.base, upper, head, job.training.dropout or 0.0)
    fitted.source_of = lambda view: CachedSource(data.cached(lower, view))
    fitted.precision = "bfloat16" if job.cut_precision == "bfloat16" else "float16"
    fitted.check_parity(data, "the activations at the cut")


def _train_above_cut(data: FoldData, fitted: FittedFold, network: Any, head: list[Any]) -> None:
    """Trains what is above the cut, and the head."""
    job = data.job
    if job.cached:
        model = fitted.model
        source = cast(Source, _build_view_source(data, replace(job.base, cut=job.cut, pooling="none")))
    else:
        model, source = _build_pixel_model(data, network, head), data.augmented(job.training.epochs or 1)
    fitted.parameters = count_trainable(model)
    validation = fitted.source_of(job.views[0])
    factors = _compute_lr_factors(data, network)
    trainer = data.trainer(model, source, validation, stage="finetune", factors=factors, from_start=True)
    fitted.stages.append(data.run(trainer))
    fitted.check_parity(data, "after fine-tuning")


def _polish(data: FoldData, fitted: FittedFold, network: Any, head: list[Any]) -> None:
    """Trains a few last epochs with fresh augmentation, from pixels."""
    job, training = data.job, data.job.training
    epochs = training.polish or 1
    last = replace(
        training,
        epochs=epochs,
        patience=epochs,
        learning_rate=(training.learning_rate or 0.0) * POLISH_LR_FACTOR,
        warmup=0.0,
        sizes=(),
    )
    model = _build_pixel_model(data, network, head)
    source, validation = data.augmented(epochs, sizes=()), data.pictures(job.views[0])
    factors = _compute_lr_factors(data, network)
    trainer = data.trainer(model, source, validation, stage="polish", training=last, factors=factors, from_start=True)
    fitted.stages.append(data.run(trainer))
    fitted.check_parity(data, "after the last polish")


def _build_pixel_model(data: FoldData, network: Any, head: list[Any]) -> Any:
    """Builds the whole network on pixels, as it is trained."""
    job = data.job
    dropout, free = job.training.dropout or 0.0, bool(job.training.sizes)
    return networks.build_pixel_model(job.base, network, head, dropout, free=free)


def _compute_lr_factors(data: FoldData, network: Any) -> dict[str, float]:
    """Computes the factors of the learning rate by depth."""
    job = data.job
    return cuts.compute_lr_factors(network, job.base.entry.blocks, job.training.layer_decay or 1.0)


STRATEGY_FUNCTIONS = {
    "scratch": train_scratch,
    "augmented": train_augmented,
    "frozen": train_frozen,
    "finetune": finetune,
}
"""What trains a fold in each of names.STRATEGIES but `features`, which trains heads alone (linear_probe.py)."""
