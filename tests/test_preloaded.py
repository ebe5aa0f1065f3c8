"""Processes with their libraries: forked from one that is as it was, and as if they had been started afresh."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_isolation import gone

from slimedge.export.exporting import _LIBRARIES
from slimedge.isolation import run_isolated
from slimedge.preloaded import Preloaded

SEVERAL = len(os.sched_getaffinity(0)) > 1


@pytest.fixture
def preloaded():
    made = Preloaded("wave", "numpy", "isolated_functions")
    yield made
    made.close()


def called(preloaded, name="described", **arguments):
    return run_isolated(f"isolated_functions:{name}", arguments, label="the work", preloaded=preloaded).result


def test_a_process_has_the_modules_that_were_asked_for(preloaded):
    assert "wave" not in called(None)["modules"]
    assert "wave" in called(preloaded)["modules"]


def test_all_are_forked_from_one_process_that_imports_once(preloaded):
    first, second = (called(preloaded) for _ in range(2))
    assert first["parent"] == second["parent"] != os.getpid()


def test_a_process_is_where_the_one_is_that_asks(preloaded, tmp_path, monkeypatch):
    called(preloaded)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMEDGE_COLOUR", "blue")
    monkeypatch.syspath_prepend(str(tmp_path / "more"))

    found = called(preloaded)

    assert found["folder"] == str(tmp_path)
    assert found["environment"]["SLIMEDGE_COLOUR"] == "blue"
    assert found["path"] == sys.path
    assert found["stdin"] == ""


@pytest.mark.skipif(not SEVERAL, reason="one processor cannot be chosen from")
def test_a_process_keeps_to_the_processors_of_the_one_that_asks(preloaded):
    called(preloaded)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
        assert called(preloaded)["processors"] == [max(before)]
    finally:
        os.sched_setaffinity(0, before)


def test_a_variable_that_counts_at_the_start_has_it_start_again(preloaded, monkeypatch):
    before = called(preloaded)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    after = called(preloaded)
    assert after["parent"] != before["parent"]
    assert after["environment"]["TF_NUM_INTRAOP_THREADS"] == "1"
    assert gone(before["parent"])


def test_random_numbers_are_others_in_each_process(preloaded):
    first, second = (called(preloaded, "random_numbers") for _ in range(2))
    assert not set(first) & set(second)


def test_one_that_is_killed_is_replaced(preloaded):
    before = called(preloaded)["parent"]
    os.kill(before, 9)
    assert gone(before)
    assert called(preloaded)["parent"] != before


def test_it_ends_when_it_was_not_needed_for_a_while():
    preloaded = Preloaded("wave", idle_s=0.2)
    before = called(preloaded)["parent"]
    assert gone(before)
    after = called(preloaded)
    assert after["parent"] != before
    assert "wave" in after["modules"]
    preloaded.close()


def test_a_second_process_at_the_same_time_is_a_fresh_one(preloaded, tmp_path):
    go, begun = tmp_path / "go", tmp_path / "begun"
    parents = []

    def wait():
        parents.append(called(preloaded, "wait_for", file=str(go), begun=str(begun)))

    server = called(preloaded)["parent"]
    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        while not begun.exists():
            assert waiting.is_alive()
        assert called(preloaded)["parent"] == os.getpid()
    finally:
        go.touch()
        waiting.join()
    assert parents == [server]
    assert called(preloaded)["parent"] == server


def test_where_the_current_folder_was_removed_a_process_is_a_fresh_one(preloaded, tmp_path, monkeypatch):
    gone_soon = tmp_path / "gone"
    gone_soon.mkdir()
    monkeypatch.chdir(gone_soon)
    gone_soon.rmdir()
    assert called(preloaded, "add", a=1, b=2) == 3
    monkeypatch.chdir(tmp_path)
    assert "wave" in called(preloaded)["modules"]


def test_modules_that_cannot_be_imported_are_left_to_whoever_needs_them():
    preloaded = Preloaded("no_such_module", "wave")
    assert "wave" in called(preloaded)["modules"]
    preloaded.close()


def test_it_ends_with_the_process_that_it_serves():
    script = (
        "from slimedge.isolation import run_isolated\nfrom slimedge.preloaded import Preloaded\n"
        "told = run_isolated('isolated_functions:described', {}, label='x', preloaded=Preloaded('wave'))\n"
        "print(told.result['parent'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert gone(int(done.stdout))
    assert done.stderr == ""


def test_the_libraries_of_an_export_start_no_thread():
    libraries = Preloaded(*_LIBRARIES._modules)
    counted = {
        name: called(each, "threads_of_parent")
        for name, each in (("numpy", Preloaded("numpy")), ("all", libraries))
    }
    libraries.close()
    assert counted["all"] == counted["numpy"]
