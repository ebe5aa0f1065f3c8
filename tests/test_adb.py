"""Android devices: the real adb talks with a device on the loopback whose commands really run (`fake_adbd.py`)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_files
from adb_server import ALONE, adb_server
from fake_adbd import FakeAdbd
from phone_root import make_root

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.runtime.devices.adb.client import Client, executable
from slimedge.runtime.devices.adb.connected import listed
from slimedge.runtime.devices.adb.device import Adb
from slimedge.runtime.devices.adb.hold import held
from slimedge.runtime.devices.adb.result import Coverage
from slimedge.runtime.protocols import Job
from slimedge.runtime.targets import Target

try:
    executable()
except UnavailableError as error:
    pytest.skip(str(error), allow_module_level=True)

TOOL = Path(__file__).with_name("fake_benchmark_model.py")
SHELL = "mksh" if shutil.which("mksh") else "sh"  # Android's is mksh
WELL_BEFORE_S = 30.0  # the minutes that these would take otherwise
LEFTOVER = "Whether /data/local/tmp/slimedge-run"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (
        adb_server(executable(), tmp_path_factory.mktemp("adb")) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(running.port))
        yield running


@contextmanager
def connected(server, root, **options):
    """A connected device; whatever was done with it, nothing of ours is left on it."""
    phone = FakeAdbd(make_root(root), **{"shell": SHELL, **options})
    server.adb("connect", phone.serial)
    try:
        yield phone
        until(lambda: not phone.running(), "processes were left running")
        assert not [path.name for path in phone.tmp.iterdir() if path.name.startswith("slimedge")]
    finally:
        phone.close()
        server.adb("disconnect", phone.serial)


@pytest.fixture
def device(server, tmp_path):
    with connected(server, tmp_path / "device") as phone:
        yield phone


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    tiny_files.tflite(path, integer=False)
    return tiny_files.artifact(path, batch=1)


@pytest.fixture
def tool(tmp_path):
    """Give a benchmark_model that behaves in a certain way."""

    def made(behaviour):
        path = tmp_path / "benchmark_model"
        quick = "" if behaviour == "measured" else "-I -S"  # without packages Python starts faster
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {quick} {TOOL} {behaviour} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return made


def until(done, otherwise, limit_s=4.0):
    end_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end_s, otherwise
        time.sleep(0.02)


def job(model, provider="cpu", **options):
    return Job(
        model, Target("litert", provider), **{"seconds": 0.2, "warm_s": 0.1, "limit_s": 20.0, **options}
    )


def test_a_measurement_has_the_figures_of_the_runs_that_were_made_there(device, model, tool):
    measured = Adb(device.serial, tool("measured")).measure(job(model))
    kept = json.loads((device.root / "durations.json").read_text())
    warm, runs = (np.array(phase) / 1e6 for phase in kept["phases"])
    assert measured.latency.count == len(runs) >= 30
    assert measured.latency.median_s == np.percentile(runs, 50, method="lower")
    assert measured.latency.p95_s == np.percentile(runs, 95, method="lower")
    assert measured.latency.mean_s == pytest.approx(runs.mean(), rel=1e-5)
    assert measured.latency.std_s == pytest.approx(runs.std(), abs=1e-6)
    assert measured.first_run_s == warm[0]
    assert measured.load_s == kept["session_us"] / 1e6
    assert measured.peak_rss_bytes == round(93.2383 * 2**20)
    assert measured.footprint_bytes is None  # this version did not tell
    assert [(use.name, use.share) for use in measured.delegates] == [("XNNPACK", 1.0)]
    assert not measured.fell_back


def test_a_measurement_tells_what_device_it_was_made_on(device, model, tool):
    measured = Adb(device.serial, tool("newer")).measure(job(model, threads=2))
    environment = measured.environment
    assert (environment.cpu, environment.system) == ("Google Tensor G3", "Android-14-aarch64")
    assert environment.isa == ("asimd", "asimdhp", "asimddp", "i8mm", "bf16")
    assert (environment.cores, environment.threads, environment.governor) == (4, 2, "sched_pixel")
    assert environment.memory_bytes == 7812345 * 1024
    assert environment.versions["android"] == "14"
    assert measured.device["model"] == "Fake 8"
    assert (measured.heat_before.temperature_c, measured.heat_before.source) == (43.25, "CPU")
    assert measured.heat_after.throttled is False
    assert measured.cpus == (2, 3)  # the two fastest, by the mask 1100
    assert (device.root / "pinned").read_text().split() == ["c", "c"]


def test_the_tool_is_told_what_the_job_says(device, model, tool):
    measured = Adb(device.serial, tool("newer")).measure(
        job(
            model,
            threads=3,
            seconds=0.25,
            warm_s=0.125,
            runs=7,
            options={"provider_options": {"gpu_precision_loss_allowed": "false"}},
        )
    )
    assert {
        *(
            "--graph=model.tflite",
            "--num_threads=3",
            "--use_xnnpack=true",
            "--warmup_min_secs=0.125",
            "--num_runs=7",
        ),
        *("--min_secs=0.25", "--enable_op_profiling=false", "--gpu_precision_loss_allowed=false"),
    } <= set(measured.command)


def test_files_of_one_reservation_take_turns_in_one_folder(device, model, tool):
    with Adb(None, tool("newer")).reserved() as phone:
        assert phone.serial == device.serial  # the only one that is connected
        assert phone.measure(job(model)).latency.count == phone.measure(job(model)).latency.count == 50
        assert len(list(device.tmp.iterdir())) == 1
    assert sum("mktemp" in command for command in device.commands) == 1


@pytest.mark.parametrize("shell", ["sh", "mksh"])
def test_the_scripts_run_in_the_shells_that_there_are(server, tmp_path, model, tool, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    with connected(server, tmp_path / "device", shell=shell) as phone:
        assert Adb(phone.serial, tool("newer")).measure(job(model)).cpus == (3,)
        with (
            Adb(phone.serial, tool("hangs")).reserved() as held_one,
            pytest.raises(RunError, match=r"within 0\.7 s"),
        ):
            held_one.measure(job(model, limit_s=0.7))


def test_a_delegate_that_took_all_is_told(device, model, tool):
    measured = Adb(device.serial, tool("newer")).measure(job(model, "gpu"))
    assert [(use.name, use.coverage) for use in measured.delegates] == [("GPU", Coverage.ALL)]
    assert not measured.fell_back
    assert measured.cpus is None  # the driver's threads are left alone
    assert "--require_full_delegation=true" in measured.command


def test_a_delegate_that_took_a_part_is_refused_unless_that_is_allowed(device, model, tool):
    phone = Adb(device.serial, tool("partial"))
    with pytest.raises(
        UnavailableError, match=r"does not take all of tiny.tflite \(9 of 12 nodes\); --allow-fallback"
    ):
        phone.measure(job(model, "gpu"))
    measured = phone.measure(job(model, "gpu", options={"allow_fallback": True}))
    assert measured.fell_back
    assert [(use.name, use.partitions, use.share) for use in measured.delegates] == [("GPU", 3, 0.75)]


@pytest.mark.parametrize(
    ("behaviour", "provider", "kind", "message"),
    [
        ("no_gpu", "gpu", InputError, "does not know --use_gpu"),
        ("ancient", "cpu", InputError, "does not know --min_secs"),
        ("newer", "nnapi", UnavailableError, "does not tell what NNAPI took"),
        ("crashes", "cpu", RunError, "was ended by SIGSEGV while it ran tiny.tflite"),
        ("fails", "cpu", RunError, "exit status 1: Failed to load model model.tflite"),
        ("garbage", "cpu", RunError, "did not print what LiteRT's prints"),
        ("full", "cpu", RunError, "has no room in /data/local/tmp"),
    ],
)
def test_a_tool_that_misbehaves_is_told_in_a_sentence(
    device, model, tool, behaviour, provider, kind, message
):
    with pytest.raises(kind, match=message) as caught:
        Adb(device.serial, tool(behaviour)).measure(job(model, provider))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("behaviour", ["hangs", "endless"])
def test_a_tool_that_does_not_end_is_ended(device, model, tool, behaviour):
    with Adb(device.serial, tool(behaviour)).reserved() as phone:
        start_s = time.monotonic()
        with pytest.raises(RunError, match=r"tiny.tflite was not done on the device \S+ within 0.7 s\.$"):
            phone.measure(job(model, limit_s=0.7))
        assert time.monotonic() - start_s < WELL_BEFORE_S


def test_a_binary_for_another_processor_is_told(device, model, tmp_path):
    path = tmp_path / "benchmark_model"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(44))
    with pytest.raises(
        InputError, match=r"was built for x86_64, but the device \S+ runs arm64-v8a, armeabi-v7a"
    ):
        Adb(device.serial, str(path)).measure(job(model))


def test_a_binary_that_does_not_start_is_told(device, model, tmp_path):
    path = tmp_path / "benchmark_model"
    path.write_text("#!/no/such/loader\n")
    with pytest.raises(InputError, match="cannot run this benchmark_model"):
        Adb(device.serial, str(path)).measure(job(model))


def test_a_device_that_drops_off_is_told_and_cleans_itself(device, model, tool):
    def drop():
        until(lambda: (list(device.tmp.glob("*/running")) or [None])[0], "the tool never ran")
        device.drop()

    threading.Thread(target=drop, daemon=True).start()
    with pytest.raises(RunError, match=f"dropped off while it ran tiny.tflite; connect it again. {LEFTOVER}"):
        Adb(device.serial, tool("hangs")).measure(job(model))


def test_a_device_that_stops_answering_costs_no_more_than_its_time(device, model, tool, monkeypatch):
    monkeypatch.setattr("slimedge.runtime.devices.adb.hold.LEAVE_S", 1.0)

    def freeze():
        until(lambda: (list(device.tmp.glob("*/running")) or [None])[0], "the tool never ran")
        device.freeze()

    threading.Thread(target=freeze, daemon=True).start()
    start_s = time.monotonic()
    with (
        pytest.raises(RunError, match=f"was not done on the device .* {LEFTOVER}"),
        Adb(device.serial, tool("hangs")).reserved() as phone,
    ):
        phone.measure(job(model, limit_s=1.0))
    assert time.monotonic() - start_s < WELL_BEFORE_S
    device.drop()


def test_a_device_that_never_answers_is_told(device, model, tool):
    device.freeze()
    start_s = time.monotonic()
    with pytest.raises(RunError, match="did not answer 'adb shell' within"):
        Adb(device.serial, tool("newer")).measure(job(model, limit_s=0.7))
    assert time.monotonic() - start_s < WELL_BEFORE_S


def test_a_full_disk_is_told(device, model, tool):
    device.room_bytes = 10
    with pytest.raises(
        RunError, match="has no room in /data/local/tmp for benchmark_model; remove something there"
    ):
        Adb(device.serial, tool("newer")).measure(job(model))


def test_a_disk_too_full_for_a_folder_is_told(device, model, tool):
    (device.root / "bin/mktemp").unlink(missing_ok=True)
    (device.root / "bin/mktemp").write_text("#!/bin/sh\necho 'mktemp: No space left on device' >&2\nexit 1\n")
    (device.root / "bin/mktemp").chmod(0o755)
    with pytest.raises(UnavailableError, match="has no room in /data/local/tmp"):
        Adb(device.serial, tool("newer")).measure(job(model))


def without_flock(device):
    """Make it an Android that forbids locks."""
    flock = device.root / "bin/flock"
    flock.unlink(missing_ok=True)
    flock.write_text("#!/bin/sh\necho 'flock: not permitted' >&2\nexit 1\n")
    flock.chmod(0o755)


def test_a_second_command_of_this_machine_is_turned_away(device, model, tool):
    without_flock(device)
    phone = Adb(device.serial, tool("newer"))
    with phone.reserved(), pytest.raises(UnavailableError, match="another command measures on the device"):
        phone.measure(job(model))
    assert phone.measure(job(model)).latency.count == 50


def test_a_second_command_of_another_machine_is_turned_away(device, model, tool):
    with held(Client.found(device.serial)), pytest.raises(UnavailableError, match="another command measures"):
        Adb(device.serial, tool("newer")).measure(job(model))


def test_a_lock_of_a_dead_command_blocks_nobody(device, model, tool):
    def measured_beside_a_dead_one():
        with held(Client.found(device.serial)) as hold:
            hold.process.kill()
            hold.process.wait()
            until(lambda: not list(device.tmp.iterdir()), "the device did not clean itself")
            assert Adb(device.serial, tool("newer")).measure(job(model)).latency.count == 50

    with pytest.raises(RunError, match="stopped answering"):
        measured_beside_a_dead_one()


def test_what_a_switched_off_device_kept_is_removed_next_time(device, model, tool):
    (device.tmp / "slimedge-run.AbCdEf").mkdir()
    (device.tmp / "slimedge-run.AbCdEf/model.tflite").write_bytes(b"old")
    (device.tmp / "holiday.jpg").write_bytes(b"the user's own")
    Adb(device.serial, tool("newer")).measure(job(model))
    assert [path.name for path in device.tmp.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_where_the_command_is_ended(device, model, tool, number):
    program = f"""
