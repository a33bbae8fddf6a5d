"""Tasks that are experiments: ladder, blocks, pretrain."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import competition_with, errors_shown, file_of, folds_of, number, training, words


@task(
    positional=[],
    auto_shortflags=False,
    help=words(
        epochs="passes over the drawn world",
        pictures="drawn of each class",
        seed="of the world, the weights and the order",
        debug="a few pictures, in seconds; learns nothing",
        install="put the weights into the repository, in place of those that are there",
    ),
)
def pretrain(
    _: Context,
    epochs: str | None = None,
    pictures: str | None = None,
    seed: str | None = None,
    debug: bool = False,
    install: bool = False,
) -> None:
    """Train the repository's own base, petite, on the drawn world."""
    with errors_shown():
        from pipeline.training import pretrain as training

        given: dict[str, Any] = {"epochs": number(epochs, "--epochs"), "pictures": number(pictures, "--pictures")}
        given |= {"seed": number(seed, "--seed")}
        recipe = training.Pretraining(**{name: value for name, value in given.items() if value is not None})
        training.command(training.in_seconds(recipe) if debug else recipe, install=install)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "fold"],
    help=words(
        *("comp", "fold", "size"),
        base="a whole base, name[=weights]; may be repeated",
        engine="auto, keras or openvino",
    ),
)
def blocks(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    fold: Any = None,
    size: str | None = None,
    engine: str = "auto",
) -> None:
    """Show how good a base's features are at each of its blocks."""
    with errors_shown():
        competition = competition_with(comp, bases=tuple(base or ()), size=number(size, "--size"))
        folds = folds_of(fold)
        from pipeline.experiments.blocks import compare
        from pipeline.options import Options

        compare(competition, Options(folds=folds, engine=engine))


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "rung"],
    help=words(
        *("comp", "base", "size", "epochs", "patience", "rate", "cached-views", "unfreeze", "bundle", "engine"),
        rung="some of scratch, augmented, features, frozen, 'frozen end to end', finetune; may be repeated",
        seeds="how many; the pictures and the split stay the same",
        sizes="training, validation and test pictures",
    ),
)
def ladder(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    rung: Any = None,
    seeds: str = "1",
    sizes: str = "2000,1000,1000",
    size: str | None = None,
    epochs: str | None = None,
    patience: str | None = None,
    rate: str | None = None,
    cached_views: str | None = None,
    unfreeze: str | None = None,
    bundle: str | None = None,
    engine: str = "auto",
) -> None:
    """Climb every rung on one split: what each step gains, and what it costs."""
    with errors_shown():
        competition = competition_with(
            comp,
            bases=tuple(base or ()),
            size=number(size, "--size"),
            **training(epochs=epochs, patience=patience, rate=rate, cached_views=cached_views, unfreeze=unfreeze),
        )
        counts = [number(text, "--sizes") or 0 for text in sizes.split(",")]
        from pipeline import flow
        from pipeline.experiments import ladder as experiment

        experiment.ladder(
            competition,
            rungs=tuple(rung or experiment.DEFAULT_RUNGS),
            seeds=number(seeds, "--seeds") or 1,
            sizes=experiment.three(counts),
            options=flow.Options(engine=engine, bundle=file_of(bundle)),
        )
