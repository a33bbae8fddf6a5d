"""Tasks that run elsewhere: `run --on kaggle`, and kernel, which goes on with what was pushed."""

from typing import Any

from invoke import Context, task

from pipeline.commands.shared import competition_with, errors_shown, words


def elsewhere(
    competition: Any,
    options: Any,
    on: str | None,
    accelerator: str | None,
    internet: bool,
    attach: Any,
    wait: bool,
    dry: bool,
) -> None:
    """A run on Kaggle, from the flags of `invoke run`."""
    from pipeline.away import attending
    from pipeline.away.sending import Request
    from pipeline.errors import require
    from pipeline.remote.kernel import DEFAULT

    flags = {
        "--dry-run": dry,
        "--accelerator": accelerator,
        "--internet": internet,
        "--attach": attach,
        "--no-wait": not wait,
    }
    given = ", ".join(name for name, value in flags.items() if value)
    require(on is not None, f"{given}: only for a run on Kaggle.", expected="--on kaggle beside it", received="no --on")
    require(on == "kaggle", "There is no such place to run.", expected="--on kaggle", received=on)
    request = Request(
        accelerator=accelerator or DEFAULT, internet=internet, attach=tuple(attach or ()), wait=wait, dry=dry
    )
    attending.send(competition, options, request)


@task(
    positional=[],
    auto_shortflags=False,
    help=words("comp", wait="follow it and bring it home (--no-wait only says how it is)"),
)
def kernel(_: Context, comp: str | None = None, wait: bool = True) -> None:
    """Go on with what was pushed to Kaggle: follow it, bring it home, push the session after it."""
    with errors_shown():
        from pipeline.away import attending

        attending.pick_up(competition_with(comp), wait=wait)