from pathlib import Path
from slimedge.artifact import Artifact, Format
from slimedge.runtime.devices.adb.device import Adb
from slimedge.runtime.protocols import Job
from slimedge.runtime.targets import Target
artifact = Artifact(Path({str(model.path)!r}), Format.TFLITE, "", (), ())
Adb({device.serial!r}, {tool("hangs")!r}).measure(Job(artifact, Target("litert")))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as command:
        until(lambda: list(device.tmp.glob("*/running")), "the tool never ran", limit_s=15)
        os.killpg(command.pid, number)  # as a terminal does, to the whole group
        _, said = command.communicate(timeout=10)
    assert LEFTOVER not in said  # that it was removed was seen
    until(lambda: not list(device.tmp.iterdir()), "a folder was left")


def test_devices_are_listed_and_one_of_several_has_to_be_named(server, device, model, tool, tmp_path):
    assert [(row.name, row.device, row.reason) for row in listed()] == [
        (f"adb://{device.serial}/litert", "Fake 8", None)
    ]
    with connected(server, tmp_path / "other") as other:
        with pytest.raises(InputError, match="adb sees 2 devices and none was named; name one of"):
            Adb(None, tool("newer")).measure(job(model))
        assert Adb(other.serial, tool("newer")).measure(job(model)).latency.count == 50


