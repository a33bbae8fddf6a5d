"""The command line: `invoke run --comp dog-breed`. Every task turns flags into calls; the work is in pipeline/."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from invoke import Context, task

COMP = "name of a competition, or the path of a competition file"
BASE = "a base, name[@cut][+pooling][=weights]; may be repeated"


@contextlib.contextmanager
def errors_shown() -> Iterator[None]:
    """Sets up the words on the terminal; a user's error is printed without a traceback and exits with 1."""
    import logging
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the default; said aloud, TensorFlow does not print about it
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for loud in ("openvino", "tensorflow", "absl", "h5py"):
        logging.getLogger(loud).setLevel(logging.ERROR)
    from pipeline.errors import StarshiftError

    try:
        yield
    except StarshiftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def competition_with(comp: str | None, **changes: Any) -> Any:
    """The competition, its recipe changed by those flags that were given."""
    from dataclasses import replace

    import competitions

    found = competitions.find(comp)
    given = {name: value for name, value in changes.items() if value not in (None, (), [])}
    taught = {name: given.pop(name) for name in ("epochs", "unfreeze") if name in given}
    recipe = replace(found.recipe, training=replace(found.recipe.training, **taught), **given)
    return replace(found, recipe=recipe)


def number(text: Any, flag: str) -> int | None:
    """The whole number that a flag was given, or None."""
    from pipeline.errors import StarshiftError

    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise StarshiftError(f"{flag} is a whole number.", expected="e.g. 0", received=repr(text)) from error


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "fold"],
    help={
        "comp": COMP,
        "rung": "scratch, augmented, features, frozen or finetune",
        "base": BASE,
        "fold": "train this fold only; may be repeated",
        "unfreeze": "finetune from this block or layer, this share of layers such as 0.3, or all",
        "epochs": "at most so many",
        "find-lr": "only look for a learning rate, and draw what was found",
        "tensorboard": "write TensorBoard's files into the run's folder",
        "size": "side of the pictures in pixels",
        "head": "linear or dense",
        "seed": "of training and augmentation",
        "engine": "auto, keras, openvino or openvino-bf16",
        "bundle": "an archive that was downloaded by hand",
        "debug": "64 pictures, the whole way, in seconds",
        "force": "fetch the data and compute the features again",
        "resplit": "make new folds",
    },
)
def run(
    _: Context,
    comp: str | None = None,
    rung: str | None = None,
    base: Any = None,
    fold: Any = None,
    unfreeze: str | None = None,
    epochs: str | None = None,
    find_lr: bool = False,
    size: str | None = None,
    head: str | None = None,
    seed: str | None = None,
    engine: str = "auto",
    tensorboard: bool = False,
    bundle: str | None = None,
    debug: bool = False,
    force: bool = False,
    resplit: bool = False,
) -> None:
    """Go the whole way: from Kaggle's archive to a submission."""
    with errors_shown():
        from pathlib import Path

        competition = competition_with(
            comp,
            rung=rung,
            bases=tuple(base or ()),
            size=number(size, "--size"),
            head=head,
            seed=number(seed, "--seed"),
            epochs=number(epochs, "--epochs"),
            unfreeze=unfreeze,
        )
        folds = tuple(value for text in fold or () if (value := number(text, "--fold")) is not None)
        from pipeline import flow

        options = flow.Options(
            bundle=Path(bundle).expanduser() if bundle else None,
            debug=debug,
            folds=folds,
            force=force,
            resplit=resplit,
            engine=engine,
            board=tensorboard,
        )
        if find_lr:
            flow.find_rate(competition, options)
            return
        folder = flow.run(competition, options)
        if competition.drawn and not debug:
            from pipeline import lesson

            lesson.teach(competition, folder, options)


@task(positional=[], auto_shortflags=False, help={"comp": COMP, "bundle": "an archive that was downloaded by hand"})
def download(_: Context, comp: str | None = None, bundle: str | None = None, force: bool = False) -> None:
    """Fetch and unpack a competition's data."""
    with errors_shown():
        from pathlib import Path

        from pipeline.kaggle.fetch import fetch, status

        competition = competition_with(comp)
        fetch(competition, bundle=Path(bundle).expanduser() if bundle else None, force=force)
        print(f"{competition.name}: {status(competition)}")


@task(positional=[], auto_shortflags=False)
def comps(_: Context) -> None:
    """List the competitions: metric, classes, pictures, and where the data stands."""
    with errors_shown():
        import competitions
        from pipeline import paths
        from pipeline.files import read_json
        from pipeline.kaggle.fetch import status

        print(f"{'name':<18} {'metric':<16} {'classes':>7} {'train':>7} {'test':>7}  data")
        for name in competitions.names():
            found = competitions.find(name)
            counts = read_json(paths.competition_folder(found.name) / "summary.json") or {}
            shown = [f"{counts[key]:,}" if key in counts else "?" for key in ("classes", "train", "test")]
            print(f"{name:<18} {found.metric:<16} {shown[0]:>7} {shown[1]:>7} {shown[2]:>7}  {status(found)}")


