"""Files of version 0.1 are read with today's names, or refused by name; files of a later version are refused."""

from pathlib import Path

import pytest

import competitions
from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.kernels import records
from pipeline.old_names import FORMAT, read_versioned, update_names
from pipeline.runs import folder as runs
from pipeline.runs import listing

OLD_RECIPE = {
    "rung": "finetune", "bases": ["mobilenet_v2"], "head": "gaussian", "strength": 3e-5,
    "training": {"batch": 8, "rate": 1e-3, "decay": 0.01, "depth_decay": 0.7, "epochs": 2},
}  # fmt: skip
NEW_RECIPE = {
    "strategy": "finetune", "bases": ["mobilenet_v2"], "head": "lda", "l2": 3e-5,
    "training": {"batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.01, "layer_decay": 0.7, "epochs": 2},
}  # fmt: skip
OLD_COMPETITION = {"name": "pets", "drawn": None, "recipe": OLD_RECIPE}
NEW_COMPETITION = {"name": "pets", "synthetic": None, "recipe": NEW_RECIPE}
RECORD = {
    "competition": "pets", "owner": "me", "slug": "s", "state": "pushed", "fingerprint": "f", "order": "o",
    "digest": "d", "session": 1, "accelerator": "cpu", "words": {"took": 3},
}  # fmt: skip


@pytest.fixture
def old_run(home):
    folder = home / "data" / "runs" / "pets" / "20260101-000000-finetune-0123abcd"
    write_json(
        folder / "config.json", {"competition": OLD_COMPETITION, "folds": [0], "debug": False, "fingerprint": "f"}
    )
    write_json(
        folder / "metrics.json",
        {
            "metric": "log_loss", "score": 0.1, "folds": [0.1], "hand_over": 1e-6, "seconds_an_epoch": 2.0,
            "megabytes": 5.0, "standing": None, "training": [{"fold": 0, "hand_over": 1e-6, "seconds_an_epoch": [2.0]}],
        },
    )  # fmt: skip
    (folder / "history.csv").write_text("fold,epoch,held_loss\n0,0,0.5\n")
    return folder


def test_the_configuration_of_an_old_run_has_today_s_names(old_run):
    assert runs.read_config(old_run)["competition"] == NEW_COMPETITION


def test_the_metrics_of_an_old_run_have_today_s_names_in_lists_too(old_run):
    metrics = runs.read_metrics(old_run)
    assert (metrics["parity_difference"], metrics["peak_megabytes"], metrics["seconds_per_epoch"]) == (1e-6, 5.0, 2.0)
    assert metrics["leaderboard_position"] is None
    assert metrics["training"] == [{"fold": 0, "parity_difference": 1e-6, "seconds_per_epoch": [2.0]}]


def test_the_history_of_an_old_run_has_today_s_names(old_run):
    assert runs.read_history(old_run) == [{"fold": "0", "epoch": "0", "val_loss": "0.5"}]


def test_an_old_run_is_listed_with_its_strategy(old_run):
    assert [(one.strategy, one.recipe["training.learning_rate"]) for one in listing.list_runs("pets")] == [
        ("finetune", 1e-3)
    ]


def test_names_that_nobody_renamed_stay_as_they_are():
    values = {"competition": {"labels": {"rung": "a"}}, "rate": 1, "made_of": ["a"]}
    assert update_names(values, "config") == values


def test_a_run_of_a_later_version_is_left_out_with_a_warning(old_run, caplog):
    write_json(old_run / "config.json", {"format": FORMAT + 1, "competition": {"name": "pets"}})
    assert listing.list_runs("pets") == [] and "later version of Starshift wrote config.json" in caplog.text


def test_a_file_of_a_later_version_is_refused_by_name(tmp_path):
    write_json(tmp_path / "metrics.json", {"format": FORMAT + 1})
    with pytest.raises(StarshiftError, match=r"later version of Starshift wrote metrics\.json"):
        read_versioned(tmp_path / "metrics.json", "metrics")


def test_an_old_kernel_record_is_read_with_today_s_names(home):
    write_json(home / "data/kernels/pets/s.json", {**RECORD, "config": {"competition": OLD_COMPETITION, "folds": [0]}})
    (record,) = records.list_records("pets")
    assert record.config == {"competition": NEW_COMPETITION, "folds": [0]}


def test_the_error_of_a_competition_file_with_an_old_field_names_the_new_one(tmp_path):
    path = Path(tmp_path / "mine.py")
    path.write_text(
        "from pipeline.config import *\nCOMPETITION = Competition(name='m', data='.', recipe=Recipe(rung='frozen'))"
    )
    with pytest.raises(StarshiftError, match=r"rung is strategy now, see CHANGELOG\.md"):
        competitions.load(path)
