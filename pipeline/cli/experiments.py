"""Task distill: an ensemble's knowledge goes into one small model.

Tasks that are experiments: ladder, blocks, pretrain.

Tasks that ask what helps before it is trained on: scout for bases, views for views.
"""

from typing import Any

from invoke import Context, task

from pipeline.cli.common import (
    SIZE_HELP,
    build_help,
    handle_errors,
    load_competition,
    parse_float,
    parse_folds,
    parse_int,
    parse_path,
    parse_size,
    parse_training_flags,
)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["teacher", "fold"],
    help=build_help(
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
    with handle_errors():
        from pipeline.config import SCRATCH_STRATEGIES
        from pipeline.training.soft_targets import DistillationConfig

        small = (
            {"rung": student} if student in SCRATCH_STRATEGIES else {"rung": rung or "features", "bases": (student,)}
        )
        competition = load_competition(
            comp, **small, head=head, size=parse_int(size, "--size"),
            augmented_views=parse_int(augmented_views, "--augmented-views"),
            **parse_training_flags(
                epochs=epochs, patience=patience, rate=rate, cached_views=cached_views, unfreeze=unfreeze
            ),
        )  # fmt: skip
        numbers = {"temperature": parse_float(temperature, "--temperature"), "weight": parse_float(weight, "--weight")}
        asked = DistillationConfig(
            teachers=tuple(teacher or ()), patient=patient, nested=nested,
            **{name: value for name, value in numbers.items() if value is not None},
        )  # fmt: skip
        from pipeline.distillation import run as distilling
        from pipeline.run_options import RunOptions

        options = RunOptions(folds=parse_folds(fold), engine=engine, bundle=parse_path(bundle))
        distilling.run_distillation(competition, asked, options, parse_int(seeds, "--seeds") or 1)


@task(
    positional=[],
    auto_shortflags=False,
    help=build_help(
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
    with handle_errors():
        from pipeline.training import pretrain_petite

        given: dict[str, Any] = {"epochs": parse_int(epochs, "--epochs"), "pictures": parse_int(pictures, "--pictures")}
        given |= {"seed": parse_int(seed, "--seed")}
        recipe = pretrain_petite.PretrainConfig(**{name: value for name, value in given.items() if value is not None})
        pretrain_petite.run_pretraining(
            pretrain_petite.build_debug_config(recipe) if debug else recipe, install=install
        )


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "fold"],
    help=build_help(
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
    with handle_errors():
        competition = load_competition(comp, bases=tuple(base or ()), size=parse_int(size, "--size"))
        folds = parse_folds(fold)
        from pipeline.experiments.block_probe import run_block_probe
        from pipeline.run_options import RunOptions

        run_block_probe(competition, RunOptions(folds=folds, engine=engine))


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "rung"],
    help=build_help(
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
    with handle_errors():
        competition = load_competition(
            comp,
            bases=tuple(base or ()),
            size=parse_int(size, "--size"),
            **parse_training_flags(
                epochs=epochs, patience=patience, rate=rate, cached_views=cached_views, unfreeze=unfreeze
            ),
        )
        counts = [parse_int(text, "--sizes") or 0 for text in sizes.split(",")]
        from pipeline.experiments import ladder as experiment
        from pipeline.workflow import run as flow

        experiment.run_ladder(
            competition,
            rungs=tuple(rung or experiment.DEFAULT_STRATEGIES),
            seeds=parse_int(seeds, "--seeds") or 1,
            sizes=experiment.parse_sizes(counts),
            options=flow.RunOptions(engine=engine, bundle=parse_path(bundle)),
        )


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=build_help(
        *("comp", "base", "engine"),
        size=SIZE_HELP,
        directions="principal directions kept of each base's features; as many as the time allows where not given",
        verify="train the recipe's own head on the best base and on the winner (--no-verify leaves it)",
    ),
)
def scout(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    size: str | None = None,
    directions: str | None = None,
    engine: str = "auto",
    verify: bool = True,
) -> None:
    """Try every combination of bases in seconds, and say which to use together."""
    with handle_errors():
        competition = load_competition(comp, bases=tuple(base or ()), size=parse_size(size))
        from pipeline.experiments import base_search
        from pipeline.run_options import RunOptions

        most = parse_int(directions, "--directions")
        base_search.run_base_search(competition, RunOptions(engine=engine), verify=verify, most=most)


@task(
    positional=[],
    auto_shortflags=False,
    help=build_help("comp", run="name of a run, or what it begins with; the best with several views where not given"),
)
def views(_: Context, comp: str | None = None, run: str | None = None) -> None:
    """Show what each view of a run is worth, and how to weigh them."""
    with handle_errors():
        from pipeline.experiments import tta

        tta.run_view_weighting(load_competition(comp).name, run)
