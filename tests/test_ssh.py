"""A board over SSH: a real sshd on loopback, whose sessions have a Python and a temporary folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import device_trouble
import numpy as np
import psutil
import pytest
import ssh_server
import tiny_files

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import latency
from slimedge.benchmarks.benchmarking import benchmark
from slimedge.benchmarks.comparing import compare
from slimedge.benchmarks.predicting import predict
from slimedge.data import Data
from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.runtime.devices.naming import device
from slimedge.runtime.targets import parse_target

pytestmark = pytest.mark.skipif(
    ssh_server.SSHD is None or ssh_server.SSH is None,
    reason="needs sshd and ssh: apt-get install openssh-server openssh-client",
)

SHORT = replace(latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, turn_s=0.005, warm_s=0.05)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with ssh_server.board(tmp_path_factory.mktemp("board")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Whatever a test does, the board is as it was."""
    yield
    if "board" in request.fixturenames:
        assert request.getfixturevalue("board").left() == []


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(latency, "SETTINGS", {"default": SHORT})


@pytest.fixture
def files(tmp_path):
    return [
        tiny_files.float_onnx(tmp_path / "m.onnx").path,
        tiny_files.tflite(tmp_path / "m.tflite", integer=False).path,
    ]


def by_target(found):
    return {(row.model, str(row.target)): row for row in found.rows}


def failure(target, **settings):
    """The error with which a device refuses to be measured."""
    with (
        pytest.raises((UnavailableError, RunError, InputError)) as caught,
        device(parse_target(target).device).reserved() as ready,
        ready.start("litert", limit_s=30.0) as agent,
    ):
        agent.ask("prepare", threads=1)
    return str(caught.value)


# What works


def test_files_are_timed_on_a_board_and_here_in_one_command(board, files, hurried):
    found = by_target(benchmark(files, targets=[board.target(), "litert", "ort"]))

    assert [key[0] for key in found] == ["m.onnx", "m.onnx", "m.tflite", "m.tflite"]
    for (_, target), row in found.items():
        assert row.error is None
        assert row.latency_s.p50 > 0
        assert row.target.device.startswith("ssh://") == ("ssh" in target)
    there = found["m.onnx", str(replace(parse_target(board.target()), backend="ort"))]
    assert there.environment.versions["onnxruntime"]
    assert there.environment.cpu


def test_a_board_answers_what_this_machine_answers(board, files):
    examples = tiny_files.examples(40)
    data = Data.load(examples)
    for path in files:
        artifact = read_artifact(path)
        place = parse_target(board.target("ort" if path.suffix == ".onnx" else "litert"))
        with device(place.device).reserved() as ready:
            there = predict(artifact, place, data, inputs=artifact.inputs, device=ready)
        here = predict(artifact, parse_target(place.backend), data, inputs=artifact.inputs)
        for ours, theirs in zip(here.outputs, there.outputs, strict=True):
            assert np.array_equal(ours, theirs)
        assert (there.integer_ops, there.total_ops) == (here.integer_ops, here.total_ops)


def test_a_board_tells_where_the_time_goes(board, files, hurried):
    there = benchmark(files, targets=[board.target()], profile=True).rows
    here = benchmark(files, profile=True).rows

    for ours, theirs in zip(here, there, strict=True):
        assert theirs.error is None
        assert not [note for note in theirs.notes if "could not be told" in note]
        assert [op.name for op in theirs.profile.ops] == [op.name for op in ours.profile.ops]
        assert theirs.profile.runs >= 5


def test_models_are_compared_on_a_board(board, hurried, tmp_path):
    inputs = tiny_files.examples(60)
    classes = np.argmax(tiny_files.answers(**inputs)["zeta"], axis=1)
    paths = [
        tiny_files.tflite(tmp_path / f"{name}.tflite", integer=name == "int8").path
        for name in ("float", "int8")
    ]
    found = compare(paths[0], [paths[1]], Data.load((inputs, {"zeta": classes})), targets=[board.target()])
    assert found.baseline.accuracy.value == 1.0
    assert found.variants[0].agreement.n == 60
    assert found.variants[0].speedup.low > 0
    assert found.environment.versions["ai-edge-litert"]


