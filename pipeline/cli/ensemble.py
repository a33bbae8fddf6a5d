"""Tasks that make runs of runs: ensemble, finish, and pseudo, which learns from confident test predictions."""

from typing import Any

from invoke import Context, task

from pipeline.cli.common import build_help, handle_errors, load_competition, parse_float, parse_size

RUN_HELP = "a run: its name, or the beginning of it"
SCENES_HELP = "let pictures of one scene (invoke audit finds them) agree on a class; takes some minutes"


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["run", "method", "base"],
    help=build_help(
        *("comp", "engine"),
        run=f"{RUN_HELP}; may be repeated. Without it: all that share folds and pictures",
        method="try this method only, such as 'mean' or 'stacked linear'; may be repeated",
        finish="try the steps that fit the metric, too (--no-finish leaves them)",
        base="what the specialist for a confused pair sees; may be repeated",
        scenes=SCENES_HELP,
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
    with handle_errors():
        from pipeline.ensemble import run as composed
        from pipeline.ensemble.run import EnsembleRequest

        competition = load_competition(comp)
        if rebuild:
            composed.rebuild_run(competition, rebuild)
            return
        asked = EnsembleRequest(
            methods=tuple(method or ()), finish=finish, bases=tuple(base or ()), engine=engine, scenes=scenes
        )
        composed.run_ensemble(competition, tuple(run or ()), asked)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=build_help(
        *("comp", "engine"),
        run=f"{RUN_HELP}; without it the best one",
        base="what the specialist for a confused pair sees; may be repeated",
        scenes=SCENES_HELP,
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
    with handle_errors():
        from pipeline.ensemble import run as composed
        from pipeline.ensemble.run import EnsembleRequest

        asked = EnsembleRequest(kind="finish", bases=tuple(base or ()), engine=engine, scenes=scenes)
        composed.finish_run(load_competition(comp), run, asked)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=build_help(
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
    with handle_errors():
        competition = load_competition(comp, rung="features", bases=tuple(base or ()), size=parse_size(size))
        from pipeline.experiments import pseudo_labeling
        from pipeline.run_options import RunOptions
        from pipeline.training.pseudo_labels import PseudoLabelRule

        asked = {"precision": precision, "cap": cap, "weight": weight}
        given = {name: parse_float(text, f"--{name}") for name, text in asked.items()}
        rule = PseudoLabelRule(**{name: value for name, value in given.items() if value is not None})
        pseudo_labeling.run_pseudo_labels(competition, rule, RunOptions(engine=engine))
