"""Tasks on runs: the collection runs.list (which `invoke runs` is short for), runs.note, runs.delete."""

from invoke import Collection, Context

from pipeline.cli.common import command, log_written, parse_page


@command(task_name="list", json=True, page="write them as an HTML page to this path, too")
def list_(_: Context, comp: str | None = None, page: str | None = None) -> None:
    """List all runs, the best first, with Kaggle's scores where they were submitted."""
    from pipeline.runs.listing import print_all_runs

    path = parse_page(page)
    listed = print_all_runs(comp)
    if path:
        from pipeline.run_report.experiment_page import write_runs_page

        log_written(write_runs_page(path, listed))


@command(run="a run: its name, the beginning of its folder's name, its path, latest or best")
def note(
    _: Context, run: str | None = None, comp: str | None = None, name: str | None = None, note: str | None = None
) -> None:
    """Name a run, or write a note on it; an empty text removes what is there."""
    from pipeline.errors import require
    from pipeline.run_report.write import REPORT_FILE
    from pipeline.runs.load import find_run_folder
    from pipeline.runs.note import write_note

    require(run, "Which run?", expected="--run NAME", received=run, remedy="invoke runs lists them")
    require(name is not None or note is not None, "Nothing to write.", expected="--name or --note", received="neither")
    folder = find_run_folder(str(run), comp)
    written = write_note(folder, name, note)
    print(f"{folder.name}: name {written.name or 'none'}, note {written.note or 'none'}")
    if (folder / REPORT_FILE).is_file():
        print(f"next: invoke report --run {written.name or folder.name} writes its page again, with them")


@command(run="a run to delete, as of runs.note; may be repeated", yes="do not ask first")
def delete(_: Context, comp: str | None = None, run: tuple[str, ...] = (), yes: bool = False) -> None:
    """Delete runs, and say what that frees and what else used them."""
    import sys

    from pipeline.errors import require
    from pipeline.runs.deletion import delete_runs, list_uses
    from pipeline.runs.disk_use import count_freed_bytes
    from pipeline.runs.load import find_run_folder
    from pipeline.runs.note import read_note

    require(run, "Which runs?", expected="--run NAME, which may be repeated", received="none",
            remedy="invoke runs lists them")  # fmt: skip
    folders = list(dict.fromkeys(find_run_folder(text, comp).resolve() for text in run))
    freed = f"{count_freed_bytes(folders) / 1e6:,.1f} MB"
    for folder in folders:
        name = read_note(folder).name
        print(f"{folder.parent.name}/{folder.name}{', called ' + name if name else ''}")
        for use in list_uses(folder):
            print(f"  {use}")
    if not yes:
        require(sys.stdin.isatty(), "Nobody is there to confirm.", expected="--yes, or a terminal", received="neither")
        if input(f"delete for good, and free {freed}? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing is deleted")
            return
    delete_runs(folders)
    print(f"deleted; {freed} freed")


runs = Collection("runs", note, delete)
runs.add_task(list_, default=True)
