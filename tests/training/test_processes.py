"""Folds side by side: as many as there is room for, in order, and all stopped when one fails."""

import sys
import time
from types import SimpleNamespace

import pytest

from pipeline.errors import StarshiftError
from pipeline.training import processes
from pipeline.training.processes import Crew, beside_each_other, do_all

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_results_come_in_the_order_of_the_jobs(monkeypatch):
    monkeypatch.setattr(processes, "beside_each_other", lambda folds: 2)

    def work(job, crew, line):
        time.sleep(0.2 - 0.1 * job)
        return job, crew.threads is not None, line

    monkeypatch.setattr(processes, "do", work)
    assert do_all([0, 1, 2]) == [(0, True, 0), (1, True, 1), (2, True, 0)]


def test_when_one_fold_fails_the_others_are_stopped(monkeypatch):
    monkeypatch.setattr(processes, "beside_each_other", lambda folds: 2)
    ended = []

    def work(job, crew, line):
        if job == 0:
            time.sleep(0.5)
            raise StarshiftError("fold 0 failed")
        ended.append(crew.run(SLEEP, line))

    monkeypatch.setattr(processes, "do", work)
    started = time.perf_counter()
    with pytest.raises(StarshiftError, match="fold 0 failed"):
        do_all([0, 1, 2])
    assert time.perf_counter() - started < 30
    assert ended[0] != 0 and all(code != 0 for code in ended)


def test_each_process_is_told_how_many_threads_it_may_use_and_its_line(tmp_path):
    path = tmp_path / "told"
    names = ["TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "STARSHIFT_LINE"]
    code = f"import os, pathlib; pathlib.Path({str(path)!r}).write_text(' '.join(os.environ[n] for n in {names}))"
    assert Crew(3).run([sys.executable, "-c", code], 1) == 0
    assert path.read_text() == "3 3 1"


def test_side_by_side_means_no_more_than_folds_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr(processes, "has_gpu", lambda: False)
    machine = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 7 << 30}
    monkeypatch.setattr(processes, "os", SimpleNamespace(cpu_count=lambda: 8, sysconf=machine.get))
    assert beside_each_other(1) == 1
    assert beside_each_other(5) == 2, "7 GB hold two processes of 3 GB"
    machine["SC_PHYS_PAGES"] = 64 << 30
    assert beside_each_other(5) == 5 and beside_each_other(50) == 8
    monkeypatch.setattr(processes, "has_gpu", lambda: True)
    assert beside_each_other(5) == 1
