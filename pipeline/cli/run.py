"""Tasks that run elsewhere: `run --on kaggle`, and kernel, which goes on with what was pushed.

Tasks that go the way from the archive to a submission, or a part of it: run, download, features.
"""

from typing import Any

from invoke import Context, task

from pipeline.cli.common import (
    SIZE_HELP,
    build_help,
    check_flags,
    handle_errors,
    load_competition,
    parse_float,
    parse_folds,
    parse_int,
    parse_path,
    parse_size,
    parse_sizes,
)


def send_to_kaggle(
    competition: Any,
    options: Any,
    on: str | None,
    accelerator: str | None,
    internet: bool,
    attach: Any,
    wait: bool,
    dry: bool,
) -> None:
    """A run on Kaggle, from the flags of `invoke run`."""
    from pipeline.errors import require
    from pipeline.kernels import run as attending
    from pipeline.kernels.push import DEFAULT_ACCELERATOR
    from pipeline.kernels.run import KernelOptions

    flags = {
        "--dry-run": dry,
        "--accelerator": accelerator,
        "--internet": internet,
        "--attach": attach,
        "--no-wait": not wait,
    }
    given = ", ".join(name for name, value in flags.items() if value)
    require(on is not None, f"{given}: only for a run on Kaggle.", expected="--on kaggle beside it", received="no --on")
    require(on == "kaggle", "There is no such place to run.", expected="--on kaggle", received=on)
    request = KernelOptions(
        accelerator=accelerator or DEFAULT_ACCELERATOR,
        internet=internet,
        attach=tuple(attach or ()),
        wait=wait,
        dry=dry,
    )
    attending.run_on_kaggle(competition, options, request)


@task(
    positional=[],
    auto_shortflags=False,
    help=build_help("comp", wait="follow it and bring it home (--no-wait only says how it is)"),
)
def kernel(_: Context, comp: str | None = None, wait: bool = True) -> None:
    """Go on with what was pushed to Kaggle: follow it, bring it home, push the session after it."""
    with handle_errors():
        from pipeline.kernels import run as attending

        attending.resume_run(load_competition(comp), wait=wait)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "fold", "attach", "train_view"],
    help=build_help(
        *("comp", "base", "rung", "head", "unfreeze", "epochs", "seed", "engine", "bundle"),
        size=SIZE_HELP,
        fold="train this fold only; may be repeated",
        sizes="finetune with growing pictures, each size for an equal part of the epochs, such as 128,160",
        find_lr="only look for a learning rate, and draw what was found",
        tensorboard="write TensorBoard's files into the run's folder",
        train_view="a view that the head is trained on, such as flip; may be repeated",
        strength="of the linear head's L2, such as 3e-5; chosen on the folds where not given",
        debug="64 pictures, the whole way, in seconds",
        force="fetch the data and compute the features again",
        resplit="make new folds",
        grouped="keep pictures of one scene in one fold, as invoke audit found them",
        on="kaggle: the same run on a Kaggle GPU, its results brought home",
        accelerator="with --on kaggle: NvidiaTeslaT4 (the default) or cpu",
        internet="with --on kaggle: turn it on; then weights are downloaded there",
        attach="with --on kaggle: a dataset (owner/slug) or a model (owner/model/framework/variation/version); may be "
        "repeated",
        wait="with --on kaggle: follow it and bring it home (--no-wait leaves it; invoke kernel picks it up)",
        dry_run="with --on kaggle: only show what would be sent",
    ),
)
def run(
    _: Context,
    comp: str | None = None,
    rung: str | None = None,
    base: Any = None,
    fold: Any = None,
    unfreeze: str | None = None,
    epochs: str | None = None,
    sizes: str | None = None,
    find_lr: bool = False,
    size: str | None = None,
    head: str | None = None,
    train_view: Any = None,
    strength: str | None = None,
    seed: str | None = None,
    engine: str = "auto",
    tensorboard: bool = False,
    bundle: str | None = None,
    debug: bool = False,
    force: bool = False,
    resplit: bool = False,
    grouped: bool = False,
    on: str | None = None,
    accelerator: str | None = None,
    internet: bool = False,
    attach: Any = None,
    wait: bool = True,
    dry_run: bool = False,
) -> None:
    """Go the whole way: from Kaggle's archive to a submission."""
    with handle_errors():
        competition = load_competition(
            comp,
            rung=rung,
            bases=tuple(base or ()),
            size=parse_size(size),
            head=head,
            train_views=tuple(train_view or ()),
            strength=parse_float(strength, "--strength"),
            grouping="estimated" if grouped else None,
            seed=parse_int(seed, "--seed"),
            epochs=parse_int(epochs, "--epochs"),
            unfreeze=unfreeze,
            sizes=parse_sizes(sizes, "--sizes"),
        )
        check_flags(
            competition.recipe,
            unfreeze=unfreeze,
            epochs=epochs,
            sizes=sizes,
            strength=strength,
            head=head,
            train_view=train_view,
        )
        folds = parse_folds(fold)
        from pipeline.workflow import run as flow

        options = flow.RunOptions(
            bundle=parse_path(bundle),
            debug=debug,
            folds=folds,
            force=force,
            resplit=resplit,
            engine=engine,
            board=tensorboard,
        )
        if on is not None or dry_run or accelerator or internet or attach or not wait:
            send_to_kaggle(competition, options, on, accelerator, internet, attach, wait, dry_run)
            return
        if find_lr:
            flow.find_learning_rate(competition, options)
            return
        folder = flow.run(competition, options)
        if competition.drawn and not debug:
            from pipeline.experiments import sprouts_demo

            sprouts_demo.run_demo(competition, folder, options)


@task(positional=[], auto_shortflags=False, help=build_help("comp", "bundle"))
def download(_: Context, comp: str | None = None, bundle: str | None = None, force: bool = False) -> None:
    """Fetch and unpack a competition's data."""
    with handle_errors():
        from pipeline.data.validation import fetch_raw_data
        from pipeline.kaggle.download import format_status

        competition = load_competition(comp)
        fetch_raw_data(competition, bundle=parse_path(bundle), force=force)
        print(f"{competition.name}: {format_status(competition)}")


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "view"],
    help=build_help(
        "comp", "base", "engine",
        size=SIZE_HELP,
        view="a view such as plain or flip, repeatable; without it the recipe's",
        force="compute again what the cache has",
    ),
)  # fmt: skip
def features(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    view: Any = None,
    size: str | None = None,
    engine: str = "auto",
    force: bool = False,
) -> None:
    """Compute what bases see of every picture, and keep it in the cache."""
    with handle_errors():
        competition = load_competition(comp, bases=tuple(base or ()), views=tuple(view or ()), size=parse_size(size))
        from pipeline.features.extractor import Extractor
        from pipeline.models.base import parse_base
        from pipeline.workflow import run as flow

        bases = [parse_base(text, competition.recipe.size) for text in competition.recipe.bases]
        data = flow.prepare_dataset(competition, bases, flow.RunOptions(engine=engine))
        recipe = data.competition.recipe
        for one in (parse_base(text, recipe.size) for text in recipe.bases):
            for name in recipe.views:
                with flow.log_stage("features") as said:
                    extractor = Extractor(one, data.files, wanted=engine, force=force)
                    values = extractor.features(sorted(data.files), name)
                    used = extractor.choose(sorted(data.files)).engine
                    said.append(
                        f"{one} {name}: {len(values):,} x {values.shape[1]}, {extractor.computed:,} computed by {used}"
                    )
