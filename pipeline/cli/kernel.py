"""Tasks on Kaggle's machines and on one's account there: the collections kernel and kaggle."""

from invoke import Collection, Context

from pipeline.cli.common import command, load_competition


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


kernel = Collection("kernel")
kernel.add_task(follow, default=True)
kaggle = Collection("kaggle", check)
