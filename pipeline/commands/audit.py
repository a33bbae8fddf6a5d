"""The task that looks for what is wrong with a competition's pictures: audit."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import competition_with, errors_shown, file_of, number, words


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=words(
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
    with errors_shown():
        competition = competition_with(
            comp, bases=tuple(base or ()), size=number(size, "--size"), seed=number(seed, "--seed")
        )
        from pipeline.experiments.auditing import audit as look
        from pipeline.options import Options

        look(competition, Options(engine=engine, bundle=file_of(bundle)))
