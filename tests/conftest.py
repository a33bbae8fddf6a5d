"""What tests share: a home of their own, and pictures that they draw."""

import contextlib
import io
import os
import runpy
import shutil
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from pipeline import config, subprocesses
from pipeline.models.backend import find_backend

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
needs_tensorflow = pytest.mark.skipif(find_backend() != "tensorflow", reason="TensorFlow alone can do this")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """data/ and submissions/ in a folder of the test."""
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setattr(config, "_COMPETITION_FILES", {})
    return tmp_path / "home"


IN_PROCESS = {f"pipeline.{name}" for name in ("training.export", "training.fold_average", "models.pooling")} | {
    "pipeline.models.openvino_export"
}
"""Modules that only import Keras, build a model and write files: a process of their own costs three seconds each."""


class ModuleInProcess:
    """Stands for the child process of a module: runs it here, where Keras is imported, once it is waited for."""

    def __init__(self, module: str, arguments: list[str]) -> None:
        self.module, self.arguments = module, arguments
        self.stdin = io.StringIO()
        self.returncode: int | None = None

    def __enter__(self) -> "ModuleInProcess":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def poll(self) -> int | None:
        """See subprocess.Popen."""
        return self.returncode

    def kill(self) -> None:
        """See subprocess.Popen."""
        self.returncode = subprocesses.KILLED_CODE

    def communicate(self, text: str = "") -> tuple[str, str]:
        """See subprocess.Popen; like a child process, the module is imported anew, as `__main__`."""
        if self.returncode is not None:
            return "", ""
        output, errors = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
            patch.setattr("sys.argv", [self.module, *self.arguments])
            patch.setattr("sys.stdin", io.StringIO(self.stdin.getvalue() + text))
            patch.setattr(subprocesses, "exit_with_parent", lambda _: None)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*found in sys.modules.*")
                try:
                    runpy.run_module(self.module, run_name="__main__", alter_sys=True)
                except SystemExit as ended:
                    self.returncode = int(ended.code or 0)
                except Exception:  # what ends a child process ends the module
                    traceback.print_exc(file=errors)
                    self.returncode = 1
        return output.getvalue(), errors.getvalue()


@pytest.fixture(autouse=True)
def in_process(request, monkeypatch) -> None:
    """Runs the modules of IN_PROCESS here; a test marked `child_process` starts them as the pipeline does."""
    if request.node.get_closest_marker("child_process") or find_backend() != "tensorflow":  # JAX exports once a process
        return
    start = subprocesses.start_process

    def start_process(command, *arguments, **options):
        if len(command) > 2 and command[1] == "-m" and command[2] in IN_PROCESS:
            return ModuleInProcess(command[2], command[3:])
        return start(command, *arguments, **options)

    monkeypatch.setattr(subprocesses, "start_process", start_process)


@pytest.fixture
def keras_hub():
    """KerasHub, which is optional: `make test-hub` installs it."""
    return pytest.importorskip("keras_hub")


def drawn(seed: int, width: int = 48, height: int = 40, tint: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """A smooth picture with some noise, (height, width, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x / random.uniform(4, 9) + random.uniform(0, 6)) + np.cos(y / random.uniform(4, 9)) for _ in range(3)
    ]
    values = 128 + 40 * np.stack(waves, axis=2) + np.array(tint) + random.normal(0, 4, (height, width, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def two_classes(folder: Path, each: int = 12, tests: int = 6) -> None:
    """Class folders `blue` and `red` below train/, and test/, with pictures that a random network tells apart."""
    for name, tint in (("blue", (-60, -30, 90)), ("red", (90, -30, -60))):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(each):
            data = encoded(drawn(number + 1000 * (name == "red"), tint=tint))
            (folder / "train" / name / f"{number}.jpg").write_bytes(data)
    (folder / "test").mkdir()
    for number in range(tests):
        tint = (-60, -30, 90) if number % 2 else (90, -30, -60)
        (folder / "test" / f"{number}.jpg").write_bytes(encoded(drawn(5000 + number, tint=tint)))


@pytest.fixture
def mine(tmp_path) -> str:
    """The file of a small competition, one picture of its training and one of its test broken."""
    return write_competition(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Path]:
    """A folder for what a module makes once; its data/ is in `home`. A test takes it by `take_over`."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("STARSHIFT_HOME", "home"), ("KERAS_HOME", "keras")):
            patch.setenv(name, str(folder / value))
        patch.setattr(config, "_COMPETITION_FILES", {})
        yield folder


@pytest.fixture
def take_over(shared, home):
    """Copies the home of the module's folder to this test's, and returns the copy of a path in it."""

    def copy(path: Path) -> Path:
        shutil.copytree(shared / "home", home)
        return home / path.relative_to(shared / "home")

    return copy


def write_competition(folder: Path) -> str:
    """Writes the pictures and the file of `mine` into a folder."""
    two_classes(folder / "pictures")
    (folder / "pictures" / "train" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "pictures" / "test" / "9.jpg").write_bytes(b"")
    file = folder / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="accuracy",\n'
        '    recipe=Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3))\n'
    )
    return str(file)
