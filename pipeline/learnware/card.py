"""The model card of a learnware, for people (Mitchell et al. 2019, Model Cards for Model Reporting): plain Markdown."""

from pipeline.learnware.contract import Contract
from pipeline.learnware.specification import Specification

MOST_CLASSES = 30


def card(specification: Specification, contract: Contract, drawn: bool) -> str:
    """What the model is for, how good it is, how it is asked, and what its specification reveals.

    Args:
        specification: its words.
        contract: how to ask it.
        drawn: whether the pictures of the probe batch were drawn, or taken from a folder.
    """
    words = specification.semantic
    classes = ", ".join(words.classes[:MOST_CLASSES])
    more = f", ... ({len(words.classes)} in all)" if len(words.classes) > MOST_CLASSES else ""
    score = "not measured" if words.score is None else f"{words.metric} {words.score:.5f} ± {words.spread or 0:.5f}"
    speed = f", {words.pictures_per_second:.0f} pictures/s where it was added" if words.pictures_per_second else ""
    shown = "were drawn for it" if drawn else "were given for it with --probe-images, and travel along"
    sizes = " and ".join(f"{size} x {size}" for size in contract.sizes)
    return "\n".join(
        [
            f"# {words.name}",
            "",
            f"{words.task}: {classes}{more}.",
            "",
            f"- trained on: {words.data}",
            f"- score: {score}, on folds that were held out",
            f"- network: {words.base}, rung {words.rung}, {words.parameters:,} parameters, "
            f"{words.megabytes:.1f} MB{speed}",
            f"- takes: {sizes} pixels, {contract.colour}; views averaged: {', '.join(contract.views)}",
            f"- answers: {contract.answer} probabilities of {len(contract.classes)} classes",
            f"- licence: {words.licence}",
            "",
            "## What travels with it",
            "",
            "No training picture. The specification holds weighted points in the feature space of "
            f"{specification.probe.base}, fitted to {specification.whole.pictures:,} training pictures and their "
            "classes: they tell roughly what the pictures look like, and no picture can be read from them, but a "
            "model and a specification are never proof that nothing about a training picture can be inferred.",
            "Its predictions on a probe batch let anyone check that the model answers as "
            f"it did; the pictures of that batch {shown}.",
            "",
        ]
    )
