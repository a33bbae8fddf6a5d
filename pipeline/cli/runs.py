"""Tasks on runs: the collection runs.list (which `invoke runs` is short for), runs.note, runs.delete."""

from invoke import Collection, Context

from pipeline.cli.common import command, log_written, parse_path


@command(task_name="list", json=True, page="write them as an HTML page to this path, too")
def list_(_: Context, comp: str | None = None, page: str | None = None) -> None:
    """List all runs, the best first, with Kaggle's scores where they were submitted."""
    from pipeline.runs.listing import print_all_runs

    listed = print_all_runs(comp)
    if path := parse_path(page):
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


runs = Collection("runs", note)
runs.add_task(list_, default=True)
