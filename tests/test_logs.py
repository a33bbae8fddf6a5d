"""A loud library is imported without a word, and what it says later is heard."""

import importlib.util
import os
import sys

import pytest

from pipeline import logs

LOUD = 'import os\nos.write(2, b"loud at first\\n")\ndef speak():\n    os.write(2, b"asked for\\n")\n'


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The name of a library that writes to standard error when it is imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (tmp_path / "loud_library.py").write_text(LOUD)
    yield "loud_library"
    sys.modules.pop("loud_library", None)


def test_a_library_is_imported_without_a_word_and_heard_afterwards(library, capfd):
    logs.import_quietly(library)
    logs.import_quietly(library)
    assert sum(isinstance(one, logs.QuietImporter) for one in sys.meta_path) == 1
    assert importlib.util.find_spec(library)  # as find_backend looks for TensorFlow
    loud = __import__(library)
    assert capfd.readouterr().err == ""
    loud.speak()
    os.write(2, b"others\n")
    assert capfd.readouterr().err == "asked for\nothers\n"
    assert not any(isinstance(one, logs.QuietImporter) for one in sys.meta_path)


def test_what_a_library_raises_is_raised(library, tmp_path, capfd):
    (tmp_path / "loud_library.py").write_text(LOUD + "raise ImportError('half installed')\n")
    logs.import_quietly(library)
    with pytest.raises(ImportError, match="half installed"):
        __import__(library)
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
    logs.import_quietly("no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        __import__("no_such_library")
