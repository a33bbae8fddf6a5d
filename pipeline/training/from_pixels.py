"""The rungs that pass every picture through the whole network in every epoch: `scratch` and `augmented`."""

from pipeline.models.keras_private import is_seed_state
from pipeline.models.scratch import build_scratch
from pipeline.training import device
from pipeline.training.checkpoint import put_back, values_of
from pipeline.training.material import Material
from pipeline.training.outcome import Outcome, trainable


def scratch(material: Material) -> Outcome:
    """The plain network, no guard against overfitting."""
    return _trained(material, augmented=False)


def augmented(material: Material) -> Outcome:
    """The same with augmentation and dropout."""
    return _trained(material, augmented=True)


def _trained(material: Material, *, augmented: bool) -> Outcome:
    job = material.job
    with device.scope():
        model = build_scratch(job.base.size, job.classes, job.regime.dropout or 0.0)
        source = material.fresh(job.regime.epochs or 1) if augmented else material.seen("plain")
        course = material.course(model, source, material.seen(job.views[0]), stage=job.rung)
        progress = material.run(course)
        live = build_scratch(job.base.size, job.classes, 0.0)  # a saved model must not ask for our optimizer
        put_back(live.variables, values_of(v for v in model.variables if not is_seed_state(v)))
    return Outcome(live=live, model=model, source_of=material.seen, parameters=trainable(model), stages=[progress])
