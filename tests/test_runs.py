"""Run folders: a mistake that ends a run at once leaves none, and what was interrupted later is gone on with."""

import pytest

from pipeline import runs
from pipeline.errors import StarshiftError


def test_a_run_that_a_mistake_ends_at_once_leaves_no_folder(home):
    folder = runs.create("pets", "features", {}, "0" * 64)
    with pytest.raises(StarshiftError, match="does not fit"), runs.begun(folder):
        raise StarshiftError("That does not fit.")
    assert not folder.exists()


@pytest.mark.parametrize("raised", [StarshiftError("Out of memory."), KeyboardInterrupt()])
def test_a_run_with_something_in_it_stays(home, raised):
    folder = runs.create("pets", "finetune", {}, "0" * 64)
    with pytest.raises(type(raised)), runs.begun(folder):
        (folder / "folds").mkdir()
        raise raised
    assert (folder / "config.json").exists()
    assert runs.create("pets", "finetune", {}, "0" * 64) == folder, "it is gone on with"


def test_an_interrupted_run_stays(home):
    folder = runs.create("pets", "features", {}, "0" * 64)
    with pytest.raises(KeyboardInterrupt), runs.begun(folder):
        raise KeyboardInterrupt
    assert folder.exists()
