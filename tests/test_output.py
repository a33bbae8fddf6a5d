"""Results are lines for a reader, or with --json one document on standard output and nothing else."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.output import collect_json, print_lines, print_results, to_plain


def test_blocks_are_apart_by_an_empty_line(caplog):
    caplog.set_level("INFO")
    print_lines(["a", "b"], [], ["c"], apart=False)
    assert caplog.messages == ["a", "b", "", "c"]


def test_results_without_json_are_lines(caplog):
    caplog.set_level("INFO")
    print_results({"score": 1}, ["score 1"])
    assert caplog.messages == ["", "score 1"]


def test_with_json_there_is_one_document_and_no_lines(capfd):
    with collect_json():
        print_results({"runs": {"a": 1}}, ["run a"])
        print_results({"runs": {"b": 2}, "made": None}, ["run b"])
    captured = capfd.readouterr()
    assert json.loads(captured.out) == {"runs": {"a": 1, "b": 2}, "made": None}
    assert captured.err == ""


def test_with_json_logs_prints_and_child_processes_write_to_standard_error(capfd):
    with collect_json():
        logging.getLogger("pipeline").info("logged")
        print("printed")
        subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
        print_results({"done": True})
    captured = capfd.readouterr()
    assert json.loads(captured.out) == {"done": True}
    assert set(captured.err.splitlines()) == {"logged", "printed", "of a child"}


def test_an_error_before_any_result_prints_no_document(capfd):
    with pytest.raises(ValueError, match="broken"), collect_json():
        raise ValueError("broken")
    assert capfd.readouterr().out == ""


def test_after_json_results_are_lines_again(caplog, capfd):
    with collect_json():
        pass
    assert json.loads(capfd.readouterr().out) == {}
    caplog.set_level("INFO")
    logging.getLogger().addHandler(caplog.handler)
    print_results({"score": 1}, ["score 1"], apart=False)
    assert caplog.messages == ["score 1"]


def test_a_record_becomes_plain_json():
    record = {"score": np.float32(0.5), "folds": (np.int64(1), 2), "p": float("inf"), "path": Path("a/b"), 3: None}
    assert to_plain(record) == {"score": 0.5, "folds": [1, 2], "p": None, "path": "a/b", "3": None}
