"""Tasks that run a competition or a part of it, here or on Kaggle: run, download, features."""

import itertools
import logging
from typing import Any

from invoke import Context

from pipeline.cli.common import (
    check_flags,
    command,
    load_competition,
    parse_folds,
    parse_numbers,
    parse_path,
    parse_size,
)


def send_to_kaggle(
    competition: Any,
    options: Any,
    on: str | None,
    accelerator: str | None,
    internet: bool,
    attach: tuple[str, ...],
    wait: bool,
    dry: bool,
) -> None:
    """Runs a competition on Kaggle, from the flags of `invoke run`."""
    from pipeline.errors import require, require_name
    from pipeline.kernels.push import DEFAULT_ACCELERATOR
    from pipeline.kernels.run import KernelOptions, run_on_kaggle

    names = ("--dry-run", "--accelerator", "--internet", "--attach", "--no-wait")
    flags = zip(names, (dry, accelerator, internet, attach, not wait), strict=True)
    used = ", ".join(name for name, value in flags if value)
    require(on is not None, f"{used}: only for a run on Kaggle.", expected="--on kaggle beside it", received="no --on")
    require_name(on, ("kaggle",), "There is no such place to run.", expected="--on kaggle")
    accelerator = accelerator or DEFAULT_ACCELERATOR
    request = KernelOptions(accelerator=accelerator, internet=internet, attach=attach, wait=wait, dry=dry)
    run_on_kaggle(competition, options, request)


def suggest_gpu_recipe(comp: str | None, on: str | None, accelerator: str | None) -> None:
    """Says that the competition's file has a recipe for GPUs, where the run will have one."""
    import competitions
    from pipeline.kernels.push import CPU
    from pipeline.models.inference_engines import has_gpu

    if (has_gpu() if on is None else accelerator != CPU) and "gpu" in competitions.list_recipes(comp):
        logging.getLogger(__name__).info("recipe    --recipe gpu names larger networks, for a GPU such as this one")


def find_continued_run(text: str | None, comp: str | None, *, other_use: bool) -> Any:
    """Finds the folder of the run that --continue names; None where it names none."""
    from pipeline.errors import require
    from pipeline.runs.load import find_run_folder

    if text is None:
        return None
    require(not other_use, "--continue goes with none of these.", expected="no --final, --find-lr or --on",
            received="--continue beside one of them")  # fmt: skip
    return find_run_folder(text, comp).resolve()


