"""Tasks that make runs of runs: ensemble, finish, and pseudo, which learns from confident test predictions."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import competition_with, errors_shown, share, side, words

RUN = "a run: its name, or the beginning of it"
SCENES = "let pictures of one scene (invoke audit finds them) agree on a class; takes some minutes"


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["run", "method", "base"],
    help=words(
        *("comp", "engine"),
        run=f"{RUN}; may be repeated. Without it: all that share folds and pictures",
        method="try this method only, such as 'mean' or 'stacked linear'; may be repeated",
        finish="try the steps that fit the metric, too (--no-finish leaves them)",
        base="what the specialist for a confused pair sees; may be repeated",
        scenes=SCENES,
        rebuild="make this run of its members again, and compare to the bit",
    ),
)
def ensemble(
    _: Context,
    comp: str | None = None,
    run: Any = None,
    method: Any = None,
    finish: bool = True,
    base: Any = None,
    scenes: bool = False,
    engine: str = "auto",
    rebuild: str | None = None,
) -> None:
    """Make one run of several: every method judged by nested folds, the gain of each step with its noise."""
    with errors_shown():
        from pipeline.composing import composed
        from pipeline.composing.ensembling import Asked

        competition = competition_with(comp)
        if rebuild:
            composed.rebuild(competition, rebuild)
            return
        asked = Asked(methods=tuple(method or ()), finish=finish, bases=tuple(base or ()), engine=engine, scenes=scenes)
        composed.ensemble(competition, tuple(run or ()), asked)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=words(
        *("comp", "engine"),
        run=f"{RUN}; without it the best one",
        base="what the specialist for a confused pair sees; may be repeated",
        scenes=SCENES,
    ),
)
def finish(
    _: Context,
    comp: str | None = None,
    run: str | None = None,
    base: Any = None,
    scenes: bool = False,
    engine: str = "auto",
) -> None:
    """Give a run the finish that its metric asks for: calibration, ranks, priors, a specialist for a confused pair."""
    with errors_shown():
        from pipeline.composing import composed
        from pipeline.composing.ensembling import Asked

        asked = Asked(kind="finish", bases=tuple(base or ()), engine=engine, scenes=scenes)
        composed.finish(competition_with(comp), run, asked)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=words(
        *("comp", "base", "size", "engine"),
        precision="the share that must be right among held-out pictures as sure as those taken; 0.97",
        cap="at most this share of the number of training pictures, in all and of each class; 0.5",
        weight="what such a picture counts against a labelled one; 0.5",
    ),
)
def pseudo(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    size: str | None = None,
    precision: str | None = None,
    cap: str | None = None,
    weight: str | None = None,
    engine: str = "auto",
) -> None:
    """Learn from confident test predictions, too; a run is written only if it helps on held-out pictures."""
    with errors_shown():
        competition = competition_with(comp, rung="features", bases=tuple(base or ()), size=side(size))
        from pipeline.experiments import pseudo_labelling
        from pipeline.options import Options
        from pipeline.training.pseudo import Rule

        asked = {"precision": precision, "cap": cap, "weight": weight}
        given = {name: share(text, f"--{name}") for name, text in asked.items()}
        rule = Rule(**{name: value for name, value in given.items() if value is not None})
        pseudo_labelling.pseudo(competition, rule, Options(engine=engine))
