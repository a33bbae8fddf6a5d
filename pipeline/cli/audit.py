"""The task that looks for what is wrong with a competition's pictures: audit."""

from typing import Any

from invoke import Context, task

from pipeline.cli.common import build_help, handle_errors, load_competition, parse_int, parse_path


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=build_help(
        *("comp", "size", "engine", "bundle"),
        base="whose features are used, name[@cut][+pooling][=weights]",
        seed="of what is drawn: decoys, folds of the checks",
    ),
)
def audit(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    size: str | None = None,
    seed: str | None = None,
    engine: str = "auto",
    bundle: str | None = None,
) -> None:
    """Look for duplicates, scenes, leaks, wrong labels and drift, and write a page with the pictures."""
    with handle_errors():
        competition = load_competition(
            comp, bases=tuple(base or ()), size=parse_int(size, "--size"), seed=parse_int(seed, "--seed")
        )
        from pipeline.audit.run import run_audit as look
        from pipeline.run_options import RunOptions

        look(competition, RunOptions(engine=engine, bundle=parse_path(bundle)))
