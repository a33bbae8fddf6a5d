"""Tasks that ask what helps before it is trained on: scout for bases, views for views."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import SIDES, competition_with, errors_shown, number, side, words


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=words(
        *("comp", "base", "engine"),
        size=SIDES,
        directions="principal directions kept of each base's features; as many as the time allows where not given",
        verify="train the recipe's own head on the best base and on the winner (--no-verify leaves it)",
    ),
)
def scout(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    size: str | None = None,
    directions: str | None = None,
    engine: str = "auto",
    verify: bool = True,
) -> None:
    """Try every combination of bases in seconds, and say which to use together."""
    with errors_shown():
        competition = competition_with(comp, bases=tuple(base or ()), size=side(size))
        from pipeline.experiments import scouting
        from pipeline.options import Options

        most = number(directions, "--directions")
        scouting.scout(competition, Options(engine=engine), verify=verify, most=most)


@task(
    positional=[],
    auto_shortflags=False,
    help=words("comp", run="name of a run, or what it begins with; the best with several views where not given"),
)
def views(_: Context, comp: str | None = None, run: str | None = None) -> None:
    """Show what each view of a run is worth, and how to weigh them."""
    with errors_shown():
        from pipeline.experiments import viewing

        viewing.look(competition_with(comp).name, run)
