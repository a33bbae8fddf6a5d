"""Writes docs/commands.md from the tasks' help, and docs/api.md from docstrings: `python -m pipeline.cli.reference`."""

import inspect
import re
from collections.abc import Iterator

from invoke import Argument, Collection, Task

import pipeline
from pipeline.cli.program import build_namespace
from pipeline.files import write_text
from pipeline.paths import REPOSITORY

COMMANDS_HEAD = """# Commands

Made from `invoke --help COMMAND` by `python -m pipeline.cli.reference`. [guide.md](guide.md) shows them at work. In a
clone they are tasks of `invoke`; where Starshift is installed, `starshift COMMAND` is the same.
"""
API_HEAD = """# The public API

Made from docstrings by `python -m pipeline.cli.reference`. Every name is imported from `pipeline`, at its first use.
The examples are run by the tests, in a folder whose `pictures/train` has two class folders.
"""
SECTION = re.compile(r"^(Args|Returns|Raises|Examples):$", re.MULTILINE)


def build_pages() -> dict[str, str]:
    """Builds the pages by the names of their files in docs/."""
    tasks, names = list(_list_tasks(build_namespace())), pipeline.__all__
    pages = {
        "commands.md": (COMMANDS_HEAD, [name for name, _ in tasks], [_format_task(*pair) for pair in tasks]),
        "api.md": (API_HEAD, names, [_format_object(name) for name in names]),
    }
    return {
        file: "\n".join([head, _format_index(names), *parts]).rstrip() + "\n"
        for file, (head, names, parts) in pages.items()
    }


def _format_index(names: list[str]) -> str:
    """Formats links to the headings of a page; GitHub numbers those that differ in capitals alone."""
    anchors = [name.replace(".", "").lower() for name in names]
    numbers = [anchors[:place].count(anchor) for place, anchor in enumerate(anchors)]
    targets = [f"{anchor}-{number}" if number else anchor for anchor, number in zip(anchors, numbers, strict=True)]
    return ",\n".join(f"[{name}](#{target})" for name, target in zip(names, targets, strict=True)) + "\n"


def _list_tasks(namespace: Collection) -> Iterator[tuple[str, Task]]:
    """Yields every task with its name on the command line, those of collections last."""
    for name in sorted(namespace.task_names, key=lambda name: ("." in name, name)):
        yield name, namespace[name]


def _format_task(name: str, task: Task) -> str:
    """Formats a task: what it does, and a row a flag."""
    rows = [f"| {_format_flag(argument)} | {argument.help or ''} |".replace("  |", " |") for argument in
            sorted(task.get_arguments(), key=lambda argument: str(argument.name))]  # fmt: skip
    table = ["", "| flag | |", "|---|---|", *rows] if rows else []
    return "\n".join([f"## {name}", "", inspect.cleandoc(task.__doc__ or ""), *table, ""])


def _format_flag(argument: Argument) -> str:
    """Formats a flag as it is typed."""
    name = str(argument.name).replace("_", "-").strip("-")
    if argument.positional:
        return f"`{name.upper()}`"
    if argument.kind is bool:
        return f"`--no-{name}`" if argument.default is True else f"`--{name}`"
    return f"`--{name} {'FIELD=VALUE' if name == 'set' else name.rpartition('-')[2].upper()}`"


def _format_object(name: str) -> str:
    """Formats a public class or function: its signature, and its docstring with lists and code blocks."""
    value = getattr(pipeline, name)
    parameters = ", ".join(_format_parameter(one) for one in inspect.signature(value).parameters.values())
    signature = "" if name == "StarshiftError" else f"\n```text\n{name}({parameters})\n```\n"
    text, *sections = SECTION.split(inspect.cleandoc(value.__doc__))
    parts = [_format_section(*pair) for pair in zip(sections[::2], sections[1::2], strict=True)]
    return "\n".join([f"## {name}\n{signature}", text.strip(), "", *parts])


def _format_parameter(parameter: inspect.Parameter) -> str:
    """Formats a parameter with its default, where that is short."""
    default = "" if parameter.default is parameter.empty else repr(parameter.default)
    shown = default if len(default) < 40 and not default.startswith("<") else "..."
    return f"{parameter.name}={shown}" if default else parameter.name


def _format_section(title: str, text: str) -> str:
    """Formats a section of a docstring: entries as a list, examples as code."""
    body = inspect.cleandoc(text)
    if title == "Examples":
        return f"```python\n{body}\n```\n"
    if title == "Returns":
        return f"Returns: {body}\n"
    entries = re.split(r"\n(?=\S)", body)
    lines = [re.sub(r"^(\w+):", r"`\1`:", " ".join(entry.split())) for entry in entries]
    return "\n".join([f"{'Parameters' if title == 'Args' else title}:", "", *(f"- {line}" for line in lines), ""])


def main() -> None:
    """Writes both pages."""
    for name, page in build_pages().items():
        write_text(REPOSITORY / "docs" / name, page)


if __name__ == "__main__":
    main()