def test_a_device_that_is_not_there_is_told(device, model, tool):
    with pytest.raises(UnavailableError, match=f"emulator-1 is not connected; adb sees {device.serial}"):
        Adb("emulator-1", tool("newer")).measure(job(model))


def test_a_phone_whose_prompt_was_not_accepted_is_told(server, model, tool, tmp_path):
    with connected(server, tmp_path / "device", authorized=False) as phone:
        until(lambda: "unauthorized" in server.adb("devices"), "adb did not find out")
        (row,) = listed()
        assert "is unauthorized; accept the prompt 'Allow USB debugging?' on the phone" in row.reason
        with pytest.raises(UnavailableError, match="accept the prompt"):
            Adb(phone.serial, tool("newer")).measure(job(model))


def test_no_device_is_told_with_what_to_do(server, model, tool):
    (row,) = listed()
    assert row.reason.startswith("adb sees no device; connect one by USB with 'USB debugging' on")
    with pytest.raises(UnavailableError, match="adb sees no device"):
        Adb(None, tool("newer")).measure(job(model))


def test_an_android_too_old_to_tell_an_exit_status_is_told(server, model, tool, tmp_path):
    with (
        connected(server, tmp_path / "device", features="cmd") as phone,
        pytest.raises(UnavailableError, match="runs an Android before 7"),
    ):
        Adb(phone.serial, tool("newer")).measure(job(model))


