"""The command line: `invoke run --comp dog-breed`. The tasks lie in pipeline/cli/, one file a topic."""

from pipeline.cli.program import answer_interrupts, build_namespace, suggest_on_typos

answer_interrupts()
suggest_on_typos()
ns = build_namespace()
