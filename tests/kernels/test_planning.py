"""The budget is Kaggle's, the speeds are measured ones, and the plan says what fits."""

from dataclasses import replace

import pytest

from pipeline import paths
from pipeline.config import Recipe, Training
from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.kaggle import client
from pipeline.kernels import planning, session
from pipeline.kernels.records import KernelRecord
from tests.kernels.conftest import PETS

RECIPE = Recipe(bases=("mobilenet_v2",), size=224, folds=5, strategy="finetune", training=Training(epochs=20))
COMPETITION = replace(PETS, recipe=RECIPE)


def remembered(accelerator, rates):
    known = {"competition": "pets", "owner": "me", "slug": f"k-{accelerator.lower()}", "state": "complete"}
    known |= {
        "fingerprint": "0",
        "config": {},
        "job_digest": "0",
        "digest": "0",
        "session": 1,
        "seconds": 1,
        "metadata": {},
    }
    return KernelRecord(**known, accelerator=accelerator, date="2026-11-25T00:00:00Z", summary={"rates": rates}).save()


def lines(accelerator="NvidiaTeslaT4", hours=11.5):
    return "\n".join(planning.format_plan(COMPETITION, accelerator, hours))


def test_the_quota_is_read_past_a_day(kernels):
    left = planning.fetch_quota(client.authenticate())
    assert (left.used, left.total, left.left) == (10.0, 30.0, 20.0)
    assert "20.0 of 30 GPU hours" in planning.format_quota(left)


def test_a_quota_that_kaggle_does_not_tell_is_no_obstacle(kernels, kaggle, quick):
    kaggle.faults["GetAcceleratorQuotaStatistics", "500"] = 99
    assert planning.fetch_quota(client.authenticate()).left == planning.WEEK_HOURS
    kaggle.faults = {("GetAcceleratorQuotaStatistics", "401"): 99}
    with pytest.raises(StarshiftError, match="refuses the credentials"):
        planning.fetch_quota(client.authenticate())


def test_a_session_takes_what_is_left_and_never_more_than_kaggle_allows():
    longest = planning.compute_session_hours("NvidiaTeslaT4", planning.GPUQuota(used=0.0))
    assert 8.9 < longest < 9, "what is asked for has to be lower than Kaggle's limit"
    assert planning.compute_session_hours("NvidiaTeslaT4", planning.GPUQuota(used=27.0)) == 3
    assert 11.9 < planning.compute_session_hours("cpu", planning.GPUQuota(used=30.0)) < 12
    with pytest.raises(StarshiftError, match="used up"):
        planning.compute_session_hours("NvidiaTeslaT4", planning.GPUQuota(used=29.6))


@pytest.mark.parametrize(
    ("state", "took", "hours"), [("killed", 6.0, 6.0), ("killed", 4.0, 9.0), ("interrupted", 6.0, 9.0)]
)
def test_the_time_after_which_kaggle_killed_a_session_is_the_limit_of_the_next_ones(state, took, hours):
    one = replace(remembered("gpu", {}), state=state, seconds=9 * 3600, summary={"took": took * 3600})
    assert planning.limit_hours(9.0, [one]) == hours


def test_a_session_that_is_taken_leaves_its_run_time_to_be_packed():
    shortest = planning.compute_session_hours("NvidiaTeslaT4", planning.GPUQuota(used=29.5))
    assert 0 < planning.compute_run_seconds(shortest * 3600) < shortest * 3600


def test_quota_that_a_running_session_has_reserved_is_not_given_away_twice(kernels):
    kernels.reserved = 15.0
    assert planning.fetch_quota(client.authenticate()).left == 5.0


def test_without_a_measurement_the_plan_guesses_nothing(home):
    assert "unknown numbers of pictures" in lines()
    write_json(paths.competition_folder("pets") / "summary.json", {"train": 36_000, "test": 0, "classes": 2})
    assert "unknown speeds" in lines()


def test_the_plan_counts_folds_that_fit_from_the_speed_measured_there(home):
    write_json(paths.competition_folder("pets") / "summary.json", {"train": 36_000, "test": 0, "classes": 2})
    remembered("NvidiaTeslaT4", {"mobilenet_v2 224": 200.0})
    said = lines()
    # features: 36,000 x 2 views / 200 a second = 0.1 h. finetune: 5 views = 0.25 h, an epoch 36,000 x 3 / 200 = 540 s,
    # 20 epochs = 3 h a fold: 3 of 5 folds in 11.5 h, and 15.25 h take 2 sessions
    assert "measured on NvidiaTeslaT4 (2026-11-25)" in said
    assert "features  0.10 h  0.00 h  5 of 5 folds  1" in said
    assert "finetune  0.25 h  3.00 h  3 of 5 folds  2 <" in said
    assert "scratch" not in said, "of which nothing was measured"
    assert "unknown speeds" in lines("cpu"), "another accelerator's speed is not this one's"


def test_rates_come_from_the_times_of_shards(home, tmp_path):
    import os

    folder = tmp_path / "data" / "cache" / "features" / "k"
    write_json(folder / "spec.json", {"kind": "features", "base": "petite", "cut": None, "size": 32})
    for number in range(3):
        path = folder / f"{number}.json"
        write_json(path, {"ids": ["x"] * (500 if number else 7)})
        os.utime(path, (1000 + 5 * number, 1000 + 5 * number))
    assert session.compute_rates(tmp_path) == {"petite 32": 100.0}
    (folder / "2.json").unlink()
    assert session.compute_rates(tmp_path) == {}, "two shards are one interval, which may hold anything"
    assert "507 rows of features" in session.format_progress(tmp_path, "pets")
