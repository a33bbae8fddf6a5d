"""Tasks on learnwares: predict, and the collection store.add, store.list, store.search, ..."""

from invoke import Collection, Context

from pipeline.cli.common import OWN_SIZE, command, parse_number, parse_path, parse_size

DATASET_HELP = "its name, owner/slug or slug; starshift-store where not given"
NAME_HELP = "the learnware's name in the store"


@command(
    learnware="name in the store; may be repeated, with --by",
    images="a folder of pictures, and the folders below it",
    out="the CSV file; predictions.csv where not given",
    by="with several: mixture (averaged over the classes they share) or picture (the nearest one answers)",
    force="write over a file that is there",
)
def predict(
    _: Context,
    learnware: tuple[str, ...] = (),
    images: str | None = None,
    out: str | None = None,
    by: str | None = None,
    store: str | None = None,
    force: bool = False,
) -> None:
    """Predict a folder of pictures with a learnware of the store, into a CSV file."""
    from pathlib import Path

    from pipeline.errors import require
    from pipeline.learnware import store as stores
    from pipeline.learnware.predict import predict_folder

    require(images, "Which pictures?", expected="--images FOLDER", received=images)
    shelf = stores.open_store(parse_path(store))
    require(learnware, "Which learnware?", expected=", ".join(shelf.names) or "none", received=learnware,
            remedy="invoke store.list shows them")  # fmt: skip
    learnwares = [shelf.learnware(name) for name in dict.fromkeys(learnware)]
    target = parse_path(out) or Path("predictions.csv")
    predict_folder(learnwares, Path(str(images)).expanduser(), target, shelf=shelf, by=by, force=force)


@command(
    images="a folder of pictures, and the folders below it; they are looked at here and sent nowhere",
    classes="names of classes that the learnware must know, with commas between",
)
def search(
    _: Context, images: str | None = None, classes: str | None = None, store: str | None = None, engine: str = "auto"
) -> None:
    """Find the learnwares that were trained on pictures like yours, alone or together, or learn that none was."""
    from pathlib import Path

    from pipeline.errors import require
    from pipeline.learnware import search
    from pipeline.learnware import store as stores

    require(images, "Which pictures?", expected="--images FOLDER", received=images)
    required = [name.strip() for name in (classes or "").split(",") if name.strip()]
    search.run_search(Path(str(images)).expanduser(), stores.open_store(parse_path(store)), required, engine)


@command(
    run="name of a finished run, what it begins with, or its folder",
    name="in the store; the competition's and the strategy where not given",
    task="what it tells apart, in a few words",
    licence="of the model",
    fold="of a run that trained a network for each fold: whose model",
    probe_images="prove the model with pictures of this folder, which travel along; drawn ones where not given",
    probe="of a new store: the base whose features pictures are compared by; mobilenet_v2 where not given",
    size="of a new store: side of the probe's pictures; 224, or the base's own with --probe",
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
    from pipeline.errors import require
    from pipeline.learnware import publish
    from pipeline.learnware import store as stores
    from pipeline.runs import load

    require(run, "Which run?", expected="--run", received=run, remedy="invoke runs lists them")
    side = parse_size(size)
    new_probe = stores.parse_probe(probe, None if side == OWN_SIZE else side) if probe else None
    request = publish.PublishRequest(
        name=name,
        task=task,
        licence=licence or "not stated",
        fold=parse_number(fold, "--fold"),
        pictures=parse_path(probe_images),
    )
    folder = load.find_run_folder(str(run), comp)
    learnware = publish.publish_run(folder, stores.open_or_create_store(parse_path(store), new_probe), request)
    print(f"next: invoke predict --learnware {learnware.name} --images FOLDER")


@command(task_name="list")
def list_(_: Context, store: str | None = None) -> None:
    """Show the learnwares of the store."""
    from pipeline.learnware import search
    from pipeline.learnware import store as stores

    search.print_store(stores.open_store(parse_path(store)))


@command(learnware=NAME_HELP)
def show(_: Context, learnware: str | None = None, store: str | None = None) -> None:
    """Show a learnware's card: what it is for, how good it is, how it is asked."""
    from pipeline.learnware import search
    from pipeline.learnware import store as stores

    search.print_card(stores.open_store(parse_path(store)).learnware(learnware or "", whole=False))


@command(learnware=NAME_HELP)
def remove(_: Context, learnware: str | None = None, store: str | None = None) -> None:
    """Delete a learnware from the store."""
    from pipeline import paths
    from pipeline.learnware import store as stores

    path = stores.remove_learnware(stores.open_store(parse_path(store)), learnware or "")
    print(f"removed {paths.format_path(path)}")


@command(learnware="this one only; may be repeated")
def verify(_: Context, learnware: tuple[str, ...] = (), store: str | None = None) -> None:
    """Check digests, look every model through, and ask each for its probe pictures again."""
    import sys

    from pipeline.learnware import store as stores

    faults = stores.verify_learnwares(stores.open_store(parse_path(store)), list(learnware))
    if any(faults.values()):
        sys.exit(1)


@command()
def start(_: Context, store: str | None = None, engine: str = "auto") -> None:
    """Fill the store with what the repository can make itself, offline: sprouts, and the drawn world."""
    from pipeline.learnware.builtin import build_builtin_store

    build_builtin_store(parse_path(store), engine)


@command(dataset=DATASET_HELP, dry_run="show what would be sent, send nothing")
def push(_: Context, store: str | None = None, dataset: str | None = None, dry_run: bool = False) -> None:
    """Send the store to Kaggle, as a private dataset."""
    from pipeline.learnware import kaggle_sync
    from pipeline.learnware import store as stores

    kaggle_sync.push_store(stores.open_store(parse_path(store)), dataset, dry=dry_run)


@command(dataset=DATASET_HELP)
def pull(_: Context, store: str | None = None, dataset: str | None = None) -> None:
    """Fetch the learnwares of a Kaggle dataset, each checked before it enters the store."""
    from pipeline.learnware import kaggle_sync
    from pipeline.learnware import store as stores

    kaggle_sync.pull_store(parse_path(store) or stores.find_default_folder(), dataset)


store = Collection("store", add, list_, show, remove, verify, start, push, pull, search)
