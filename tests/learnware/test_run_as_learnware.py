"""Runs as learnwares are made of them: which have one model, and what it was trained without."""

import json

import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware.publish import build_signature, load_source_run
from tests.written import MINE, written


def with_models(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_run_on_features_has_one_model_that_every_picture_was_seen_by():
    folder = with_models(written(bases=("petite",), size=64), "model.keras")
    source = load_source_run(folder)
    results = json.loads((folder / "metrics.json").read_text())
    assert source.folds == () and source.classes == tuple("abcd") and source.model.name == "model.keras"
    assert source.score == (results["score"], results["spread"]) and source.competition.recipe.size == 64


def test_of_several_networks_one_is_taken_and_its_fold_was_not_seen_by_it():
    folder = with_models(written(strategy="finetune"), *(f"models/fold{fold}.keras" for fold in range(5)))
    results = json.loads((folder / "metrics.json").read_text())
    assert load_source_run(folder).folds == (0,)
    source = load_source_run(folder, fold=3)
    assert source.folds == (3,) and source.score == (results["folds"][3], None) and source.model.name == "fold3.keras"
    with pytest.raises(StarshiftError, match="no model of this fold"):
        load_source_run(folder, fold=7)


def test_a_distilled_student_is_a_run_like_any_other():
    folder = with_models(written(bases=("petite", "mobilenet_025")), "model.keras")
    config = json.loads((folder / "config.json").read_text())
    config["competition"]["recipe"]["strategy"] = "distill"
    for strategy, many in (("features", 2), ("finetune", 1)):
        (folder / "config.json").write_text(json.dumps({**config, "distillation": {"strategy": strategy}}))
        source = load_source_run(folder)
        assert source.strategy == "distill" and source.competition.recipe.strategy == strategy
        assert build_signature(source, "it").strategy == strategy and len(build_signature(source, "it").bases) == many


def test_one_trained_fold_has_its_own_score():
    folder = with_models(written(strategy="finetune", folds=(2,)), "models/fold2.keras", "model.keras")
    assert load_source_run(folder).folds == (2,)
    alone = with_models(written(sure=3.0, folds=(2,)), "model.keras")
    assert load_source_run(alone).folds == (2,) and load_source_run(alone).score[1] is None


def test_a_trial_an_unfinished_run_and_one_without_a_model_are_explained():
    with pytest.raises(StarshiftError, match="trial"):
        load_source_run(with_models(written(debug=True), "model.keras"))
    with pytest.raises(StarshiftError, match="not finished"):
        load_source_run(with_models(written(finished=False), "model.keras"))
    with pytest.raises(StarshiftError, match=r"no model of its own(.|\n)*distill"):
        load_source_run(written(sure=1.0))


def test_a_run_made_of_others_is_said_to_be_one():
    folder = written(sure=1.0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "made_of": [{"run": "another"}]}))
    with pytest.raises(StarshiftError, match="a run made of other runs"):
        load_source_run(folder)


def test_the_contract_says_which_bases_and_sizes_and_never_a_path(tmp_path):
    weights = tmp_path / "mine.h5"
    weights.write_bytes(b"")
    bases = ("petite@stage2_block1_out+max", "mobilenet_025=none:3", f"xception={weights}")
    contract = build_signature(load_source_run(with_models(written(bases=bases), "model.keras")), "it")
    assert contract.sizes == (128, 224, 299) and contract.views == MINE.recipe.views
    assert [(one.name, one.cut, one.pooling, one.weights) for one in contract.bases] == [
        ("petite", "stage2_block1_out", "max", "imagenet"),
        ("mobilenet_025", None, "avg", "none:3"),
        ("xception", None, "avg", "own"),
    ]
    first = build_signature(
        load_source_run(with_models(written(bases=bases, strategy="finetune"), "model.keras")), "it"
    )
    assert [one.name for one in first.bases] == ["petite"]
    scratch = build_signature(load_source_run(with_models(written(strategy="scratch", size=64), "model.keras")), "it")
    assert scratch.sizes == (64,) and scratch.bases[0].name == "scratch"


def test_second_moments_are_no_learnwares_for_their_directions_are_here_alone():
    with pytest.raises(StarshiftError, match=r"avg \| max \| both"):
        load_source_run(with_models(written(bases=("mobilenet_025+second:0123456789abcdef",)), "model.keras"))
