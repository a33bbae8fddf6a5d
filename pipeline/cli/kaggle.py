"""Tasks that send something to Kaggle: submit predictions, weights of bases for kernels without internet."""

from invoke import Context

from pipeline.cli.common import command, load_competition, parse_size


@command(
    run="name of a run, or what it begins with; the best one where not given",
    message="goes with the submission, after the run's name and the file's digest",
    dry_run="check everything, send nothing",
)
def submit(
    _: Context, comp: str | None = None, run: str | None = None, message: str | None = None, dry_run: bool = False
) -> None:
    """Submit a run's predictions to Kaggle, and wait for the score."""
    from pipeline.workflow.submit import submit_run

    submit_run(load_competition(comp), run, message, dry=dry_run)


@command(
    json=True,
    upload="put them into a private dataset, which kernels without internet then find",
    dataset="its name, owner/slug or slug; starshift-weights where not given",
    dry_run="with --upload: show what would be sent, send nothing",
)
def weights(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    strategy: str | None = None,
    size: str | None = None,
    upload: bool = False,
    dataset: str | None = None,
    dry_run: bool = False,
) -> None:
    """Show the weights that a recipe needs, and put them where kernels without internet find them."""
    competition = load_competition(comp, bases=base, strategy=strategy, size=parse_size(size))
    from pipeline.config import find_comp_argument
    from pipeline.kernels.weights import log_weights, upload_weights
    from pipeline.output import print_lines

    needed = log_weights(competition)
    if needed and (upload or dry_run):
        upload_weights(competition, dataset, dry=dry_run)
    elif needed:
        print_lines([f"next: invoke weights --comp {find_comp_argument(competition.name)} --upload"], apart=False)