def test_models_on_two_devices_are_not_compared(board, files):
    with pytest.raises(InputError, match="compare models on one device"):
        compare(files[0], [files[1]], targets=[board.target("ort"), "litert"])


def test_a_file_goes_over_once_whatever_its_size(board, files, tmp_path, monkeypatch):
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(2_500_000))
    with device(parse_target(board.target()).device).reserved() as ready:
        path = ready._depot.carry(large)
        assert Path(path).read_bytes() == large.read_bytes()
        monkeypatch.setattr(ready._depot, "_ask_plainly", lambda do, **_: pytest.fail(f"it asked to {do}"))
        assert ready._depot.carry(large) == path
        monkeypatch.undo()


def test_what_a_login_prints_is_no_answer(board, files, hurried):
    noisy = board.script(
        "noisy", f'echo "Welcome! {{\\"ok\\": true}}"; printf "no newline"; exec {sys.executable} "$@"'
    )
    (row,) = benchmark(files[1:], targets=[board.target("litert", noisy)]).rows
    assert row.error is None


# What does not


def test_a_runtime_that_hangs_is_ended_and_costs_only_its_row(board, files, hurried, tmp_path):
    python = board.script(
        "hanging", device_trouble.runtime(tmp_path / "r", "ai_edge_litert.interpreter", device_trouble.HANGS)
    )
    found = benchmark(files, targets=[board.target(python=python)], limit_s=2.0)
    of_onnx, of_tflite = found.rows
    assert of_onnx.error is None
    assert "litert was not done loading" in str(of_tflite.error)
    assert "after 2 s and was ended" in str(of_tflite.error)


def test_a_runtime_that_dies_costs_only_its_row(board, files, hurried, tmp_path):
    python = board.script(
        "dying", device_trouble.runtime(tmp_path / "r", "ai_edge_litert.interpreter", device_trouble.DIES)
    )
    of_onnx, of_tflite = benchmark(files, targets=[board.target(python=python)]).rows
    assert of_onnx.error is None
    assert "died of SIGSEGV in native code while loading" in str(of_tflite.error)


def test_another_version_of_the_runtime_is_named(board, files, hurried, tmp_path):
    python = board.script(
        "old", device_trouble.runtime(tmp_path / "r", "onnxruntime", device_trouble.OLD, "1.10.0")
    )
    of_onnx, of_tflite = benchmark(files, targets=[board.target(python=python)]).rows
    assert of_tflite.error is None
    assert "max supported IR version: 8" in str(of_onnx.error)
    assert "it has onnxruntime 1.10.0 (here " in str(of_onnx.error)


def test_a_board_that_drops_off_costs_only_its_rows(board, files, hurried):
    """The server's process of the connection is killed while files are measured, as when power fails."""

    def drop():
        end = time.monotonic() + 30
        while len(list(board.temporary.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"].startswith("sshd") and "notty" in " ".join(process.info["cmdline"] or []):
                process.kill()

    killer = threading.Thread(target=drop)
    killer.start()
    found = by_target(benchmark(files, targets=[board.target(), "litert", "ort"]))
    killer.join()
    there = [row for row in found.values() if row.target.device != "local"]
    here = [row for row in found.values() if row.target.device == "local"]
    assert len(there) == len(here) == 2
    assert [str(row.error) for row in there if "connection was lost" not in str(row.error)] == []
    assert all(row.error is None for row in here)


def test_a_full_disk_is_one_sentence(board, tmp_path, hurried):
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", board.temporary], check=False
    ).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        big = tiny_files.float_onnx(tmp_path / "big.onnx").path
        big.write_bytes(_padded(big))
        (row,) = benchmark([big], targets=[board.target("ort")]).rows
        assert "No space left on device" in str(row.error)
        assert board.left() == []
        filler = board.temporary / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}"], stderr=subprocess.DEVNULL, check=False)
        assert "have no room" in failure(board.target())
        filler.unlink()
    finally:
        board.left()
        subprocess.run(["umount", board.temporary], check=True)


