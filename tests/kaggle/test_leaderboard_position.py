"""Where a score stands on a final leaderboard."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files import read_json, write_json
from pipeline.kaggle.leaderboard import (
    LEADERBOARDS,
    TOP_PERCENTS,
    LeaderboardPosition,
    compute_medal_ranks,
    compute_position,
    compute_rank,
    compute_top_percent,
    find_leaderboard,
    find_medal_lines,
    format_medals,
    format_position,
    format_standing,
)

DOGS = LEADERBOARDS["dog-breed-identification"]
PETS = LEADERBOARDS["dogs-vs-cats-redux-kernels-edition"]
BOARDS = st.sampled_from(list(LEADERBOARDS.values()))


@pytest.mark.parametrize("board", LEADERBOARDS.values())
def test_every_table_has_a_score_for_each_row_and_runs_from_best_to_worst(board):
    assert len(board.scores) == len(TOP_PERCENTS)
    assert list(board.scores) == sorted(board.scores, reverse=board.higher)


def test_a_public_result_lands_on_the_rank_that_it_had():
    assert compute_rank(PETS, compute_top_percent(PETS, 0.0414)) == 20
    invasive = LEADERBOARDS["invasive-species-monitoring"]
    assert compute_rank(invasive, compute_top_percent(invasive, 0.9977)) == 1


@given(BOARDS, st.integers(0, len(TOP_PERCENTS) - 1))
def test_a_row_of_the_table_stands_where_the_table_says(board, row):
    last_with_this_score = max(n for n, value in enumerate(board.scores) if value == board.scores[row])
    assert compute_top_percent(board, board.scores[row]) == pytest.approx(TOP_PERCENTS[last_with_this_score])


@given(BOARDS, st.floats(-1, 40), st.floats(-1, 40))
def test_a_better_score_never_stands_lower(board, one, other):
    better, worse = (max(one, other), min(one, other)) if board.higher else (min(one, other), max(one, other))
    assert 0 <= compute_top_percent(board, better) <= compute_top_percent(board, worse) <= 100
    assert 1 <= compute_rank(board, compute_top_percent(board, better)) <= board.teams


def test_halfway_between_two_rows_is_halfway_between_their_places():
    assert compute_top_percent(PETS, (0.06149 + 0.07375) / 2) == pytest.approx(12.5)


def test_the_interval_gives_a_range_of_ranks_and_the_next_step_a_distance():
    found = compute_position(PETS, 0.0735, 0.06149, 0.09099, 25000)
    assert (found.best_top, found.worst_top) == pytest.approx((10, 25))
    assert found.best_rank < found.rank < found.worst_rank
    assert found.next_top == 10 and found.to_go == pytest.approx(0.0735 - 0.06149)
    said = format_position(found)
    assert "132 to 329 for 0.06149 to 0.09099" in said[0] and "top 10.0 % begins at 0.06149: 0.01201 to go" in said[1]


def test_where_higher_is_better_the_interval_is_turned_round():
    found = compute_position(LEADERBOARDS["plant-seedlings-classification"], 0.97, 0.96, 0.98, 4750)
    assert found.best_top < found.top < found.worst_top and found.to_go == pytest.approx(0.97229 - 0.97)


def test_scores_that_only_leaks_reach_are_said_to_be_so():
    assert "only leaks reach scores beyond 0.10" in " ".join(
        format_position(compute_position(DOGS, 0.05, 0.04, 0.06, 10222))
    )
    assert "be suspicious" in " ".join(format_position(compute_position(DOGS, 0.12, 0.11, 0.13, 10222)))
    assert "and this is there" in " ".join(format_position(compute_position(DOGS, 0.17, 0.16, 0.18, 10222)))
    modest = " ".join(format_position(compute_position(DOGS, 0.3, 0.2, 0.4, 10222)))
    assert "look for the leak" not in modest and "top 11.9 % of the teams are beyond 0.10" in modest


def test_nobody_is_sent_after_a_leak():
    assert compute_position(DOGS, 0.15, 0.14, 0.16, 10222).next_top is None
    assert compute_position(DOGS, 0.19, 0.18, 0.20, 10222).next_top == 15


@pytest.mark.parametrize("board", LEADERBOARDS.values())
def test_better_than_the_first_team_is_no_reason_to_celebrate(board):
    score = board.scores[0] + (1e-6 if board.higher else -1e-6)
    found = compute_position(board, score, score, score, board.train)
    assert found.rank <= 1 + 0.005 * board.teams and found.next_top is None and "look for" in found.remarks[0]


def test_fewer_pictures_than_kaggles_are_mentioned_and_the_right_number_is_not():
    assert "4,800 labelled pictures, Kaggle gives 10,222" in compute_position(DOGS, 0.6, 0.5, 0.7, 4800).remarks[-1]
    assert "labelled pictures" not in compute_position(DOGS, 0.6, 0.5, 0.7, 10222).remarks[-1]


def test_an_unknown_interval_is_not_made_up():
    said = format_position(compute_position(PETS, 0.05, -math.inf, math.inf, 25000))
    assert "how sure that is, is not known" in said[0]


def test_a_competition_without_a_leaderboard_or_another_metric_says_nothing():
    assert find_leaderboard(None, "accuracy") is None and find_leaderboard("no-such-slug", "log_loss") is None
    assert find_leaderboard("dog-breed-identification", "accuracy") is None
    assert find_leaderboard("dog-breed-identification", "log_loss") is DOGS


def test_the_standing_survives_its_way_through_a_file(tmp_path):
    found = compute_position(PETS, 0.05, 0.04, 0.06, 25000)
    write_json(tmp_path / "metrics.json", asdict(found))
    stored = read_json(tmp_path / "metrics.json")
    assert replace(LeaderboardPosition(**stored), remarks=tuple(stored["remarks"])) == found


@pytest.mark.parametrize(
    ("score", "medal"),
    [
        (0.03, "gold medal"),
        (0.03882, "gold medal"),
        (0.05, "silver medal"),
        (0.0612, "bronze medal"),
        (0.0613, "no medal"),
    ],
)
def test_a_score_earns_the_best_medal_whose_line_it_reaches(score, medal):
    assert format_medals(PETS, score) == f"{medal}: gold at 0.03882, silver at 0.05038, bronze at 0.06127"


def test_where_a_higher_score_is_better_so_are_the_medals():
    assert format_medals(LEADERBOARDS["invasive-species-monitoring"], 0.9925).startswith("silver")


def test_medals_that_only_leaks_reach_are_called_so():
    assert "only leaks reach scores beyond 0.10" in format_medals(DOGS, 0.3)


@pytest.mark.parametrize(
    ("teams", "ranks"),
    [(50, (5, 10, 20)), (100, (10, 20, 40)), (249, (10, 49, 99)), (250, (10, 50, 100)), (999, (11, 50, 100)),
     (1000, (12, 50, 100)), (1314, (12, 65, 131))],
)  # fmt: skip
def test_medals_go_to_as_many_teams_as_kaggle_says(teams, ranks):
    assert tuple(compute_medal_ranks(teams).values()) == ranks


@pytest.mark.parametrize("board", [board for board in LEADERBOARDS.values() if board.leak is None])
def test_the_lines_of_medals_lie_where_kaggle_s_rules_put_them(board):
    by_rule = find_medal_lines(replace(board, medals=()))
    for name, line in find_medal_lines(board).items():
        assert compute_top_percent(board, line) == pytest.approx(compute_top_percent(board, by_rule[name]), abs=1)


def test_a_standing_names_its_medal():
    place = compute_position(PETS, 0.05, 0.04, 0.06, 25000)
    assert any(line.startswith("silver medal: gold at") for line in format_position(place))
    assert format_standing(PETS, 0.0414).endswith("(top 1.5 %), silver medal")
