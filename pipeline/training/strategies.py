"""The rung `finetune`, in the talk's five steps: a head on the frozen base; trained; the top of the base unfrozen;
both trained at a low rate. The part below the cut is computed once: its activations are cached, and training starts
from them. Where nothing is frozen, or the cache has no room, pictures go through the whole base in every epoch.

What a rung gives for one fold, and how every picture is predicted with it.

The rungs that pass every picture through the whole network in every epoch: `train_scratch` and `train_augmented`.

The rung `frozen`: the talk's dense head on a frozen base, trained on augmented pictures.

End to end as the talk does, every picture through the whole base in every epoch; or, by default, from k cached
augmented views, of which every epoch draws one for each picture: the same head and stopping, a fraction of the time.
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
from pipeline.training.fold_data import FoldData
from pipeline.training.inference import check_features, check_predictions, predict, predict_features
from pipeline.training.linear_probe import fit_heads
from pipeline.training.networks import Standardizer


@dataclass(kw_only=True)
class FittedFold:
    """A trained network.

    Args:
        live: from uint8 pictures to probabilities; what is saved.
        model: what predicts from `source_of`; the live network itself, or the part of it above a cache.
        source_of: its inputs in a view.
        precision: what was rounded on the way to those inputs, see `inference.PROBABILITY_TOLERANCE`.
        parameters: how many were trained.
        stages: how far each stage of training came.
        before: records of the history that come before those of the stages.
        differences: of the hand-overs so far.
    """

    live: Any
    model: Any
    source_of: Callable[[str], Source]
    precision: str = "float32"
    parameters: int = 0
    stages: list[TrainingState] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def predictions(self, material: FoldData) -> tuple[np.ndarray, np.ndarray]:
        """Of the held-out and of the test pictures in every view, each (views, pictures, classes) float32."""
        sources = [self.source_of(view) for view in material.job.views]
        held = [predict(self.model, source, material.held) for source in sources]
        return np.stack(held), np.stack([predict(self.model, source, material.test) for source in sources])

    def hand_over(self, material: FoldData, step: str) -> None:
        """Holds the live network against what the model predicts for a few held-out pictures."""
        sample = material.sample
        view = material.job.views[0]
        live = predict(self.live, material.seen(view), sample)
        cached = predict(self.model, self.source_of(view), sample)
        self.differences.append(check_predictions(live, cached, self.precision, step))

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record an epoch, whether it was the best one of its stage in `chosen`."""
        records = list(self.before)
        for stage in self.stages:
            records += [{**r, "chosen": r["epoch"] == stage.best_epoch} for r in stage.history]
        return records

    @property
    def facts(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "parameters": self.parameters,
            "epochs": sum(stage.epoch for stage in self.stages),
            "best_epoch": self.stages[-1].best_epoch if self.stages else 0,
            "seconds_an_epoch": [second for stage in self.stages for second in stage.seconds],
            "hand_over": max(self.differences, default=0.0),
        }


def count_trainable(model: Any) -> int:
    """How many parameters of a model are trained."""
    return int(sum(np.prod(variable.shape) for variable in model.trainable_variables))


POLISH_LR_FACTOR = 0.2
"""The rate of the last epochs with fresh augmentation, as a share of the rate before."""


def finetune(material: FoldData) -> FittedFold:
    """All steps; the live network is held against the cache at each of them."""
    job, regime = material.job, material.job.regime
    first, records = _fit_first_head(material)
    with device.open_device_scope():
        network = build_network(job.base, free=bool(regime.sizes))
        head = networks.build_head_layers(first)
        live = networks.build_live_model(job.base, network, head)
        outcome = FittedFold(live=live, model=live, source_of=material.seen, before=records)
        _check_head_parity(material, outcome, first)
        networks.freeze_up_to(network, job.cut)
        if job.cached:
            _use_cached_activations(material, outcome, network, head)
        _train_above_cut(material, outcome, network, head)
        if regime.polish:
            _polish(material, outcome, network, head)
    return outcome