def test_an_android_without_locks_is_measured_and_nothing_of_others_is_removed(device, model, tool):
    other = device.tmp / "slimedge-run.AbCdEf"
    other.mkdir()
    without_flock(device)
    assert Adb(device.serial, tool("newer")).measure(job(model)).latency.count == 50
    other.rmdir()


def test_more_threads_than_the_device_has_are_refused(device, model, tool):
    with pytest.raises(InputError, match=r"threads is 5, but the device \S+ has 1 to 4"):
        Adb(device.serial, tool("newer")).measure(job(model, threads=5))


def test_what_the_tool_cannot_do_is_refused_before_the_device_is_touched(device, model, tool, tmp_path):
    phone = Adb(device.serial, tool("newer"))
    wrong = [
        (job(tiny_files.artifact(tmp_path / "model.onnx")), "runs .tflite and was given model.onnx"),
        (job(model, "cuda"), "'cuda' is no provider of an Android device; it has cpu, gpu, nnapi"),
        (job(model, inputs=tmp_path / "data.npz"), "runs on random numbers"),
        (
            job(replace(model, inputs=tiny_files.artifact(tmp_path / "a.tflite").inputs), batch=8),
            "with a fixed batch",
        ),
        (
            job(model, options={"provider_options": {"num_runs": "1"}}),
            "--num_runs of benchmark_model is set by slimedge",
        ),
    ]
    for given, message in wrong:
        with pytest.raises(InputError, match=message):
            phone.measure(given)
    assert device.commands == []


def test_a_server_that_had_to_be_started_and_sees_no_device_is_ended(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, value in {"ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(tmp_path), **ALONE}.items():
        monkeypatch.setenv(name, value)
    assert "adb sees no device" in listed()[0].reason
    until(lambda: not answers(port), "adb's server still runs")


def answers(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
