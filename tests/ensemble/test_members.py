"""Runs that may be members: what their files say is read as it was written."""

import shutil
from dataclasses import replace

import numpy as np

from pipeline.ensemble import members
from pipeline.files import write_json
from pipeline.runs import folder
from pipeline.runs.load import load_run
from tests.written import written


def test_labels_and_ids_that_read_like_missing_values_are_text(tmp_path):
    ids, classes = ["NA", "null", "1"], ["N/A", "None"]
    rows = [{"id": name, "label": "N/A", "fold": 0, "group": name} for name in ids]
    folder.write_table(tmp_path / "folds.csv", rows)
    for part in ("oof", "test"):
        folder.write_predictions(tmp_path / f"{part}.npz", ids, classes, np.full((3, 2), 0.5, np.float32))
    write_json(tmp_path / "config.json", {"folds": [0]})
    write_json(tmp_path / "metrics.json", {"score": 0.5})
    folds = members.load_member(tmp_path).folds
    assert list(folds.index) == list(folds["group"]) == ids and set(folds["label"]) == {"N/A"}


def test_runs_on_corrected_labels_and_on_the_original_ones_do_not_go_together():
    folders = [written(sure) for sure in (2.0, 3.0)]
    for one in folders:
        shutil.copy(one / "oof.npz", one / "test.npz")
    before, after = map(load_run, folders)
    corrected = replace(after, folds=after.folds.assign(label=[*"b", *after.folds["label"][1:]]))
    left_out = []
    assert members.select_compatible_members([before, corrected], left_out) == [corrected]
    assert left_out == [(before.folder.name, "other labels")]
