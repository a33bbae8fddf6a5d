"""Logs plain lines beside progress bars, and silences libraries that write on the terminal while they are imported."""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from tqdm import tqdm

from pipeline.terminal import name_program, paint

CHATTY_LIBRARIES = ("openvino", "tensorflow", "jax", "absl", "h5py")


class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Logs lines above the progress bars, which are cleared meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Handler."""
        return name_program(super().format(record)).replace("warning:", paint("warning:", "yellow", self.stream), 1)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """See logging.Handler; a reader who went away (`invoke runs | head`) ends the command instead."""
        if isinstance(error := sys.exception(), BrokenPipeError):
            raise error
        super().handleError(record)


def set_up() -> None:
    """Logs plain messages to standard output, and of libraries that log much their errors only."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LineHandler(sys.stdout)], force=True)
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Discards everything written to standard error, even by a library in C++."""
    sys.stderr.flush()
    saved, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(devnull)


class QuietImporter(importlib.abc.MetaPathFinder):
    """Stands before Python's finders until a library is imported, and imports it in silence.

    A library that is only looked for (importlib.util.find_spec) is silenced at its import all the same.

    TensorFlow logs that oneDNN is on before it reads TF_CPP_MIN_LOG_LEVEL.

    Args:
        library: its name.
    """

    def __init__(self, library: str) -> None:
        self.library = library
        self.is_searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the library's specification, whose loader is silenced; None for any other."""
        if fullname != self.library or self.is_searching:
            return None
        self.is_searching = True  # the other finders are asked, and not this one again
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.is_searching = False
        if spec is None or spec.loader is None:
            sys.meta_path.remove(self)
            return spec
        execute = spec.loader.exec_module

        def execute_quietly(module: ModuleType) -> None:
            sys.meta_path.remove(self)
            with silence_stderr():
                execute(module)

        spec.loader.exec_module = execute_quietly  # type: ignore[method-assign]
        return spec


def import_quietly(library: str) -> None:
    """Silences the first import of a library; does nothing if it is imported or silenced already."""
    silenced = any(isinstance(finder, QuietImporter) and finder.library == library for finder in sys.meta_path)
    if library not in sys.modules and not silenced:
        sys.meta_path.insert(0, QuietImporter(library))
