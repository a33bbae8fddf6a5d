"""A leak in the files lights up and clean files do not; a shift is found and a random split is not."""

import numpy as np
import pytest

from pipeline.audit import drift, leakage
from tests.conftest import drawn, encoded

KINDS = np.arange(120) % 2


def written(folder, leak):
    """Pictures of two classes; with a leak those of one are larger, as if another camera had taken them."""
    files = []
    for number, kind in enumerate(KINDS):
        side = 40 + (number * 7) % 23 + (16 if leak and kind else 0)
        path = folder / f"{number}.jpg"
        path.write_bytes(encoded(drawn(number, width=side, height=side)))
        files.append(path)
    return files


def test_a_size_that_gives_the_class_away_lights_up(tmp_path):
    result = leakage.cross_validate_metadata(
        leakage.read_metadata_table(written(tmp_path, leak=True)), KINDS, np.arange(120), seed=0
    )
    assert result.is_separable and result.auc.low > 0.7
    assert {"width", "height"} & set(list(result.field_aucs)[:3])


def test_clean_files_do_not_light_up(tmp_path):
    table = leakage.read_metadata_table(written(tmp_path, leak=False))
    assert not leakage.cross_validate_metadata(
        table, np.random.default_rng(3).permutation(KINDS), np.arange(120), seed=0
    ).is_separable


def test_files_that_all_agree_say_nothing(tmp_path):
    (tmp_path / "one.jpg").write_bytes(encoded(drawn(0)))
    table = leakage.read_metadata_table([tmp_path / "one.jpg"] * 40)
    assert leakage.cross_validate_metadata(table, KINDS[:40], np.arange(40), seed=0).auc.estimate == 0.5


def test_the_fields_are_those_of_the_file(tmp_path):
    (tmp_path / "fine.jpg").write_bytes(encoded(drawn(0, 30, 20), quality=30))
    (tmp_path / "coarse.jpg").write_bytes(encoded(drawn(0, 30, 20), quality=95))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    table = leakage.read_metadata_table([tmp_path / name for name in ("fine.jpg", "coarse.jpg", "broken.png")])
    assert table["width"].tolist()[:2] == [30, 30] and table["format"].tolist() == ["JPEG", "JPEG", "unreadable"]
    assert table["jpeg table 0"][0] > table["jpeg table 0"][1] and table["file bytes"][2] == 10
    assert leakage.encode_ordinal(table)["width"][2] == -1


@pytest.fixture
def table():
    return leakage.pd.DataFrame({"width": np.random.default_rng(1).integers(0, 50, 200)})


def test_a_shifted_test_set_is_found_and_a_random_split_is_not(table):
    features = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    part = (np.arange(200) >= 140).astype(int)
    same = drift.detect_drift(features, table, part, np.arange(200), seed=0)
    assert not same.features.is_separable and not same.metadata.is_separable
    features[part == 1, 3] += 1.5
    moved = drift.detect_drift(features, table, part, np.arange(200), seed=0)
    assert moved.features.is_separable and moved.features.auc.estimate > 0.75
    train, test = moved.extremes(part, 5)
    assert (part[train] == 0).all() and (part[test] == 1).all()
    assert features[test, 3].mean() > features[train, 3].mean() + 2


def test_of_a_handful_of_test_pictures_nothing_is_said(table):
    part = (np.arange(200) >= 190).astype(int)
    assert drift.detect_drift(np.zeros((200, 2), np.float32), table, part, np.arange(200), seed=0) is None


def test_the_area_is_scikit_learns():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    kinds, scores = random.integers(0, 3, 60), random.dirichlet([1, 1, 1], 60).round(1)
    each = [roc_auc_score(kinds == kind, scores[:, kind]) for kind in range(3)]
    assert leakage.compute_macro_auc(kinds, scores) == pytest.approx(np.mean(each))


def test_kinds_auc_of_drift_without_a_mistake_on_every_fold_are_as_sure_as_their_pictures_allow():
    kinds = np.arange(40) % 2
    features = (kinds[:, None] * 9 + np.random.default_rng(0).normal(size=(40, 3))).astype(np.float32)
    auc = leakage.cross_validate_features(features, kinds, np.arange(40), seed=0).auc
    assert auc.estimate == 1 and auc.low < 0.95


@pytest.mark.parametrize(
    ("groups", "folds"),
    [([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 2, 5), ([0, 0, 1, 1, 2, 2, 3, 3] * 2, 4), ([0] * 4 + [1, 2, 3, 4], 1)],
    ids=["many scenes", "four scenes", "a class in one scene"],
)
def test_there_are_no_more_folds_than_scenes_of_a_class(groups, folds):
    labels = np.repeat([0, 1], len(groups) // 2)
    assert leakage.count_folds(labels, np.array(groups)) == folds


def test_a_class_in_one_scene_is_told_from_nothing():
    table = leakage.pd.DataFrame({"width": np.arange(8)})
    result = leakage.cross_validate_metadata(table, np.repeat([0, 1], 4), np.array([0] * 4 + [1, 2, 3, 4]), 0)
    assert result.auc.estimate == 0.5 and result.scores.shape == (8, 2)
