"""Task distill: an ensemble's knowledge goes into one small model."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import competition_with, errors_shown, file_of, folds_of, number, share, training, words


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["teacher", "fold"],
    help=words(
        *("comp", "fold", "size", "epochs", "patience", "rate", "cached-views", "unfreeze", "bundle", "engine"),
        teacher="a run (its name, or the beginning of it), or store:[FOLDER/]LEARNWARE; repeated, their mean teaches",
        student="a base, name[@cut][+pooling][=weights], or scratch or augmented: the small network from nothing",
        rung="features, frozen or finetune",
        head="linear or dense",
        temperature="divides the logits of teacher and student; 2",
        weight="of the soft targets against the labels, 0 to 1; 0.9",
        seeds="how many",
        patient="teachers answer for the very view that the student sees",
        nested="teachers that have not seen the student's held-out labels (--no-nested: any run teaches, and flatters)",
        augmented_views="cached augmented views that a head on features is trained on",
    ),
)
def distill(
    _: Context,
    comp: str | None = None,
    teacher: Any = None,
    student: str = "mobilenet_025",
    rung: str | None = None,
    head: str | None = None,
    temperature: str | None = None,
    weight: str | None = None,
    seeds: str = "1",
    patient: bool = False,
    nested: bool = True,
    fold: Any = None,
    size: str | None = None,
    epochs: str | None = None,
    unfreeze: str | None = None,
    augmented_views: str | None = None,
    cached_views: str | None = None,
    rate: str | None = None,
    patience: str | None = None,
    bundle: str | None = None,
    engine: str = "auto",
) -> None:
    """Teach a small student what other runs or learnwares know; teacher, student without and with, compared."""
    with errors_shown():
        from pipeline.recipe import FROM_NOTHING
        from pipeline.training.distilled import Distillation

        small = {"rung": student} if student in FROM_NOTHING else {"rung": rung or "features", "bases": (student,)}
        competition = competition_with(
            comp, **small, head=head, size=number(size, "--size"),
            augmented_views=number(augmented_views, "--augmented-views"),
            **training(epochs=epochs, patience=patience, rate=rate, cached_views=cached_views, unfreeze=unfreeze),
        )  # fmt: skip
        numbers = {"temperature": share(temperature, "--temperature"), "weight": share(weight, "--weight")}
        asked = Distillation(
            teachers=tuple(teacher or ()), patient=patient, nested=nested,
            **{name: value for name, value in numbers.items() if value is not None},
        )  # fmt: skip
        from pipeline.experiments import distilling
        from pipeline.options import Options

        options = Options(folds=folds_of(fold), engine=engine, bundle=file_of(bundle))
        distilling.distill(competition, asked, options, number(seeds, "--seeds") or 1)
