"""Kaggle's kernels on loopback, a tiny competition on it, and orders for it."""

import zipfile

import pytest

from pipeline.config import Competition, Labels, Recipe, Submission
from pipeline.kernels import bundle, follow
from tests.conftest import two_classes
from tests.kaggle.conftest import kaggle, quick, user  # noqa: F401 - fixtures
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_kernels import Kernels
from tests.kaggle.serving_storage import Storage

SLUG = "pets-slug"
PETS = Competition(
    name="pets",
    slug=SLUG,
    labels=Labels(positive="red"),
    submission=Submission(layout="probability"),
    metric="binary_log_loss",
    recipe=Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3),
)


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """The competition's folder, as it is mounted."""
    folder = tmp_path_factory.mktemp("mounted") / "pets"
    two_classes(folder)
    rows = [path.name for path in sorted((folder / "test").iterdir())]
    (folder / "sample_submission.csv").write_text("id,label\n" + "".join(f"{name},0.5\n" for name in rows))
    return folder


@pytest.fixture
def bundle_by_hand(pets, tmp_path):
    """The same as the archive that Kaggle sends."""
    path = tmp_path / f"{SLUG}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(pets.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(pets))
    return path


@pytest.fixture
def kernels(kaggle, pets, tmp_path, monkeypatch):  # noqa: F811
    """Kernels that are left alone: the test says what becomes of them. `kernels.python = sys.executable` runs them."""
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(follow, "MAX_POLL_SECONDS", 0.2)
    monkeypatch.setattr(follow, "LOG_PAUSE", 0.02)
    monkeypatch.setattr(bundle, "XZ_PRESET", 0)
    storage = Storage(kaggle)
    served = Kernels(kaggle, storage, tmp_path / "kernels", python=None, stored=Datasets(kaggle, storage))
    served.competitions[SLUG] = pets
    yield served
    for session in (one for sessions in served.sessions.values() for one in sessions):
        session.expire()
