"""The public API: its names, and the examples of its docstrings, which are run in a folder of drawn pictures."""

import doctest
import os
import subprocess
import sys

import numpy as np
import pytest

import pipeline
from pipeline import api
from pipeline.errors import StarshiftError
from pipeline.paths import REPOSITORY
from tests.conftest import two_classes

EXAMPLES = {test.name: test for test in doctest.DocTestFinder().find(api, globs={}) if test.examples}
MODULE = "pipeline.api"


def run_example(name):
    """Runs the example of a docstring, in its own names."""
    test = EXAMPLES[name]
    test.globs = {}
    outcome = doctest.DocTestRunner(verbose=False).run(test, clear_globs=False)
    assert outcome.failed == 0, name
    return test.globs


@pytest.fixture(scope="module")
def made(shared):
    """The folder of the run that the module's example makes, in a folder with pictures/."""
    two_classes(shared / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared)
        return run_example(MODULE)["run"].folder


@pytest.fixture
def finished(made, take_over, shared, monkeypatch):
    monkeypatch.chdir(shared)
    return take_over(made)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != MODULE])
def test_the_example_of_a_docstring_runs(name):
    run_example(name)


def test_every_public_name_is_there_and_says_what_it_is():
    assert all(getattr(pipeline, name).__doc__ for name in pipeline.__all__) and dir(pipeline) == pipeline.__all__


def test_every_public_function_has_an_example():
    functions = [name for name in pipeline.__all__ if getattr(getattr(pipeline, name), "__module__", "") == MODULE]
    assert {f"{MODULE}.{name}" for name in functions if name.islower()} <= {*EXAMPLES}


def test_an_unknown_name_lists_those_that_are_public():
    with pytest.raises(AttributeError, match="public are Competition"):
        pipeline.__getattr__("fit")


def test_importing_the_package_imports_no_library():
    code = "import pipeline, sys; print([name for name in ('numpy', 'pandas', 'keras') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_evaluation_of_held_out_predictions_is_the_run_s_own(finished):
    found = pipeline.evaluate(finished)
    own = pipeline.load_run(finished).results
    assert (found.metric, found.score.estimate) == (own["metric"], pytest.approx(own["score"]))
    assert found.confusion.to_numpy().sum() == found.pictures == found.classes["pictures"].sum() == 24


def test_predictions_of_paths_are_those_of_their_folder(finished):
    paths = ["pictures/test/0.jpg", "pictures/test/1.jpg"]
    several, folder = pipeline.predict(finished, paths), pipeline.predict(finished, "pictures/test")
    assert several.index.tolist() == paths
    assert np.allclose(several.to_numpy(), folder.loc[["0.jpg", "1.jpg"]].to_numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("images", "words"), [(["none.jpg"], "Pictures are missing"), ([], "Pictures are missing"), ("no", "no picture at")]
)
def test_pictures_that_are_not_there_are_named(finished, images, words):
    with pytest.raises(StarshiftError, match=words):
        pipeline.predict(finished, images)


def test_pictures_of_a_class_that_the_run_does_not_know_cannot_be_evaluated(finished):
    with pytest.raises(StarshiftError, match="a folder for each class"):
        pipeline.evaluate(finished, "pictures")