@command(
    find_lr="only look for a learning rate, and draw what was found",
    tensorboard="write TensorBoard's files into the run's folder",
    debug="at most 64 pictures and 2 folds, the whole way",
    force="fetch the data and compute the features again",
    resplit="make new folds",
    grouped="keep pictures of one scene in one fold, as invoke audit found them",
    final="also train one network on all pictures: final.keras, a fifth of the size of model.keras; a finished run is "
    "not made again",
    continue_="a finished run that trained a network: each fold starts from its weights and trains --epochs "
    "more, with a new learning-rate schedule",
    on="kaggle: the same run on a Kaggle GPU, its results brought home",
    accelerator="with --on kaggle: NvidiaTeslaT4 (the default) or cpu",
    internet="with --on kaggle: turn it on; then weights are downloaded there",
    attach="with --on kaggle: a dataset (owner/slug) or a model (owner/model/framework/variation/version); may be "
    "repeated",
    wait="with --on kaggle: follow it and bring it home (--no-wait leaves it; invoke kernel picks it up)",
    dry_run="with --on kaggle: only show what would be sent",
)
def run(
    _: Context,
    comp: str | None = None,
    recipe: str | None = None,
    strategy: str | None = None,
    base: tuple[str, ...] = (),
    fold: tuple[str, ...] = (),
    unfreeze: str | None = None,
    epochs: str | None = None,
    find_lr: bool = False,
    size: str | None = None,
    head: str | None = None,
    seed: str | None = None,
    set_: tuple[str, ...] = (),
    engine: str = "auto",
    tensorboard: bool = False,
    bundle: str | None = None,
    debug: bool = False,
    force: bool = False,
    resplit: bool = False,
    grouped: bool = False,
    final: bool = False,
    continue_: str | None = None,
    name: str | None = None,
    note: str | None = None,
    on: str | None = None,
    accelerator: str | None = None,
    internet: bool = False,
    attach: tuple[str, ...] = (),
    wait: bool = True,
    dry_run: bool = False,
) -> None:
    """Go the whole way: from Kaggle's archive to a submission."""
    competition = load_competition(
        comp,
        recipe,
        set_,
        strategy=strategy,
        bases=base,
        size=parse_size(size),
        head=head,
        grouping="estimated" if grouped else None,
        unfreeze=unfreeze,
        **parse_numbers(int, seed=seed, epochs=epochs),
    )
    check_flags(competition.recipe, set_, unfreeze=unfreeze, epochs=epochs, head=head)
    folds = parse_folds(fold)
    before = find_continued_run(continue_, comp, other_use=final or find_lr or on is not None)
    if recipe is None:
        suggest_gpu_recipe(comp, on, accelerator)
    from pipeline.config import RunOptions
    from pipeline.workflow import run as flow

    options = RunOptions(
        bundle=parse_path(bundle),
        debug=debug,
        folds=folds,
        force=force,
        resplit=resplit,
        engine=engine,
        tensorboard=tensorboard,
        continued=before,
    )
    if on is not None or dry_run or accelerator or internet or attach or not wait:
        from pipeline.errors import require

        require(name is None and note is None, "A run on Kaggle gets its name at home.", expected="no --name or --note",
                received="--on kaggle", remedy="invoke runs.note once the run is home")  # fmt: skip
        require(not final, "A kernel does not train the final model.", expected="--final without --on kaggle",
                received="both", remedy="train it here once the run is home: the command without --on")  # fmt: skip
        send_to_kaggle(competition, options, on, accelerator, internet, attach, wait, dry_run)
        return
    if find_lr:
        flow.find_learning_rate(competition, options)
        return
    folder = flow.run(competition, options, final=final, name=name, note=note)
    if competition.synthetic and not debug:
        from pipeline.experiments.sprouts_demo import run_demo

        run_demo(competition, folder, options)


@command()
def download(_: Context, comp: str | None = None, bundle: str | None = None, force: bool = False) -> None:
    """Fetch and unpack a competition's data."""
    from pipeline.data.validation import fetch_raw_data
    from pipeline.kaggle.download import format_status

    competition = load_competition(comp)
    fetch_raw_data(competition, bundle=parse_path(bundle), force=force)
    print(f"{competition.name}: {format_status(competition)}")


@command(
    view="a view such as plain or flip, repeatable; without it the recipe's",
    force="compute again what the cache has",
)
def features(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    view: tuple[str, ...] = (),
    size: str | None = None,
    set_: tuple[str, ...] = (),
    engine: str = "auto",
    force: bool = False,
) -> None:
    """Compute what bases see of every picture, and keep it in the cache."""
    competition = load_competition(comp, settings=set_, bases=base, views=view, size=parse_size(size))
    from pipeline.config import RunOptions
    from pipeline.features.extractor import Extractor
    from pipeline.models.base import parse_base
    from pipeline.workflow.context import log_stage
    from pipeline.workflow.run import prepare_dataset

    bases = [parse_base(text, competition.recipe.size) for text in competition.recipe.bases]
    data = prepare_dataset(competition, bases, RunOptions(engine=engine))
    recipe = data.competition.recipe
    for spec, name in itertools.product((parse_base(text, recipe.size) for text in recipe.bases), recipe.views):
        with log_stage("features") as messages:
            extractor = Extractor(spec, data.files, wanted=engine, force=force)
            rows = extractor.features(sorted(data.files), name)
            used = extractor.choose(sorted(data.files)).engine
            messages.append(
                f"{spec} {name}: {len(rows):,} x {rows.shape[1]}, {extractor.computed:,} computed by {used}"
            )
