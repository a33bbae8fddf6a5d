"""Tasks for experiments and checks: audit, distill, pretrain, blocks, ladder, scout, views."""

from invoke import Context

from pipeline.cli.common import (
    command,
    load_competition,
    log_written,
    parse_folds,
    parse_number,
    parse_numbers,
    parse_path,
    parse_size,
    parse_sizes,
)


@command(
    json=True,
    teacher="a run (its name, or the beginning of it), or store:[FOLDER/]LEARNWARE; repeated, their mean teaches",
    student="a base, name[:size][@cut][+pooling][=weights], or scratch or augmented: the small network from nothing",
    strategy="features, frozen or finetune",
    head="linear or mlp",
    temperature="divides the logits of teacher and student; 2",
    weight="of the soft targets against the labels, 0 to 1; 0.9",
    seeds="how many",
    patient="teachers answer for the very view that the student sees",
    nested="teachers that have not seen the student's held-out labels (--no-nested: any run teaches, and flatters)",
)
def distill(
    _: Context,
    comp: str | None = None,
    teacher: tuple[str, ...] = (),
    student: str = "mobilenet_025",
    strategy: str | None = None,
    head: str | None = None,
    temperature: str | None = None,
    weight: str | None = None,
    seeds: str = "1",
    patient: bool = False,
    nested: bool = True,
    fold: tuple[str, ...] = (),
    size: str | None = None,
    epochs: str | None = None,
    unfreeze: str | None = None,
    set_: tuple[str, ...] = (),
    bundle: str | None = None,
    engine: str = "auto",
) -> None:
    """Teach a small student what other runs or learnwares know; teacher, student without and with, compared."""
    from pipeline.config import SCRATCH_STRATEGIES
    from pipeline.training.soft_targets import DistillationConfig

    is_scratch = student in SCRATCH_STRATEGIES
    competition = load_competition(
        comp,
        None,
        set_,
        strategy=student if is_scratch else strategy or "features",
        bases=() if is_scratch else (student,),
        head=head,
        size=parse_size(size),
        unfreeze=unfreeze,
        **parse_numbers(int, epochs=epochs),
    )
    softening = parse_numbers(float, temperature=temperature, weight=weight)
    config = DistillationConfig(teachers=teacher, patient=patient, nested=nested, **softening)
    from pipeline.config import RunOptions
    from pipeline.distillation.run import run_distillation

    options = RunOptions(folds=parse_folds(fold), engine=engine, bundle=parse_path(bundle))
    run_distillation(competition, config, options, parse_number(seeds, "--seeds", least=1))


@command(
    epochs="passes over the drawn world",
    pictures="drawn of each class",
    seed="of the world, the weights and the order",
    debug="a few pictures, in seconds; learns nothing",
    install="put the weights into the repository, in place of those that are there",
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
    from pipeline.training import pretrain_petite

    config = pretrain_petite.PretrainConfig(**parse_numbers(int, epochs=epochs, pictures=pictures, seed=seed))
    pretrain_petite.run_pretraining(pretrain_petite.build_debug_config(config) if debug else config, install=install)


@command(json=True, base="a whole base, name[=weights]; may be repeated", engine="auto, keras or openvino")
def blocks(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    fold: tuple[str, ...] = (),
    size: str | None = None,
    engine: str = "auto",
) -> None:
    """Show how good a base's features are at each of its blocks."""
    competition = load_competition(comp, bases=base, size=parse_size(size))
    folds = parse_folds(fold)
    from pipeline.config import RunOptions
    from pipeline.experiments.block_probe import run_block_probe

    run_block_probe(competition, RunOptions(folds=folds, engine=engine))


@command(
    json=True,
    strategy="some of scratch, augmented, features, frozen, 'frozen end to end', finetune; may be repeated",
    seeds="how many; the pictures and the split stay the same",
    sizes="training, validation and test pictures",
)
def ladder(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    strategy: tuple[str, ...] = (),
    seeds: str = "1",
    sizes: str = "2000,1000,1000",
    size: str | None = None,
    epochs: str | None = None,
    unfreeze: str | None = None,
    set_: tuple[str, ...] = (),
    bundle: str | None = None,
    engine: str = "auto",
) -> None:
    """Climb every strategy on one split: what each step gains, and what it costs."""
    competition = load_competition(
        comp, None, set_, bases=base, size=parse_size(size), unfreeze=unfreeze, **parse_numbers(int, epochs=epochs)
    )
    counts = parse_sizes(sizes, "--sizes")
    from pipeline.config import RunOptions
    from pipeline.experiments import ladder as experiment

    experiment.run_ladder(
        competition,
        strategies=strategy or experiment.DEFAULT_STRATEGIES,
        seeds=parse_number(seeds, "--seeds", least=1),
        sizes=experiment.parse_sizes(list(counts)),
        options=RunOptions(engine=engine, bundle=parse_path(bundle)),
    )


@command(
    json=True,
    directions="principal directions kept of each base's features; as many as the time allows where not given",
    verify="train the recipe's own head on the best base and on the winner (--no-verify leaves it)",
)
def scout(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    size: str | None = None,
    directions: str | None = None,
    engine: str = "auto",
    verify: bool = True,
) -> None:
    """Try every combination of bases in seconds, and say which to use together."""
    competition = load_competition(comp, bases=base, size=parse_size(size))
    from pipeline.config import RunOptions
    from pipeline.experiments.base_search import run_base_search

    most = parse_number(directions, "--directions", least=1)
    run_base_search(competition, RunOptions(engine=engine), verify=verify, most=most)


@command(json=True, run="name of a run, or what it begins with; the best with several views where not given")
def views(_: Context, comp: str | None = None, run: str | None = None) -> None:
    """Show what each view of a run is worth, and how to weigh them."""
    from pipeline.experiments.tta import run_view_weighting

    run_view_weighting(load_competition(comp).name, run)


@command(
    json=True,
    base="whose features are used, name[:size][@cut][+pooling][=weights]; may be repeated",
    seed="of the drawn decoys and of the checks' folds",
)
def audit(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    size: str | None = None,
    seed: str | None = None,
    set_: tuple[str, ...] = (),
    engine: str = "auto",
    bundle: str | None = None,
) -> None:
    """Look for duplicates, scenes, leaks, wrong labels and drift, and write a page with the pictures."""
    competition = load_competition(
        comp, settings=set_, bases=base, size=parse_size(size), **parse_numbers(int, seed=seed)
    )
    from pipeline.audit.run import run_audit
    from pipeline.config import RunOptions

    run_audit(competition, RunOptions(engine=engine, bundle=parse_path(bundle)))


@command(base="a whole convolutional base, name[:size][=weights]; its first layers answer to edges, its last to things")
def layers(_: Context, comp: str | None = None, base: tuple[str, ...] = (), size: str | None = None) -> None:
    """Draw what single filters of a base answer to, from early to late layers."""
    competition = load_competition(comp, bases=base, size=parse_size(size))
    from pipeline.experiments.layer_filters import write_layer_sheet

    log_written(write_layer_sheet(competition))
