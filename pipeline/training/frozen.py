"""The rung `frozen`: the talk's dense head on a frozen base, trained on augmented pictures.

End to end as the talk does, every picture through the whole base in every epoch; or, by default, from k cached
augmented views, of which every epoch draws one for each picture: the same head and stopping, a fraction of the time.
"""

from typing import Any

import numpy as np

from pipeline.models.extractor import build_network
from pipeline.training import device, networks
from pipeline.training.activations import views_of
from pipeline.training.handover import compare_features
from pipeline.training.material import Material
from pipeline.training.networks import Scale
from pipeline.training.outcome import Outcome, trainable
from pipeline.training.predicting import predict_features
from pipeline.training.sources import Fixed, Views

UNITS = 256


def train(material: Material) -> Outcome:
    """The head, and the live network with it."""
    return _end_to_end(material) if material.job.regime.end_to_end else _from_views(material)


def _start(material: Material) -> tuple[list[Any], Scale]:
    """A random head, and the scale of the features that it stands on."""
    job = material.job
    rows = material.cached(job.base, "plain").take(material.trained)
    scale = Scale(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6))
    return networks.head_layers(networks.random_head(rows.shape[1], job.classes, UNITS, job.seed)), scale


def _live(material: Material, network: Any, head: list[Any], scale: Scale) -> Any:
    return networks.live_model(material.job.base, network, networks.head_layers(scale.folded(head)))


def _from_views(material: Material) -> Outcome:
    """Trains on cached features in k augmented views."""
    job = material.job
    sources = [material.cached(job.base, view, train_only=True) for view in views_of(job.regime)]
    with device.scope():
        head, scale = _start(material)
        model = networks.trained_from_features(head, job.regime.dropout or 0.0, scale)
        held = Fixed(material.cached(job.base, job.views[0]))
        progress = material.run(material.course(model, Views(sources, seed=job.seed), held, stage="frozen"))
        live = _live(material, build_network(job.base), head, scale)
    features = held.take(material.sample, 0)
    shown = predict_features(live, material.seen(job.views[0]), material.sample)
    compare_features(shown, features, job.precision, "the frozen base")
    return Outcome(
        live=live,
        model=model,
        source_of=lambda view: Fixed(material.cached(job.base, view)),
        precision=job.precision,
        parameters=trainable(model),
        stages=[progress],
    )


def _end_to_end(material: Material) -> Outcome:
    """Trains on freshly augmented pictures."""
    job = material.job
    with device.scope():
        head, scale = _start(material)
        network = build_network(job.base)
        network.trainable = False
        model = networks.trained_from_pixels(job.base, network, head, job.regime.dropout or 0.0, scale=scale)
        fresh = material.fresh(job.regime.epochs or 1)
        progress = material.run(material.course(model, fresh, material.seen(job.views[0]), stage="frozen"))
        live = _live(material, network, head, scale)
    return Outcome(live=live, model=model, source_of=material.seen, parameters=trainable(model), stages=[progress])
