"""The rung `finetune`, in the talk's five steps: a head on the frozen base; trained; the top of the base unfrozen;
both trained at a low rate. The part below the cut is computed once: its activations are cached, and training starts
from them. Where nothing is frozen, or the cache has no room, pictures go through the whole base in every epoch.
"""

from dataclasses import replace
from typing import Any, cast

from pipeline.models import cuts
from pipeline.models.extractor import build_network
from pipeline.models.heads import Head
from pipeline.training import device, networks
from pipeline.training.activations import views_of
from pipeline.training.features import heads_on
from pipeline.training.handover import compare, compare_features
from pipeline.training.material import Material
from pipeline.training.outcome import Outcome, trainable
from pipeline.training.predicting import predict, predict_features
from pipeline.training.sources import Fixed, Source, Views

POLISH = 0.2
"""The rate of the last epochs with fresh augmentation, as a share of the rate before."""


def train(material: Material) -> Outcome:
    """All steps; the live network is held against the cache at each of them."""
    job, regime = material.job, material.job.regime
    first, records = _first_head(material)
    with device.scope():
        network = build_network(job.base, free=bool(regime.sizes))
        head = networks.head_layers(first)
        live = networks.live_model(job.base, network, head)
        outcome = Outcome(live=live, model=live, source_of=material.seen, before=records)
        _hand_over_head(material, outcome, first)
        networks.freeze_up_to(network, job.cut)
        if job.cached:
            _take_cache(material, outcome, network, head)
        _tune(material, outcome, network, head)
        if regime.polish:
            _polish(material, outcome, network, head)
    return outcome


def _first_head(material: Material) -> tuple[Head, list[dict[str, Any]]]:
    """The head on the frozen base, from cached features, and its record in the history."""
    job, fold = material.job, material.features_of_fold()
    heads, records = heads_on([fold], job.head, job.classes, job.seed)
    loss = next(record["held_loss"] for record in records if record["chosen"])
    score = material.score(fold.held_labels, heads[0].probabilities(fold.held_features))
    record = {"fold": job.fold, "stage": "head", "epoch": 0, "loss": "", "held_loss": loss, "score": score}
    return heads[0], [{**record, "chosen": True}]


def _hand_over_head(material: Material, outcome: Outcome, first: Head) -> None:
    """The live network with the first head must predict what that head predicts on cached features."""
    job, sample, step = material.job, material.sample, "the head on the frozen base"
    features = material.cached(job.base, job.views[0]).take(sample)
    pictures = material.seen(job.views[0])
    compare_features(predict_features(outcome.live, pictures, sample), features, job.precision, step)
    live = predict(outcome.live, pictures, sample)
    outcome.differences.append(compare(live, first.probabilities(features), job.precision, step))


def _take_cache(material: Material, outcome: Outcome, network: Any, head: list[Any]) -> None:
    """From here on the part above the cut predicts, from cached activations."""
    job = material.job
    lower = replace(job.base, cut=job.cut, pooling="none")
    upper = cuts.upper_part(network, str(job.cut))
    outcome.model = networks.trained_from_cut(job.base, upper, head, job.regime.dropout or 0.0)
    outcome.source_of = lambda view: Fixed(material.cached(lower, view))
    outcome.precision = "bfloat16" if job.cut_precision == "bfloat16" else "float16"
    outcome.hand_over(material, "the activations at the cut")


def _tune(material: Material, outcome: Outcome, network: Any, head: list[Any]) -> None:
    """Trains what is above the cut, and the head."""
    job, regime = material.job, material.job.regime
    if job.cached:
        lower = replace(job.base, cut=job.cut, pooling="none")
        views = [material.cached(lower, view, train_only=True) for view in views_of(regime)]
        model, source = outcome.model, cast(Source, Views(views, seed=job.seed))
    else:
        model, source = _from_pixels(material, network, head), material.fresh(regime.epochs or 1)
    outcome.parameters = trainable(model)
    held = outcome.source_of(job.views[0])
    course = material.course(
        model, source, held, stage="finetune", factors=_factors(material, network), from_start=True
    )
    outcome.stages.append(material.run(course))
    outcome.hand_over(material, "after fine-tuning")


def _polish(material: Material, outcome: Outcome, network: Any, head: list[Any]) -> None:
    """A few last epochs with fresh augmentation, all of the picture's way."""
    job, regime = material.job, material.job.regime
    epochs = regime.polish or 1
    last = replace(regime, epochs=epochs, patience=epochs, rate=(regime.rate or 0.0) * POLISH, warmup=0.0, sizes=())
    model = _from_pixels(material, network, head)
    source, held = material.fresh(epochs, sizes=()), material.seen(job.views[0])
    factors = _factors(material, network)
    course = material.course(model, source, held, stage="polish", regime=last, factors=factors, from_start=True)
    outcome.stages.append(material.run(course))
    outcome.hand_over(material, "after the last polish")


def _from_pixels(material: Material, network: Any, head: list[Any]) -> Any:
    """The whole network on pixels, as it is trained."""
    job = material.job
    dropout, free = job.regime.dropout or 0.0, bool(job.regime.sizes)
    return networks.trained_from_pixels(job.base, network, head, dropout, free=free)


def _factors(material: Material, network: Any) -> dict[str, float]:
    """Of the rate, by depth."""
    job = material.job
    return cuts.rate_factors(network, job.base.entry.blocks, job.regime.depth_decay or 1.0)
