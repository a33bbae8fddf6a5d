"""Tasks that send something to Kaggle: submit predictions, weights of bases for kernels without internet."""

from typing import Any

from invoke import Context, task

from pipeline.cli.common import build_help, handle_errors, load_competition, parse_size


@task(
    positional=[],
    auto_shortflags=False,
    help=build_help(
        "comp",
        run="name of a run, or what it begins with; the best one where not given",
        message="goes with the submission, after the run's name and the file's digest",
        dry_run="check everything, send nothing",
    ),
)
def submit(
    _: Context, comp: str | None = None, run: str | None = None, message: str | None = None, dry_run: bool = False
) -> None:
    """Submit a run's predictions to Kaggle, and wait for the score."""
    with handle_errors():
        from pipeline.workflow import submit as submitting

        submitting.submit_run(load_competition(comp), run, message, dry=dry_run)


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["base"],
    help=build_help(
        *("comp", "base", "size", "rung"),
        upload="put them into a private dataset, which kernels without internet then find",
        dataset="its name, owner/slug or slug; starshift-weights where not given",
        dry_run="with --upload: show what would be sent, send nothing",
    ),
)
def weights(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    rung: str | None = None,
    size: str | None = None,
    upload: bool = False,
    dataset: str | None = None,
    dry_run: bool = False,
) -> None:
    """Show the weights that a recipe needs, and put them where kernels without internet find them."""
    with handle_errors():
        competition = load_competition(comp, bases=tuple(base or ()), rung=rung, size=parse_size(size))
        from pipeline.kernels import weights as weighing

        found = weighing.log_weights(competition)
        if found and (upload or dry_run):
            weighing.upload_weights(competition, dataset, dry=dry_run)
        elif found:
            print(f"next: invoke weights --comp {comp} --upload")
