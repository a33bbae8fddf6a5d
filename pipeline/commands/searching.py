"""The task store.search: which learnwares were trained on pictures like one's own."""

from invoke import Context, task

from pipeline.commands.shared import errors_shown, file_of, words


@task(
    positional=[],
    auto_shortflags=False,
    help=words(
        "engine",
        images="a folder of pictures, and the folders below it; they are looked at here and sent nowhere",
        classes="names of classes that the learnware must know, with commas between",
        store="the store's folder; data/store where not given",
    ),
)
def search(
    _: Context, images: str | None = None, classes: str | None = None, store: str | None = None, engine: str = "auto"
) -> None:
    """Find the learnwares that were trained on pictures like yours, alone or together, or learn that none was."""
    with errors_shown():
        from pathlib import Path

        from pipeline.errors import require
        from pipeline.learnware import store as stores
        from pipeline.reuse import searching

        require(images, "Which pictures?", expected="--images FOLDER", received=images)
        asked = [name.strip() for name in (classes or "").split(",") if name.strip()]
        searching.find(Path(str(images)).expanduser(), stores.opened(file_of(store)), asked, engine)
