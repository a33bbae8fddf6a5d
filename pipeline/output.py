"""Results of a command: lines for a reader, or with --json one document for a program."""

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import logs

log = logging.getLogger(__name__)
_documents: list[dict[str, Any]] = []
"""What is collected for --json; empty where results are printed as lines."""


def print_lines(*blocks: Sequence[str], apart: bool = True) -> None:
    """Prints blocks of lines, an empty line between them; blocks without lines are left out.

    Args:
        blocks: of lines.
        apart: put an empty line before the first one, too.
    """
    for number, block in enumerate(filter(None, blocks)):
        for line in ("", *block) if apart or number else block:
            log.info("%s", line)


def print_results(record: Mapping[str, Any], *blocks: Sequence[str], apart: bool = True) -> None:
    """Prints results as lines; with --json adds their record to the document instead.

    Args:
        record: the results by name; sections that several calls share are joined.
        blocks: the same in words, see `print_lines`.
        apart: see `print_lines`.
    """
    if not is_json():
        print_lines(*blocks, apart=apart)
        return
    for name, value in record.items():
        before = _documents[-1].get(name)
        _documents[-1][name] = before | value if isinstance(before, dict) else value


def is_json() -> bool:
    """Returns whether results become one JSON document."""
    return bool(_documents)


@contextlib.contextmanager
def collect_json() -> Iterator[None]:
    """Prints one JSON document at the end, and nothing else on standard output: logs go to standard error.

    Output of child processes and libraries does, too. Where an error ends the command, what was collected until then is
    printed, or nothing.
    """
    stdout, document = sys.stdout, dict[str, Any]()
    stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    _documents.append(document)
    failed = True
    try:
        with contextlib.redirect_stdout(sys.stderr):
            logs.set_up()
            yield
        failed = False
    finally:
        _documents.pop()
        os.dup2(saved, 1)
        os.close(saved)
        if document or not failed:
            print(json.dumps(to_plain(document), indent=1, ensure_ascii=False), file=stdout, flush=True)


def to_plain(value: Any) -> Any:
    """Returns a value as JSON has it: no NumPy, paths as text, and null where a number is not finite."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, np.ndarray)):
        return [to_plain(one) for one in value]
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
