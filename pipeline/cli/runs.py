"""Tasks on finished runs: runs lists them, compare shows what differs between two."""

from invoke import Context

from pipeline.cli.common import command


@command(json="print JSON instead, with everything that is known")
def runs(_: Context, comp: str | None = None, json: bool = False) -> None:
    """List all runs, the best first, with Kaggle's scores where they were submitted."""
    from pipeline.runs.listing import print_all_runs

    print_all_runs(comp, as_json=json)


@command(
    positional=["before", "after"],
    before="a run: its name, the beginning of it, or its path",
    after="the run to hold against it",
)
def compare(_: Context, before: str | None = None, after: str | None = None, comp: str | None = None) -> None:
    """Compare two runs: `invoke compare A B`, each a run's name, its beginning, or a path."""
    from pipeline.runs.compare import compare_runs

    compare_runs(before or "", after or "", comp)
