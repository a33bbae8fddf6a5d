"""The command line: one whole run on drawn pictures, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invoke import Context

import competitions
from pipeline.cli.common import load_competition, parse_folds
from pipeline.cli.experiments import audit, blocks, distill, ladder, scout
from pipeline.cli.inspect import augmented
from pipeline.config import RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.paths import REPOSITORY
from pipeline.runs import folder as runs
from pipeline.workflow import run as flow
from pipeline.workflow.finish import format_score_spread
from tests.conftest import drawn, encoded
from tests.kaggle.server import Kaggle, environment
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions


def invoke(*arguments, **environment):
    command = [sys.executable, "-m", "invoke", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)


def test_the_whole_way_from_a_folder_to_a_submission_and_again_from_the_cache(mine, home):
    first = invoke("run", "--comp", mine, "--engine", "keras")
    assert first.returncode == 0, first.stderr
    assert (
        "train/red/broken.jpg cannot be read" in first.stdout and "test/9.jpg cannot be read and gets" in first.stdout
    )
    table = pd.read_csv(home / "submissions" / "mine" / "latest.csv")
    assert list(table.columns) == ["id", "label", "blue", "red"] and len(table) == 7
    prior = table.set_index("id").loc["9.jpg", "red"]
    assert prior == pytest.approx(0.5)
    run = next((home / "data" / "runs" / "mine").iterdir())
    names = {path.name for path in run.iterdir()}
    wanted = (
        "config.json digests.json environment.json folds.csv heads.npz history.csv oof.npz test.npz metrics.json "
        "model.keras model.json submission.csv report.html"
    )
    assert names == set(wanted.split())
    results = json.loads((run / "metrics.json").read_text())
    assert results["score"] > 0.9 and len(results["folds"]) == 3 and set(results["views"]) == {"plain", "flip"}
    with np.load(run / "oof.npz") as oof:
        assert oof["probabilities"].dtype == np.float32 and np.allclose(oof["probabilities"].sum(axis=1), 1, atol=1e-5)
    (run / "metrics.json").write_text(json.dumps({**results, "folds": [2.0, 2.0, 2.0]}))
    runs.write_digests(run)
    second = invoke("run", "--comp", mine, "--engine", "keras", "--fold", "1")
    assert second.returncode == 0 and "0 computed" in second.stdout and "over 1 folds" in second.stdout
    assert "one fold alone chooses its l2 on the pictures that score it" in second.stdout
    assert "one fold alone" not in first.stdout
    assert f"the best on these folds is still {run.name}, with 2.0" in second.stdout


def test_fine_tuning_goes_the_whole_way_and_a_wrong_block_is_explained(mine, home):
    asked = competitions.load(Path(mine))
    wrong = replace(asked.recipe, strategy="finetune", training=Training(unfreeze="block5", epochs=1))
    with pytest.raises(StarshiftError, match="conv_pw_2"):
        flow.run(replace(asked, recipe=wrong), RunOptions(engine="keras", folds=(0,)))
    flags = ("--comp", mine, "--engine", "keras", "--strategy", "finetune", "--fold", "0", "--epochs", "1")
    done = invoke("run", *flags, "--unfreeze", "conv_pw_2")
    assert done.returncode == 0, done.stderr
    assert "trained above conv_dw_2_relu" in done.stdout and "float16" in done.stdout
    run = next(path.parent for path in (home / "data" / "runs" / "mine").glob("*-finetune-*/metrics.json"))
    names = {path.name for path in run.iterdir()}
    assert {"oof.npz", "test.npz", "history.csv", "model.keras", "models", "submission.csv"} <= names
    results = json.loads((run / "metrics.json").read_text())
    assert results["score"] > 0.9 and results["cached"] and results["parameters"] > 0
    assert len(pd.read_csv(run / "history.csv")) == 2


@pytest.mark.slow
def test_the_dense_head_goes_the_whole_way_too(mine, home):
    done = invoke("run", "--comp", mine, "--engine", "keras", "--head", "mlp", "--fold", "0")
    assert done.returncode == 0, done.stderr
    assert json.loads(next((home / "data" / "runs" / "mine").glob("*/metrics.json")).read_text())["score"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "dog-breed, dogs-vs-cats"),
        (("run", "--comp", "cats"), "There is no competition called 'cats'"),
        (("run", "--comp", "dogbreed"), "did you mean dog-breed?"),
        (("run", "--comp", "dog-breed", "--strategy", "fine-tune"), "did you mean finetune?"),
        (("run", "--comp", "dog-breed", "--head", "lineer"), "did you mean linear?"),
        (("run", "--comp", "dog-breed", "--engine", "opnvino"), "did you mean openvino?"),
        (("run", "--comp", "dog-breed", "--set", "metric=logloss"), "did you mean log_loss?"),
        (("run", "--comp", "dog-breed", "--set", "training.pacience=3"), "did you mean training.patience?"),
        (("run", "--comp", "dog-breed", "--recipe", "gpus"), "did you mean gpu?"),
        (("run", "--comp", "competitions/dog_bred.py"), "did you mean competitions/dog_breed.py?"),
        (("run", "--comp", "dog-breed", "--set", "views=plane"), "did you mean plain?"),
        (("run", "--comp", "sprouts", "--set", "synthetic=sprout"), "did you mean sprouts?"),
        (("run", "--comp", "dog-breed", "--on", "kagle"), "did you mean kaggle?"),
        (("ladder", "--comp", "dog-breed", "--strategy", "fine-tune"), "did you mean finetune?"),
        (("run", "--comp", "dog-breed", "--base", "resnet51"), "There is no base called"),
        (("run", "--comp", "dog-breed", "--seed", "x"), "--seed is a whole number"),
        (("run", "--comp", "dog-breed", "--epochs", "1.5"), "expected: a whole number from 1 to 10000"),
        (("scout", "--comp", "dog-breed", "--directions", "0"), "expected: 1 or more"),
        (("run", "--comp", "dog-breed", "--size", "big"), "e.g. 160, or own"),
        (("run", "--comp", "dog-breed", "--bundle", "/no/such.zip"), "There is no bundle"),
        (("run", "--comp", "dog-breed", "--engine", "bogus"), "Unknown engine"),
        (("run", "--comp", "sprouts", "--dry-run"), "--on kaggle beside it"),
        (("run", "--comp", "dog-breed", "--unfreeze", "block13"), "--unfreeze would do nothing here"),
        (("run", "--comp", "dog-breed", "--epochs", "3"), "--epochs would do nothing here"),
        (("run", "--comp", "dog-breed", "--head", "mlp", "--set", "l2=1"), "--set l2 would do nothing here"),
        (("run", "--comp", "dog-breed", "--strategy", "frozen", "--head", "linear"), "--head would do nothing here"),
        (
            ("run", "--comp", "dog-breed", "--strategy", "augmented", "--set", "training.sizes=32,64"),
            "--set training.sizes would do nothing here",
        ),
        (("run", "--comp", "dog-breed", "--strategy", "finetune", "--find-lr", "--fold", "9"), "There is no such fold"),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(arguments, words):
    done = invoke(*arguments)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--bse", "x"), "No idea what '--bse' is! did you mean --base?"),
        (("rnu",), "No idea what 'rnu' is! did you mean run?"),
        (("runs", "--sorted-by"), "No idea what '--sorted-by' is! invoke --help runs.list lists the flags"),
        (("cache", "--comp", "x"), "No idea what '--comp' is! invoke --help cache lists the flags"),
        (("quite-another-thing",), "No idea what 'quite-another-thing' is! invoke --list shows the tasks"),
    ],
)
def test_a_misspelt_task_or_flag_is_answered_by_the_nearest(arguments, words):
    done = invoke(*arguments)
    assert done.returncode == 1 and done.stdout + done.stderr == f"{words.strip()}\n"


def test_a_size_on_the_command_line_takes_the_place_of_the_sizes_in_the_recipe_s_names(tmp_path):
    file = tmp_path / "mine.py"
    recipe = 'Recipe(bases=("mobilenet:96=imagenet:128", "mobilenet:224=imagenet:128", "petite"))'
    file.write_text(f"from pipeline.config import *\nCOMPETITION = Competition(name='mine', data='.', recipe={recipe})")
    assert load_competition(str(file), size=160).recipe.bases == ("mobilenet=imagenet:128", "petite")


@pytest.mark.parametrize("task", [audit, augmented, blocks, distill, ladder, scout])
def test_every_task_takes_each_bases_own_size(task, capsys):
    with pytest.raises(SystemExit):
        task(Context(), comp="no-such-competition", size="own")
    assert "There is no competition called" in capsys.readouterr().err


def test_a_fold_that_is_named_twice_is_one_fold():
    assert parse_folds(["1", "0", "1"]) == (0, 1) and parse_folds(None) == ()


def test_one_fold_alone_has_no_spread():
    assert format_score_spread({"folds": [0.9], "score": 0.9, "spread": 0.0}) == "0.90000 (one fold)"
    assert format_score_spread({"folds": [0.8, 1.0], "score": 0.9, "spread": 0.1}) == "0.90000 ± 0.10000"


def test_the_command_line_downloads_through_the_real_client(home, tmp_path):
    (tmp_path / "bundles").mkdir()
    slug = "dogs-vs-cats-redux-kernels-edition"
    with zipfile.ZipFile(tmp_path / "bundles" / f"{slug}.zip", "w") as archive:
        archive.writestr("train/cat.0.jpg", encoded(drawn(0)))
    server = Kaggle()
    Competitions(server, Storage(server), tmp_path / "bundles")
    done = invoke("download", "--comp", "dogs-vs-cats", **environment(server, tmp_path / "user"))
    server.stop()
    assert done.returncode == 0 and "ready (1 files" in done.stdout, done.stderr
    assert (home / "data" / "competitions" / "dogs-vs-cats" / "raw" / "train" / "cat.0.jpg").exists()


def test_the_list_shows_every_task_and_imports_nothing_heavy():
    code = "import sys, tasks; print([m for m in ('numpy', 'pandas', 'tensorflow', 'kaggle') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert {"run", "comps", "show", "features", "cache", "download", "runs.list", "compare"} <= set(
        invoke("--list").stdout.split()
    )


def test_show_prints_the_licence_of_a_preset():
    shown = invoke("show", "--comp", "dog-breed", "--base", "hub:dinov3_vit_small_lvd1689m").stdout
    assert "DINOv3 License; derivatives only under the same terms" in shown


def test_comps_and_show_speak_of_every_competition():
    listed = invoke("comps").stdout
    assert "dog-breed" in listed and "not downloaded" in listed and "micro_f1" in listed
    shown = invoke("show", "--comp", "dog-breed", "--base", "mobilenet_v2").stdout
    assert "recipe.bases" in shown and "224 px, cut none, pooling avg, imagenet weights" in shown
    trained = invoke("show", "--comp", "plant-seedlings", "--size", "own", "--strategy", "finetune").stdout
    lines = {line.split()[0]: line.split()[-1] for line in trained.splitlines()}
    assert lines["training.learning_rate"] == "0.0007" and lines["training.schedule"] == "cosine"


@pytest.mark.slow
def test_weights_of_another_network_are_explained_in_a_few_words_and_leave_no_run(mine, home, tmp_path):
    (tmp_path / "wrong.h5").write_bytes(b"no weights")
    done = invoke("run", "--comp", mine, "--base", f"mobilenet_025={tmp_path / 'wrong.h5'}")
    assert done.returncode == 1 and "wrong.h5 does not fit mobilenet_025" in done.stderr
    assert "file signature not found" in done.stderr and "WARNING" not in done.stderr
    assert not list((home / "data" / "runs" / "mine").iterdir())


@pytest.mark.parametrize(
    ("bases", "asked", "size"),
    [
        (("mobilenet_v2",), None, None),
        (("xception", "mobilenet_v2"), None, None),
        (("mobilenet_v2",), 299, 299),
        (("xception@block13_sepconv2_act+max",), None, 299),
        ((), None, 299),
    ],
)
def test_a_recipes_size_is_not_forced_on_a_base_that_is_not_the_recipes(bases, asked, size, caplog, tmp_path):
    caplog.set_level("INFO")
    (tmp_path / "mine.py").write_text(
        "from pipeline.config import Competition, Recipe\n"
        "RECIPE = Recipe(bases=('xception', 'inception_v3'), size=299)\n"
        "COMPETITION = Competition(name='sized', data='.', metric='accuracy', recipe=RECIPE)\n"
    )
    assert load_competition(str(tmp_path / "mine.py"), bases=bases, size=asked).recipe.size == size
    assert ("299 px are for xception, inception_v3" in caplog.text) == (size is None)