def _fit_first_head(material: FoldData) -> tuple[Head, list[dict[str, Any]]]:
    """The head on the frozen base, from cached features, and its record in the history."""
    job, fold = material.job, material.features_of_fold()
    heads, records = fit_heads([fold], job.head, job.classes, job.seed)
    loss = next(record["held_loss"] for record in records if record["chosen"])
    score = material.score(fold.held_labels, heads[0].probabilities(fold.held_features))
    record = {"fold": job.fold, "stage": "head", "epoch": 0, "loss": "", "held_loss": loss, "score": score}
    return heads[0], [{**record, "chosen": True}]


def _check_head_parity(material: FoldData, outcome: FittedFold, first: Head) -> None:
    """The live network with the first head must predict what that head predicts on cached features."""
    job, sample, step = material.job, material.sample, "the head on the frozen base"
    features = material.cached(job.base, job.views[0]).take(sample)
    pictures = material.seen(job.views[0])
    check_features(predict_features(outcome.live, pictures, sample), features, job.precision, step)
    live = predict(outcome.live, pictures, sample)
    outcome.differences.append(check_predictions(live, first.probabilities(features), job.precision, step))


def _use_cached_activations(material: FoldData, outcome: FittedFold, network: Any, head: list[Any]) -> None:
    """From here on the part above the cut predicts, from cached activations."""
    job = material.job
    lower = replace(job.base, cut=job.cut, pooling="none")
    upper = cuts.build_upper_part(network, str(job.cut))
    outcome.model = networks.build_cut_model(job.base, upper, head, job.regime.dropout or 0.0)
    outcome.source_of = lambda view: CachedSource(material.cached(lower, view))
    outcome.precision = "bfloat16" if job.cut_precision == "bfloat16" else "float16"
    outcome.hand_over(material, "the activations at the cut")


def _train_above_cut(material: FoldData, outcome: FittedFold, network: Any, head: list[Any]) -> None:
    """Trains what is above the cut, and the head."""
    job, regime = material.job, material.job.regime
    if job.cached:
        lower = replace(job.base, cut=job.cut, pooling="none")
        views = [material.cached(lower, view, train_only=True) for view in list_cached_views(regime)]
        model, source = outcome.model, cast(Source, CachedViewSource(views, seed=job.seed))
    else:
        model, source = _build_pixel_model(material, network, head), material.fresh(regime.epochs or 1)
    outcome.parameters = count_trainable(model)
    held = outcome.source_of(job.views[0])
    course = material.course(
        model, source, held, stage="finetune", factors=_compute_lr_factors(material, network), from_start=True
    )
    outcome.stages.append(material.run(course))
    outcome.hand_over(material, "after fine-tuning")


def _polish(material: FoldData, outcome: FittedFold, network: Any, head: list[Any]) -> None:
    """A few last epochs with fresh augmentation, all of the picture's way."""
    job, regime = material.job, material.job.regime
    epochs = regime.polish or 1
    last = replace(
        regime, epochs=epochs, patience=epochs, rate=(regime.rate or 0.0) * POLISH_LR_FACTOR, warmup=0.0, sizes=()
    )
    model = _build_pixel_model(material, network, head)
    source, held = material.fresh(epochs, sizes=()), material.seen(job.views[0])
    factors = _compute_lr_factors(material, network)
    course = material.course(model, source, held, stage="polish", regime=last, factors=factors, from_start=True)
    outcome.stages.append(material.run(course))
    outcome.hand_over(material, "after the last polish")


def _build_pixel_model(material: FoldData, network: Any, head: list[Any]) -> Any:
    """The whole network on pixels, as it is trained."""
    job = material.job
    dropout, free = job.regime.dropout or 0.0, bool(job.regime.sizes)
    return networks.build_pixel_model(job.base, network, head, dropout, free=free)