@task(positional=[], auto_shortflags=False, iterable=["base"], help={"comp": COMP, "base": BASE})
def show(
    _: Context, comp: str | None = None, base: Any = None, size: str | None = None, head: str | None = None
) -> None:
    """Print a competition's resolved recipe."""
    with errors_shown():
        from dataclasses import asdict

        from pipeline.models.bases import parse

        competition = competition_with(comp, bases=tuple(base or ()), size=number(size, "--size"), head=head)
        for section, values in asdict(competition).items():
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                print(f"{section + ('.' + key if key else ''):<24} {value}")
        for text in competition.recipe.bases:
            resolved = parse(text, competition.recipe.size)
            words = f"{resolved.size} px, cut {resolved.cut or 'none'}, {resolved.weights} weights"
            print(f"{'base ' + resolved.name:<24} {words}")
        print(f"{'fingerprint':<24} {competition.fingerprint()[:16]}")


@task(positional=[], auto_shortflags=False, iterable=["base", "view"], help={"comp": COMP, "base": BASE})
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
        competition = competition_with(
            comp, bases=tuple(base or ()), views=tuple(view or ()), size=number(size, "--size")
        )
        from pipeline import flow
        from pipeline.features.extract import Extractor
        from pipeline.models.bases import parse

        bases = [parse(text, competition.recipe.size) for text in competition.recipe.bases]
        data = flow.prepare(competition, bases, flow.Options(engine=engine))
        for one in bases:
            for name in competition.recipe.views:
                with flow.stage("features") as said:
                    extractor = Extractor(one, data.files, wanted=engine, force=force)
                    values = extractor.features(sorted(data.files), name)
                    used = extractor.choose(sorted(data.files)).engine
                    said.append(
                        f"{one} {name}: {len(values):,} x {values.shape[1]}, {extractor.computed:,} computed by {used}"
                    )


@task(positional=[], auto_shortflags=False, iterable=["prune"], help={"verify": "hold every row against its checksum"})
def cache(_: Context, verify: bool = False, prune: Any = None) -> None:
    """Show the cache; --verify checks it, --prune KEY (or `strays`) removes from it."""
    with errors_shown():
        from pipeline.features import cache as kept

        if prune:
            print(f"freed {kept.prune(list(prune)) / 1e6:,.1f} MB")
        listed = kept.entries()
        for entry in listed:
            damaged = kept.verify(entry) if verify else []
            state = f"  {len(damaged)} damaged shards removed" if damaged else "  whole" if verify else ""
            print(
                f"{entry.store.key}  {entry.bytes / 1e6:>9,.1f} MB  {entry.rows:>8,} rows  {entry.description}{state}"
            )
        total = kept.summary(listed)
        print(f"{total['stores']} stores, {total['rows']:,} rows, {total['bytes'] / 1e6:,.1f} MB")


@task(
    positional=[],
    auto_shortflags=False,
    help={
        "epochs": "passes over the drawn world",
        "pictures": "drawn of each class",
        "seed": "of the world, the weights and the order",
        "debug": "a few pictures, in seconds; learns nothing",
        "install": "put the weights into the repository, in place of those that are there",
    },
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
    help={
        "comp": COMP,
        "pictures": "how many, one a row",
        "views": "how many augmentations of each",
        "size": "side of the pictures in pixels",
        "seed": "draws the pictures",
    },
)
def augmented(
    _: Context,
    comp: str | None = None,
    pictures: str = "8",
    views: str = "8",
    size: str | None = None,
    seed: str | None = None,
) -> None:
    """Draw a sheet of what training will see: pictures and their augmented views."""
    with errors_shown():
        competition = competition_with(comp, seed=number(seed, "--seed"))
        from pipeline import paths
        from pipeline.report.augmented import write_sheet

        rows, columns = number(pictures, "--pictures") or 0, number(views, "--views") or 0
        path = write_sheet(competition, pictures=rows, views=columns, size=number(size, "--size"))
        print(f"wrote {paths.shown(path)}")


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "fold"],
    help={
        "comp": COMP,
        "base": "a whole base, name[=weights]; may be repeated",
        "fold": "this fold only; may be repeated",
        "size": "side of the pictures in pixels",
        "engine": "auto, keras or openvino",
    },
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
        folds = tuple(value for text in fold or () if (value := number(text, "--fold")) is not None)
        from pipeline.blocks import compare
        from pipeline.preparation import Options

        compare(competition, Options(folds=folds, engine=engine))


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base", "rung"],
    help={
        "comp": COMP,
        "base": BASE,
        "rung": "some of scratch, augmented, features, frozen, 'frozen end to end', finetune; may be repeated",
        "seeds": "how many; the pictures and the split stay the same",
        "sizes": "training, validation and test pictures",
        "size": "side of the pictures in pixels",
        "epochs": "at most so many",
        "unfreeze": "finetune from this block or layer, this share of layers such as 0.3, or all",
        "bundle": "an archive that was downloaded by hand",
    },
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
    unfreeze: str | None = None,
    bundle: str | None = None,
    engine: str = "auto",
) -> None:
    """Climb every rung on one split: what each step gains, and what it costs."""
    with errors_shown():
        from pathlib import Path

        competition = competition_with(
            comp,
            bases=tuple(base or ()),
            size=number(size, "--size"),
            epochs=number(epochs, "--epochs"),
            unfreeze=unfreeze,
        )
        counts = [number(text, "--sizes") or 0 for text in sizes.split(",")]
        from pipeline import flow
        from pipeline import ladder as experiment

        experiment.ladder(
            competition,
            rungs=tuple(rung or experiment.DEFAULT_RUNGS),
            seeds=number(seeds, "--seeds") or 1,
            sizes=experiment.three(counts),
            options=flow.Options(engine=engine, bundle=Path(bundle).expanduser() if bundle else None),
        )