def _padded(path):
    """The same model with a megabyte of documentation."""
    import onnx

    model = onnx.load(path)
    model.doc_string = "padding " * 130_000
    return model.SerializeToString()


def test_two_commands_do_not_measure_on_one_board(board, files, hurried):
    with device(parse_target(board.target()).device).reserved():
        (row,) = benchmark(files[:1], targets=[board.target("ort")]).rows
    assert "another slimedge command measures there" in str(row.error)
    (row,) = benchmark(files[:1], targets=[board.target("ort")]).rows
    assert row.error is None


def test_an_answer_that_is_damaged_is_not_believed(board):
    damaged = board.script("damaged", "printf '\\036{\"ok\": tr\\n'; sleep 1")
    assert "gave a damaged answer" in failure(board.target(python=damaged))


def test_a_python_that_prints_without_end_fills_no_memory(board, monkeypatch):
    from slimedge.runtime.devices import ssh

    monkeypatch.setattr(ssh, "HOLD_LIMIT_S", 1.0)
    endless = board.script("endless", 'case "$1" in -c) exit 0;; esac; exec head -c 300000000 /dev/zero')
    before = psutil.Process().memory_info().rss
    assert failure(board.target(python=endless))
    assert psutil.Process().memory_info().rss - before < 100e6


# How it is reached


def test_a_host_that_is_not_known_yet_is_told_with_what_to_do(board):
    known = board.folder / "known_hosts"
    kept = known.read_text()
    known.write_text("")
    try:
        assert "its host key is not known yet; connect once by hand" in failure(board.target())
    finally:
        known.write_text(kept)


def test_a_host_key_that_changed_is_told_with_what_to_do(board):
    known = board.folder / "known_hosts"
    kept = known.read_text()
    other = (board.folder / "key.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{board.port} {other[0]} {other[1]}\n")
    try:
        message = failure(board.target())
    finally:
        known.write_text(kept)
    assert "make sure that it is the same device" in message
    assert f"ssh-keygen -R '[127.0.0.1]:{board.port}'" in message


def test_a_login_that_is_refused_is_told_with_what_to_do(board):
    allowed = board.folder / "key.pub"
    kept = allowed.read_text()
    allowed.write_text("")
    try:
        assert "ssh-copy-id" in failure(board.target())
    finally:
        allowed.write_text(kept)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ssh://127.0.0.1:1/litert", "nothing listens for SSH there"),
        ("ssh://no-such-host.invalid/litert", "there is no host of that name"),
    ],
)
def test_a_host_that_cannot_be_reached_is_told_with_what_to_do(board, target, expected):
    assert expected in failure(target)


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("/nowhere/python3", "there is no /nowhere/python3 there"),
        ("without-numpy", "has no numpy; `pip install numpy` there"),
    ],
)
def test_a_board_without_what_is_needed_says_what_to_install(board, python, expected):
    if python == "without-numpy":
        python = board.script(python, f'exec {sys.executable} -S "$@"')
    assert expected in failure(board.target(python=python))


def test_a_board_without_the_runtime_says_what_to_install(board, tmp_path):
    packages = Path(np.__file__).parent.parent
    for name in ("numpy", "numpy.libs"):
        (tmp_path / name).symlink_to(packages / name)
    numpy_only = board.script("numpy_only", f'PYTHONPATH={tmp_path} exec {sys.executable} -S "$@"')
    message = failure(board.target(python=numpy_only))
    assert "ai-edge-litert is not installed; pip install ai-edge-litert" in message
    assert "on " in message