def _compute_lr_factors(material: FoldData, network: Any) -> dict[str, float]:
    """Of the rate, by depth."""
    job = material.job
    return cuts.compute_lr_factors(network, job.base.entry.blocks, job.regime.depth_decay or 1.0)


def train_scratch(material: FoldData) -> FittedFold:
    """The plain network, no guard against overfitting."""
    return _train_small_cnn(material, augmented=False)


def train_augmented(material: FoldData) -> FittedFold:
    """The same with augmentation and dropout."""
    return _train_small_cnn(material, augmented=True)


def _train_small_cnn(material: FoldData, *, augmented: bool) -> FittedFold:
    job = material.job
    with device.open_device_scope():
        model = build_small_cnn(job.base.size, job.classes, job.regime.dropout or 0.0)
        source = material.fresh(job.regime.epochs or 1) if augmented else material.seen("plain")
        course = material.course(model, source, material.seen(job.views[0]), stage=job.rung)
        progress = material.run(course)
        live = build_small_cnn(job.base.size, job.classes, 0.0)  # a saved model must not ask for our optimizer
        assign_values(live.variables, copy_values(v for v in model.variables if not is_seed_state(v)))
    return FittedFold(
        live=live, model=model, source_of=material.seen, parameters=count_trainable(model), stages=[progress]
    )


HIDDEN_UNITS = 256


def train_frozen(material: FoldData) -> FittedFold:
    """The head, and the live network with it."""
    return _train_end_to_end(material) if material.job.regime.end_to_end else _train_from_views(material)


def _build_head(material: FoldData) -> tuple[list[Any], Standardizer]:
    """A random head, and the scale of the features that it stands on."""
    job = material.job
    rows = material.cached(job.base, "plain").take(material.trained)
    scale = Standardizer(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6))
    return networks.build_head_layers(
        networks.build_random_head(rows.shape[1], job.classes, HIDDEN_UNITS, job.seed)
    ), scale


def _build_live_model(material: FoldData, network: Any, head: list[Any], scale: Standardizer) -> Any:
    return networks.build_live_model(material.job.base, network, networks.build_head_layers(scale.folded(head)))


def _train_from_views(material: FoldData) -> FittedFold:
    """Trains on cached features in k augmented views."""
    job = material.job
    sources = [material.cached(job.base, view, train_only=True) for view in list_cached_views(job.regime)]
    with device.open_device_scope():
        head, scale = _build_head(material)
        model = networks.build_feature_model(head, job.regime.dropout or 0.0, scale)
        held = CachedSource(material.cached(job.base, job.views[0]))
        progress = material.run(material.course(model, CachedViewSource(sources, seed=job.seed), held, stage="frozen"))
        live = _build_live_model(material, build_network(job.base), head, scale)
    features = held.take(material.sample, 0)
    shown = predict_features(live, material.seen(job.views[0]), material.sample)
    check_features(shown, features, job.precision, "the frozen base")
    return FittedFold(
        live=live,
        model=model,
        source_of=lambda view: CachedSource(material.cached(job.base, view)),
        precision=job.precision,
        parameters=count_trainable(model),
        stages=[progress],
    )


def _train_end_to_end(material: FoldData) -> FittedFold:
    """Trains on freshly augmented pictures."""
    job = material.job
    with device.open_device_scope():
        head, scale = _build_head(material)
        network = build_network(job.base)
        network.trainable = False
        model = networks.build_pixel_model(job.base, network, head, job.regime.dropout or 0.0, scale=scale)
        fresh = material.fresh(job.regime.epochs or 1)
        progress = material.run(material.course(model, fresh, material.seen(job.views[0]), stage="frozen"))
        live = _build_live_model(material, network, head, scale)
    return FittedFold(
        live=live, model=model, source_of=material.seen, parameters=count_trainable(model), stages=[progress]
    )
