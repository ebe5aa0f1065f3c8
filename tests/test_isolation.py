"""A function in a fresh process: its result, its errors, its limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from slimedge.errors import CheckError, ConversionError, InputError, SlimedgeError
from slimedge.isolation import run_isolated
from slimedge.preloaded import Preloaded

Call = Callable[..., Any]
KINDS = {"fresh": "None", "preloaded": "Preloaded('decimal', 'isolated_functions')"}
HANGING = """
from slimedge.isolation import run_isolated
from slimedge.preloaded import Preloaded
run_isolated('isolated_functions:hang_with_a_child', {{'pid_file': '{}'}}, label='x', preloaded={})
"""


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest) -> Iterator[Call]:
    """Runs a function in a process of either kind."""
    preloaded = Preloaded("decimal", "isolated_functions") if request.param == "preloaded" else None

    def call(
        name: str, *, time_limit_s: float = 60.0, memory_limit_bytes: int | None = None, **arguments: object
    ) -> object:
        return run_isolated(
            f"isolated_functions:{name}",
            arguments,
            label="the work",
            time_limit_s=time_limit_s,
            memory_limit_bytes=memory_limit_bytes,
            preloaded=preloaded,
        ).result

    yield call
    if preloaded is not None:
        preloaded.close()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_the_result_comes_back_with_time_and_memory() -> None:
    found = run_isolated("isolated_functions:add", {"a": 2, "b": 3}, label="adding")
    assert found.result == 5
    assert 0 < found.seconds < 60
    assert found.peak_rss_bytes > 1_000_000


def test_gpus_are_hidden(run: Call) -> None:
    assert run("environment") == {"CUDA_VISIBLE_DEVICES": "-1"}


def test_our_own_error_keeps_its_class(run: Call) -> None:
    with pytest.raises(CheckError, match=r"^it differs\.$"):
        run("refuse")


def test_any_other_error_is_one_sentence(run: Call) -> None:
    with pytest.raises(
        ConversionError, match=r"^the work failed: RuntimeError: the first line; nothing was written\.$"
    ):
        run("fail")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_in_native_code_names_the_signal(run: Call, number: signal.Signals) -> None:
    with pytest.raises(ConversionError, match=f"the work died of {number.name} in native code"):
        run("die", number=int(number))


def test_an_end_without_a_result_tells_the_last_words(run: Call) -> None:
    with pytest.raises(ConversionError, match=r"ended with status 3 and no result \(last words\)"):
        run("leave")


def test_the_time_limit_ends_the_process_and_its_children(run: Call, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="was stopped after 2 s, its time limit"):
        run("hang_with_a_child", time_limit_s=2.0, pid_file=str(tmp_path / "pid"))
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_memory_limit_ends_the_process(run: Call) -> None:
    with pytest.raises(ConversionError, match=r"its limit is 0\.2 GiB; raise the limit"):
        run("grow", megabytes=2000, memory_limit_bytes=200 * 2**20)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_ends_the_process_and_leaves_no_folder(tmp_path: Path, kind: str) -> None:
    script = HANGING.format(tmp_path / "pid", KINDS[kind])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(20) != 0
    assert gone(int((tmp_path / "pid").read_text()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["pid"]


def test_a_kill_from_outside_is_told_apart_from_a_crash(run: Call) -> None:
    with pytest.raises(ConversionError, match=r"^the work was killed from outside, .* for want of memory"):
        run("die", number=int(signal.SIGKILL))


def test_a_child_that_is_left_behind_ends_with_the_process(run: Call, tmp_path: Path) -> None:
    assert run("leave_a_child", pid_file=str(tmp_path / "pid")) == "done"
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_result_that_is_no_json_is_one_sentence(run: Call) -> None:
    with pytest.raises(ConversionError, match=r"ended with status 1 and no result \(TypeError: .*JSON"):
        run("not_json")


@pytest.mark.parametrize("kind", KINDS)
def test_the_process_ends_with_its_parent_even_where_that_is_killed(tmp_path: Path, kind: str) -> None:
    script = HANGING.format(tmp_path / "pid", KINDS[kind])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = int((tmp_path / "pid").read_text())
    ours = {each.pid for each in psutil.Process(parent.pid).children(recursive=True)} - {started}
    assert len(ours) == (2 if kind == "preloaded" else 1)
    parent.kill()
    parent.wait(20)
    assert all(gone(pid) for pid in ours)
    with suppress(ProcessLookupError):
        os.kill(started, signal.SIGKILL)  # what it started itself has no such tie


def test_nothing_is_left_in_the_temporary_folder(
    run: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run("add", a=1, b=2) == 3
    for name in ("refuse", "fail", "leave"):
        with pytest.raises(SlimedgeError):
            run(name)
    with pytest.raises(ConversionError):
        run("die", number=int(signal.SIGABRT))
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_temporary_files_is_one_sentence(
    run: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=10", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root; run the tests as root to see what a full disk does.")
    try:
        (tmp_path / "full").write_bytes(b"x" * 4096)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(InputError, match=r"could not write temporary files in .* set TMPDIR"):
            run("add", a=1, b=2)
        assert [entry.name for entry in tmp_path.iterdir()] == ["full"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
