"""One command on several devices at once: a board over SSH, a phone, a microcontroller, an NPU, and this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ssh_server
import tiny_files
from adb_server import adb_server
from fake_adbd import FakeAdbd
from phone_root import make_root

from slimedge.benchmarks import latency
from slimedge.benchmarks.benchmarking import benchmark
from slimedge.benchmarks.beside_each_other import beside_each_other
from slimedge.errors import UnavailableError
from slimedge.runtime.devices.adb.client import executable

if ssh_server.SSHD is None or ssh_server.SSH is None:
    pytest.skip("needs sshd and ssh: apt-get install openssh-server openssh-client", allow_module_level=True)
try:
    executable()
except UnavailableError as missing:
    pytest.skip(str(missing), allow_module_level=True)

TOOL = Path(__file__).with_name("fake_benchmark_model.py")
SHORT = replace(latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, turn_s=0.005, warm_s=0.05)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with ssh_server.board(tmp_path_factory.mktemp("board")) as found:
        yield found


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """A phone that adb is connected to."""
    with (
        adb_server(executable(), tmp_path_factory.mktemp("adb")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        device = FakeAdbd(make_root(tmp_path_factory.mktemp("phone") / "root"))
        server.adb("connect", device.serial)
        yield device
        device.close()


@pytest.fixture
def tool(tmp_path):
    """Give the target of the phone with a benchmark_model that behaves in a certain way."""

    def made(phone, behaviour):
        path = tmp_path / "benchmark_model"
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {TOOL} {behaviour} "$@"\n')
        path.chmod(0o755)
        return f"adb://{phone.serial}/litert?benchmark_model={path}"

    return made


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "SETTINGS", {"default": SHORT})
    return tiny_files.tflite(tmp_path / "m.tflite", integer=True).path


def figures(row):
    return row.latency_s is not None or bool(row.figures)


def test_every_device_gives_its_row_from_one_command(board, phone, tool, model):
    targets = [board.target("litert"), tool(phone, "measured"), "mcu", "ethos-u55-128", "litert"]
    found = benchmark([model], targets=targets)

    there, mobile, micro, npu, here = found.rows
    assert [row.error for row in found.rows] == [None] * 5
    assert there.latency_s.p50 > 0
    assert mobile.latency_s.p90 is None
    assert mobile.environment.cpu != here.environment.cpu
    assert micro.latency_s is None
    assert micro.figures["arena_bytes"] > 0
    assert micro.figures["same_answers_share"] == 1.0
    assert (npu.label, npu.runtime) == ("estimated", "vela")
    assert npu.figures["cycles"] > 0
    assert Path(npu.figures["compiled"]).is_file()
    assert here.latency_s.p90 > 0


@pytest.mark.parametrize("trouble", ["crashes", "hangs"])
def test_a_phone_in_trouble_costs_only_its_row(board, phone, tool, model, trouble):
    targets = [board.target("litert"), tool(phone, trouble), "litert"]
    there, mobile, here = benchmark([model], targets=targets, limit_s=8.0).rows
    assert mobile.error is not None
    assert figures(there)
    assert figures(here)


def test_an_npu_that_takes_nothing_of_a_file_costs_only_its_row(model, tmp_path):
    float_model = tiny_files.tflite(tmp_path / "float.tflite", integer=False).path
    of_ints, of_floats = benchmark([model, float_model], targets=["ethos-u55-128"]).rows
    assert of_ints.error is None
    assert "it is float; quantize it to int8 first" in str(of_floats.error)


def test_what_one_machine_raises_ends_the_others_and_is_raised_again():
    ended = []

    def work(name, tell):
        if name == "bad":
            time.sleep(0.3)
            raise ZeroDivisionError(name)
        try:
            while True:
                tell("going on", 0.5)
                time.sleep(0.01)
        finally:
            ended.append(name)

    with pytest.raises(ZeroDivisionError):
        beside_each_other(work, ["good", "bad", "other"], lambda *_: None)
    assert sorted(ended) == ["good", "other"]


def test_the_share_that_is_done_is_that_of_all_machines():
    told = []
    beside_each_other(
        lambda _name, tell: tell("done", 1.0), ["a", "b"], lambda what, share: told.append((what, share))
    )
    assert told[-1] == ("done", 1.0)


def test_ctrl_c_ends_a_command_on_several_devices_and_leaves_nothing_there(board, tmp_path):
    path = tiny_files.tflite(tmp_path / "m.tflite", integer=True).path
    command = [sys.executable, "-m", "slimedge.cli", "benchmark", str(path), "--effort", "thorough"]
    command += ["--target", board.target("litert"), "--target", "litert"]
    started = subprocess.Popen(
        command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while len(list(board.temporary.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, error = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "Traceback" not in error
    assert board.left() == []
