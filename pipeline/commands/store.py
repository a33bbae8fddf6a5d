"""The tasks of a store of learnwares: store.add, store.list, store.verify, ...; store.search is in searching.py."""

from typing import Any

from invoke import Collection, Context, task

from pipeline.commands.searching import search
from pipeline.commands.shared import errors_shown, file_of, number, words

STORE = "the store's folder; data/store where not given"
ONE = "the learnware's name in the store"


@task(
    positional=[],
    auto_shortflags=False,
    help=words(
        "comp",
        run="name of a finished run, what it begins with, or its folder",
        name="in the store; the competition's and the rung where not given",
        task="what it tells apart, in a few words",
        licence="of the model",
        fold="of a run that trained a network for each fold: whose model",
        probe_images="prove the model with pictures of this folder, which travel along; drawn ones where not given",
        probe="of a new store: the base whose features pictures are compared by; mobilenet_v2 where not given",
        size="of a new store: side of the probe's pictures; 224, or the base's own with --probe",
        store=STORE,
    ),
)
def add(
    _: Context,
    run: str | None = None,
    comp: str | None = None,
    name: str | None = None,
    task: str | None = None,
    licence: str | None = None,
    fold: str | None = None,
    probe_images: str | None = None,
    probe: str | None = None,
    size: str | None = None,
    store: str | None = None,
) -> None:
    """Put a run's model into the store, with what it is for and a proof that it works."""
    with errors_shown():
        from pipeline.errors import require
        from pipeline.learnware import store as stores
        from pipeline.ledger import reading
        from pipeline.reuse import adding

        require(run, "Which run?", expected="--run", received=run, remedy="invoke runs lists them")
        chosen = stores.probe_named(probe, number(size, "--size")) if probe else None
        wanted = adding.Wanted(
            name=name,
            task=task,
            licence=licence or "not stated",
            fold=number(fold, "--fold"),
            pictures=file_of(probe_images),
        )
        made = adding.add(reading.found(str(run), comp), stores.begun(file_of(store), chosen), wanted)
        print(f"next: invoke predict --learnware {made.name} --images FOLDER")


@task(name="list", positional=[], auto_shortflags=False, help=words(store=STORE))
def list_(_: Context, store: str | None = None) -> None:
    """Show the learnwares of the store."""
    with errors_shown():
        from pipeline.learnware import store as stores
        from pipeline.reuse import showing

        showing.tell(stores.opened(file_of(store)))


@task(positional=[], auto_shortflags=False, help=words(learnware=ONE, store=STORE))
def show(_: Context, learnware: str | None = None, store: str | None = None) -> None:
    """Show a learnware's card: what it is for, how good it is, how it is asked."""
    with errors_shown():
        from pipeline.learnware import store as stores
        from pipeline.reuse import showing

        showing.describe(stores.opened(file_of(store)).learnware(learnware or "", whole=False))


@task(positional=[], auto_shortflags=False, help=words(learnware=ONE, store=STORE))
def remove(_: Context, learnware: str | None = None, store: str | None = None) -> None:
    """Delete a learnware from the store."""
    with errors_shown():
        from pipeline import paths
        from pipeline.learnware import store as stores

        print(f"removed {paths.shown(stores.remove(stores.opened(file_of(store)), learnware or ''))}")


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["learnware"],
    help=words(learnware="this one only; may be repeated", store=STORE),
)
def verify(_: Context, learnware: Any = None, store: str | None = None) -> None:
    """Check digests, look every model through, and ask each for its probe pictures again."""
    with errors_shown():
        import sys

        from pipeline.learnware import store as stores

        found = stores.verify(stores.opened(file_of(store)), list(learnware or ()))
        if any(found.values()):
            sys.exit(1)


@task(positional=[], auto_shortflags=False, help=words("engine", store=STORE))
def start(_: Context, store: str | None = None, engine: str = "auto") -> None:
    """Fill the store with what the repository can make itself, offline: sprouts, and the drawn world."""
    with errors_shown():
        from pipeline.reuse import starting

        starting.start(file_of(store), engine)


@task(
    positional=[],
    auto_shortflags=False,
    help=words(
        store=STORE,
        dataset="its name, owner/slug or slug; starshift-store where not given",
        dry_run="show what would be sent, send nothing",
    ),
)
def push(_: Context, store: str | None = None, dataset: str | None = None, dry_run: bool = False) -> None:
    """Send the store to Kaggle, as a private dataset."""
    with errors_shown():
        from pipeline.learnware import sharing
        from pipeline.learnware import store as stores

        sharing.push(stores.opened(file_of(store)), dataset, dry=dry_run)


@task(
    positional=[],
    auto_shortflags=False,
    help=words(store=STORE, dataset="owner/slug or slug; starshift-store where not given"),
)
def pull(_: Context, store: str | None = None, dataset: str | None = None) -> None:
    """Fetch the learnwares of a Kaggle dataset, each checked before it enters the store."""
    with errors_shown():
        from pipeline.learnware import sharing
        from pipeline.learnware import store as stores

        sharing.pull(file_of(store) or stores.default_folder(), dataset)


store = Collection("store", add, list_, show, remove, verify, start, push, pull, search)
