"""The task predict: what learnwares say of a folder of pictures."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import errors_shown, file_of, words


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["learnware"],
    help=words(
        learnware="name in the store; may be repeated, with --by",
        images="a folder of pictures, and the folders below it",
        out="the CSV file; predictions.csv where not given",
        by="with several: mixture (averaged over the classes they share) or picture (the nearest one answers)",
        store="the store's folder; data/store where not given",
        force="write over a file that is there",
    ),
)
def predict(
    _: Context,
    learnware: Any = None,
    images: str | None = None,
    out: str | None = None,
    by: str | None = None,
    store: str | None = None,
    force: bool = False,
) -> None:
    """Predict a folder of pictures with a learnware of the store, into a CSV file."""
    with errors_shown():
        from pathlib import Path

        from pipeline.errors import require
        from pipeline.learnware import store as stores
        from pipeline.reuse import predicting

        require(images, "Which pictures?", expected="--images FOLDER", received=images)
        shelf = stores.opened(file_of(store))
        require(learnware, "Which learnware?", expected=", ".join(shelf.names) or "none", received=learnware,
                remedy="invoke store.list shows them")  # fmt: skip
        chosen = [shelf.learnware(name) for name in dict.fromkeys(learnware)]
        predicting.predict(
            chosen,
            Path(str(images)).expanduser(),
            file_of(out) or Path("predictions.csv"),
            shelf=shelf,
            by=by,
            force=force,
        )
