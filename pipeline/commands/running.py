"""Tasks that go the way from the archive to a submission, or a part of it: run, download, features."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import (
    SIDES,
    competition_with,
    errors_shown,
    file_of,
    folds_of,
    hold_against,
    number,
    share,
    side,
    sides,
    words,
)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "fold", "attach", "train_view"],
    help=words(
        *("comp", "base", "rung", "head", "unfreeze", "epochs", "seed", "engine", "bundle"),
        size=SIDES,
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
    with errors_shown():
        competition = competition_with(
            comp,
            rung=rung,
            bases=tuple(base or ()),
            size=side(size),
            head=head,
            train_views=tuple(train_view or ()),
            strength=share(strength, "--strength"),
            grouping="estimated" if grouped else None,
            seed=number(seed, "--seed"),
            epochs=number(epochs, "--epochs"),
            unfreeze=unfreeze,
            sizes=sides(sizes, "--sizes"),
        )
        hold_against(
            competition.recipe,
            unfreeze=unfreeze,
            epochs=epochs,
            sizes=sizes,
            strength=strength,
            head=head,
            train_view=train_view,
        )
        folds = folds_of(fold)
        from pipeline import flow

        options = flow.Options(
            bundle=file_of(bundle),
            debug=debug,
            folds=folds,
            force=force,
            resplit=resplit,
            engine=engine,
            board=tensorboard,
        )
        if on is not None or dry_run or accelerator or internet or attach or not wait:
            from pipeline.commands.remote import elsewhere

            elsewhere(competition, options, on, accelerator, internet, attach, wait, dry_run)
            return
        if find_lr:
            flow.find_rate(competition, options)
            return
        folder = flow.run(competition, options)
        if competition.drawn and not debug:
            from pipeline.experiments import lesson

            lesson.teach(competition, folder, options)


@task(positional=[], auto_shortflags=False, help=words("comp", "bundle"))
def download(_: Context, comp: str | None = None, bundle: str | None = None, force: bool = False) -> None:
    """Fetch and unpack a competition's data."""
    with errors_shown():
        from pipeline.dataset.checks import fetched
        from pipeline.kaggle.fetch import status

        competition = competition_with(comp)
        fetched(competition, bundle=file_of(bundle), force=force)
        print(f"{competition.name}: {status(competition)}")


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "view"],
    help=words(
        "comp", "base", "engine",
        size=SIDES,
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
    with errors_shown():
        competition = competition_with(comp, bases=tuple(base or ()), views=tuple(view or ()), size=side(size))
        from pipeline import flow
        from pipeline.features.extract import Extractor
        from pipeline.models.bases import parse

        bases = [parse(text, competition.recipe.size) for text in competition.recipe.bases]
        data = flow.prepare(competition, bases, flow.Options(engine=engine))
        recipe = data.competition.recipe
        for one in (parse(text, recipe.size) for text in recipe.bases):
            for name in recipe.views:
                with flow.stage("features") as said:
                    extractor = Extractor(one, data.files, wanted=engine, force=force)
                    values = extractor.features(sorted(data.files), name)
                    used = extractor.choose(sorted(data.files)).engine
                    said.append(
                        f"{one} {name}: {len(values):,} x {values.shape[1]}, {extractor.computed:,} computed by {used}"
                    )
