"""Tasks that look back: runs lists them, the best first; compare says what differs between two."""

from invoke import Context, task

from pipeline.cli.common import build_help, handle_errors


@task(
    positional=[],
    auto_shortflags=False,
    help=build_help("comp", json="print JSON instead, with everything that is known"),
)
def runs(_: Context, comp: str | None = None, json: bool = False) -> None:
    """List all runs, the best first, with Kaggle's scores where they were submitted."""
    with handle_errors():
        from pipeline.runs import listing

        listing.print_all_runs(comp, as_json=json)


@task(
    positional=["before", "after"],
    auto_shortflags=False,
    help=build_help(
        "comp", before="a run: its name, the beginning of it, or its path", after="the run to hold against it"
    ),
)
def compare(_: Context, before: str | None = None, after: str | None = None, comp: str | None = None) -> None:
    """Compare two runs: `invoke compare A B`, each a run's name, its beginning, or a path."""
    with handle_errors():
        from pipeline.runs import compare as comparison

        comparison.compare_runs(before or "", after or "", comp)
