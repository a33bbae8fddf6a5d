"""A library that writes on the terminal while it is imported, imported without a word."""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

CHATTY_LIBRARIES = ("openvino", "tensorflow", "absl", "h5py")


def set_up() -> None:
    """Logs plain messages to standard output, and of libraries that log much their errors only."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Nothing that is written to standard error meanwhile is shown, not even by a library in C++."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


class QuietImporter(importlib.abc.MetaPathFinder):
    """Stands before Python's finders until the library is imported, by whomever.

    TensorFlow says that oneDNN is on before it reads which of its words are wanted (TF_CPP_MIN_LOG_LEVEL).

    Args:
        library: its name.
    """

    def __init__(self, library: str) -> None:
        self.library = library

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The library's own specification, which it is then executed by in silence; None for any other."""
        if fullname != self.library:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def quietly(module: ModuleType) -> None:
            with silence_stderr():
                execute(module)

        spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


def import_quietly(library: str) -> None:
    """Whoever imports this library from now on does so without a word; nothing happens if that was done before."""
    known = any(isinstance(one, QuietImporter) and one.library == library for one in sys.meta_path)
    if library not in sys.modules and not known:
        sys.meta_path.insert(0, QuietImporter(library))
