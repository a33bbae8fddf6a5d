"""Tasks on Kaggle's machines and on one's account there: the collections kernel and kaggle."""

from invoke import Collection, Context

from pipeline.cli.common import command, load_competition, log_written, parse_numbers, parse_path, parse_size


@command(task_name="follow", wait="follow it and bring it home (--no-wait only says how it is)")
def follow(_: Context, comp: str | None = None, wait: bool = True) -> None:
    """Go on with what was pushed to Kaggle: follow it, bring it home, push the session after it."""
    from pipeline.kernels.run import resume_run

    resume_run(load_competition(comp), wait=wait)


@command(json=True, comp="a competition whose rules are asked for; all of the repository where not given")
def check(_: Context, comp: str | None = None) -> None:
    """Say who is signed in to Kaggle and how, whether rules are accepted, and what quota is left."""
    import sys

    import competitions
    from pipeline.kernels.account import check_account, format_account
    from pipeline.output import print_results

    record = check_account([load_competition(name) for name in ([comp] if comp else competitions.names())])
    print_results(record, *format_account(record), apart=False)
    if record["problem"]:
        sys.exit(1)


@command(
    task_name="submit",
    run="name of a run, or what it begins with; the best one where not given",
    message="goes with the submission, after the run's name and fingerprint",
    accelerator="NvidiaTeslaT4 (the default) or cpu",
    hours="that the competition gives a kernel; 9 where not given",
    dry_run="check everything, send nothing",
)
def submit(
    _: Context,
    comp: str | None = None,
    run: str | None = None,
    message: str | None = None,
    accelerator: str | None = None,
    hours: str | None = None,
    dry_run: bool = False,
) -> None:
    """Submit a run to a code competition: a kernel predicts the hidden test set with its models."""
    from pipeline.kernels.code_submission import CodeSubmissionOptions, submit_code

    flags = {"accelerator": accelerator, "message": message, **parse_numbers(float, hours=hours)}
    options = CodeSubmissionOptions(dry=dry_run, **{name: value for name, value in flags.items() if value is not None})
    submit_code(load_competition(comp), run, options)


@command(out="the notebook's file; COMPETITION.ipynb here where not given")
def notebook(
    _: Context,
    comp: str | None = None,
    recipe: str | None = None,
    base: tuple[str, ...] = (),
    strategy: str | None = None,
    size: str | None = None,
    set_: tuple[str, ...] = (),
    out: str | None = None,
) -> None:
    """Write a notebook that runs a recipe on Kaggle step by step, to share and to learn from."""
    from pathlib import Path

    from pipeline.config import RunOptions
    from pipeline.kernels.bundle import build_bundle
    from pipeline.kernels.notebook import write_notebook
    from pipeline.kernels.run import build_job

    competition = load_competition(comp, recipe, set_, bases=base, strategy=strategy, size=parse_size(size))
    packed = build_bundle(build_job(competition, RunOptions()))
    log_written(write_notebook(packed, parse_path(out) or Path(f"{competition.name}.ipynb")))


kernel = Collection("kernel", notebook, submit)
kernel.add_task(follow, default=True)
kaggle = Collection("kaggle", check)
