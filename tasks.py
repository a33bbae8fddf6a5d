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
    return replace(found, recipe=replace(found.recipe, **given))


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
        "base": BASE,
        "fold": "train this fold only; may be repeated",
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
    base: Any = None,
    fold: Any = None,
    size: str | None = None,
    head: str | None = None,
    seed: str | None = None,
    engine: str = "auto",
    bundle: str | None = None,
    debug: bool = False,
    force: bool = False,
    resplit: bool = False,
) -> None:
    """Go the whole way: from Kaggle's archive to a submission."""
    with errors_shown():
        from pathlib import Path

        competition = competition_with(
            comp, bases=tuple(base or ()), size=number(size, "--size"), head=head, seed=number(seed, "--seed")
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
        )
        flow.run(competition, options)


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
