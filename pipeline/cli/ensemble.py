"""Tasks that combine and finish predictions: ensemble, finish, pseudo."""

from invoke import Context

from pipeline.cli.common import command, load_competition, parse_numbers, parse_size

RUN_HELP = "a run: its name, or the beginning of it"
SPECIALIST_HELP = "what the specialist for a confused pair sees; may be repeated"


@command(
    json=True,
    run=f"{RUN_HELP}; may be repeated. Without it: all that share folds and pictures",
    method="try this method only, such as 'mean' or 'stacked linear'; may be repeated",
    finish="try the steps that fit the metric, too (--no-finish leaves them)",
    base=SPECIALIST_HELP,
    rebuild="make this run of its members again, and compare to the bit",
)
def ensemble(
    _: Context,
    comp: str | None = None,
    run: tuple[str, ...] = (),
    method: tuple[str, ...] = (),
    finish: bool = True,
    base: tuple[str, ...] = (),
    scenes: bool = False,
    engine: str = "auto",
    rebuild: str | None = None,
) -> None:
    """Make one run of several: every method judged by nested folds, the gain of each step with its noise."""
    from pipeline.ensemble.run import EnsembleRequest, rebuild_run, run_ensemble

    competition = load_competition(comp)
    if rebuild:
        rebuild_run(competition, rebuild)
        return
    request = EnsembleRequest(methods=method, finish=finish, bases=base, engine=engine, scenes=scenes)
    run_ensemble(competition, run, request)


@command(json=True, run=f"{RUN_HELP}; without it the best one", base=SPECIALIST_HELP)
def finish(
    _: Context,
    comp: str | None = None,
    run: str | None = None,
    base: tuple[str, ...] = (),
    scenes: bool = False,
    engine: str = "auto",
) -> None:
    """Give a run the finish that its metric asks for: calibration, ranks, priors, a specialist for a confused pair."""
    from pipeline.ensemble.run import EnsembleRequest, finish_run

    request = EnsembleRequest(kind="finish", bases=base, engine=engine, scenes=scenes)
    finish_run(load_competition(comp), run, request)


@command(
    json=True,
    precision="the share that must be right among held-out pictures as sure as those taken; 0.97",
    cap="at most this share of the number of training pictures, in all and of each class; 0.5",
    weight="what such a picture counts against a labelled one; 0.5",
)
def pseudo(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    size: str | None = None,
    precision: str | None = None,
    cap: str | None = None,
    weight: str | None = None,
    engine: str = "auto",
) -> None:
    """Learn from confident test predictions, too; a run is written only if it helps on held-out pictures."""
    competition = load_competition(comp, strategy="features", bases=base, size=parse_size(size))
    from pipeline.config import RunOptions
    from pipeline.experiments import pseudo_labeling
    from pipeline.training.pseudo_labels import PseudoLabelRule

    rule = PseudoLabelRule(**parse_numbers(float, precision=precision, cap=cap, weight=weight))
    pseudo_labeling.run_pseudo_labels(competition, rule, RunOptions(engine=engine))
