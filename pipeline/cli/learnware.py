"""Tasks on learnwares: predict, and the collection store.add, store.list, store.search, ..."""

from typing import Any

from invoke import Collection, Context

from pipeline.cli.common import OWN_SIZE, command, parse_number, parse_path, parse_size

DATASET_HELP = "its name, owner/slug or slug; starshift-store where not given"
NAME_HELP = "the learnware's name in the store"


@command(
    json=True,
    run="a finished run: its name or the beginning, latest (where not given), or best (with --comp); or "
    "store:[FOLDER/]LEARNWARE",
    learnware="instead of a run, a name in the store; may be repeated, with --by",
    images="a picture, a folder of pictures, or a pattern in quotes; with --learnware a folder",
    out="the CSV file; predictions.csv for more than one picture where not given",
    by="with several: mixture (averaged over the classes they share) or picture (the nearest one answers)",
    force="write over a file that is there",
)
def predict(
    _: Context,
    run: str | None = None,
    comp: str | None = None,
    learnware: tuple[str, ...] = (),
    images: str | None = None,
    out: str | None = None,
    by: str | None = None,
    store: str | None = None,
    force: bool = False,
) -> None:
    """Predict pictures with a finished run, or with a learnware of the store."""
    from pathlib import Path

    from pipeline.errors import require
    from pipeline.learnware import store as stores
    from pipeline.learnware.predict import predict_folder

    require(images, "Which pictures?", expected="--images PICTURE, FOLDER or 'PATTERN'", received=images)
    if run or comp or not (learnware or by or store):
        require(not (learnware or by or store), "A run answers alone.", expected="--run, or --learnware",
                received="both")  # fmt: skip
        predict_with_run(run or ("best" if comp else "latest"), comp, str(images), parse_path(out), force=force)
        return
    shelf = stores.open_store(parse_path(store))
    require(learnware, "Which learnware?", expected=", ".join(shelf.names) or "none", received=learnware,
            remedy="invoke store.list shows them")  # fmt: skip
    learnwares = [shelf.learnware(name) for name in dict.fromkeys(learnware)]
    target = parse_path(out) or Path("predictions.csv")
    predict_folder(learnwares, Path(str(images)).expanduser(), target, shelf=shelf, by=by, force=force)


def predict_with_run(run: str, comp: str | None, images: str, out: Any, *, force: bool = False) -> None:
    """Predicts pictures with a run: one is printed, many are written; paths are checked before anything is loaded."""
    import logging
    from pathlib import Path

    from pipeline.api import load_predictor
    from pipeline.output import is_json, print_results
    from pipeline.paths import format_path
    from pipeline.runs import predictor

    files = predictor.find_pictures(images)
    target = out or (Path("predictions.csv") if len(files) > 1 and not is_json() else None)
    if target is not None:
        predictor.check_output(target, force=force)
    name, loaded = load_predictor(run, comp)
    predictions = predictor.predict_pictures(loaded, files)
    lines = predictor.format_predictions(predictions) if len(files) == 1 else []
    print_results({"run": name, "pictures": predictor.build_records(predictions)}, lines, apart=False)
    if target is not None:
        predictor.write_prediction_table(target, predictions)
        logging.getLogger(__name__).info(
            "wrote %s: %d pictures by %s, %d of them unreadable",
            *(format_path(target), len(files), name, len(predictions.unreadable)),
        )


@command(
    json=True,
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
    probe="of a new store: the base whose features pictures are compared by; efficientnet_lite0 where not given",
    size="of a new store: side of the probe's pictures; the base's own where not given",
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
        licence=licence or publish.UNSTATED,
        fold=parse_number(fold, "--fold"),
        pictures=parse_path(probe_images),
    )
    folder = load.find_run_folder(str(run), comp)
    shelf = stores.open_or_create_store(parse_path(store), new_probe)
    learnware = publish.publish_run(folder, shelf, request)
    print(f"next: invoke predict --learnware {learnware.name}{shelf.flag} --images FOLDER")


@command(json=True, task_name="list")
def list_(_: Context, store: str | None = None) -> None:
    """Show the learnwares of the store."""
    from pipeline.learnware import search
    from pipeline.learnware import store as stores

    search.print_store(stores.open_store(parse_path(store)))


@command(json=True, learnware=NAME_HELP)
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


@command(json=True, learnware="this one only; may be repeated")
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
