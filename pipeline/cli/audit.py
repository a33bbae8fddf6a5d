"""The task audit, which looks for what is wrong with a competition's pictures."""

from invoke import Context

from pipeline.cli.common import command, load_competition, parse_numbers, parse_path, parse_size


@command(
    base="whose features are used, name[@cut][+pooling][=weights]; may be repeated",
    seed="of the drawn decoys and of the checks' folds",
)
def audit(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    size: str | None = None,
    seed: str | None = None,
    engine: str = "auto",
    bundle: str | None = None,
) -> None:
    """Look for duplicates, scenes, leaks, wrong labels and drift, and write a page with the pictures."""
    competition = load_competition(comp, bases=base, size=parse_size(size), **parse_numbers(int, seed=seed))
    from pipeline.audit.run import run_audit
    from pipeline.config import RunOptions

    run_audit(competition, RunOptions(engine=engine, bundle=parse_path(bundle)))
