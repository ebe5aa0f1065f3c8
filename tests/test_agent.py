from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_backend
import numpy as np
import psutil
import pytest

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.runtime import agent as agent_file
from slimedge.runtime import sensors
from slimedge.runtime.agent import Agent
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.devices import ssh
from slimedge.runtime.facts import cores, measuring_cpus

FAKE = str(Path(fake_backend.__file__).resolve())
COMMAND = [sys.executable, str(Path(agent_file.__file__).resolve()), FAKE]
LOAD = {"format": "onnx", "threads": 1, "batch": 1, "seed": 0}


class Clock:
    """A clock that a run moves on by the next of its durations, in nanoseconds."""

    def __init__(self, *durations):
        self.now = 0
        self.durations = list(durations)

    def __call__(self):
        return self.now

    def run(self):
        self.now += self.durations.pop(0) if len(self.durations) > 1 else self.durations[0]


@pytest.fixture(autouse=True)
def no_counter_of_energy(monkeypatch):
    monkeypatch.setattr(sensors, "energy", dict)


def timing(*durations):
    """An agent whose model takes exactly so long."""
    clock = Clock(*durations)
    agent = Agent(fake_backend.BACKEND, clock)
    agent._run = clock.run
    return agent, clock


@pytest.fixture
def conversation():
    """Start agents of the fake backend; they end with the test."""
    started = []

    def start(limit_s=30.0):
        process = AgentProcess(COMMAND, name="fake", limit_s=limit_s)
        process.__enter__()
        started.append(process)
        return process

    yield start
    for process in started:
        process.__exit__(None, None, None)


def has_ended(pid, within_s=30.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


# What is timed


def test_timing_goes_on_until_the_time_is_up():
    agent, _ = timing(1_000_000)
    answer = agent.answer({"do": "time", "settle_s": 0, "seconds": 0.01, "runs": 1})
    assert answer == {"ok": True, "samples_ns": [1_000_000] * 10, "energy_j": None}


def test_timing_goes_on_until_there_are_enough_runs():
    agent, _ = timing(1_000_000)
    assert len(agent.answer({"do": "time", "settle_s": 0, "seconds": 0, "runs": 25})["samples_ns"]) == 25


def test_every_sample_is_kept_as_it_was_but_for_the_settling_ones():
    agent, _ = timing(7, 9000, 3, 500, 4)
    assert agent.answer({"do": "time", "settle_s": 0, "seconds": 0, "runs": 3})["samples_ns"] == [
        9000,
        3,
        500,
    ]


def test_settling_lasts_as_long_as_it_is_told():
    agent, clock = timing(1_000_000)
    agent.answer({"do": "time", "settle_s": 0.005, "seconds": 0, "runs": 1})
    assert clock.now == 6_000_000


def test_a_slowed_run_takes_longer_by_its_share():
    agent, clock = timing(1_000_000)
    ticking = agent._clock

    def waiting():  # the busy wait must see the time go by
        clock.now += 10
        return ticking()

    agent._clock = waiting
    agent._run = agent._stretched(agent._run, 0.10)
    (sample,) = agent._sample(0, 1, agent._run)
    assert sample == pytest.approx(1_100_000, rel=1e-4)


def test_warming_up_ends_when_three_windows_agree():
    agent, _ = timing(*[40_000_000] * 2, *[20_000_000] * 2, *[10_000_000] * 9)
    request = {"do": "warm", "window_s": 0.015, "warm_limit_s": 10, "tolerance": 0.05}
    assert agent.answer(request) == {"ok": True, "runs": 10, "seconds": 0.18, "stable": True, "run_s": 0.01}


def test_warming_up_gives_up_when_its_time_is_up_and_says_so():
    agent, _ = timing(*[1_000_000 * 2**n for n in range(20)])
    answer = agent.answer({"do": "warm", "window_s": 0.0, "warm_limit_s": 0.1, "tolerance": 0.05})
    assert (answer["stable"], answer["runs"]) == (False, 7)


# What goes in and out


def test_predictions_come_back_by_name(conversation, tmp_path):
    agent = conversation()
    agent.ask("load", model="good.onnx", **LOAD)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(tmp_path / "in.npz", x=x)
    assert (
        agent.ask("predict", inputs=str(tmp_path / "in.npz"), outputs=str(tmp_path / "out.npz"))["rows"] == 3
    )
    assert np.load(tmp_path / "out.npz")["y"].tolist() == (2 * x).tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((1, 2))}, "input 'x' is missing; the model takes 'x' and was given z."),
        ({"x": np.zeros((1, 3))}, r"input 'x' takes the shape \('batch', 2\) and was given \(1, 3\)."),
        ({"x": np.zeros(2)}, "takes the shape"),
        ({"x": np.zeros((0, 2))}, "takes the shape"),
    ],
)
def test_inputs_that_do_not_fit_are_told_by_name_and_shape(conversation, tmp_path, arrays, message):
    agent = conversation()
    agent.ask("load", model="good.onnx", **LOAD)
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(InputError, match=message):
        agent.ask("predict", inputs=str(tmp_path / "in.npz"), outputs=str(tmp_path / "out.npz"))


def test_given_inputs_are_what_is_timed(tmp_path):
    agent = Agent(fake_backend.BACKEND)
    np.savez(tmp_path / "in.npz", x=np.float32([[1, 2], [3, 4], [5, 6]]))
    agent.do_load({"model": "good.onnx", "inputs": str(tmp_path / "in.npz"), **LOAD, "batch": 2})
    assert agent._run()["y"].tolist() == [[2, 4], [6, 8]]


def test_without_inputs_seeded_random_numbers_are_timed():
    fed = []
    for _ in range(2):
        agent = Agent(fake_backend.BACKEND)
        agent.do_load({"model": "good.onnx", **LOAD, "batch": 4})
        fed.append(agent._run()["y"])
    assert fed[0].shape == (4, 2)
    assert fed[0].tolist() == fed[1].tolist()


# How it ends


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        ("segfault", RunError, "fake died of SIGSEGV in native code while loading segfault.onnx; "),
        ("abort", RunError, "fake died of SIGABRT in native code while loading abort.onnx; "),
        (
            "killed",
            RunError,
            r"fake was killed \(SIGKILL\) while loading killed.onnx, most likely for want of memory",
        ),
        ("leaves", RunError, "fake ended with status 7 while loading leaves.onnx: this is the end."),
        ("memory", RunError, "fake failed while loading memory.onnx: it ran out of memory."),
        ("breaks", RunError, "fake failed while loading breaks.onnx: something odd."),
        ("refused", InputError, "refused.onnx is no good; give another."),
        ("absent", UnavailableError, "there is no such thing here; get it."),
        ("run_segfault", RunError, "SIGSEGV in native code while loading run_segfault.onnx"),
    ],
)
def test_a_model_that_fails_is_one_sentence(conversation, file, error, message):
    with pytest.raises(error, match=message) as caught:
        conversation().ask("load", model=f"/some/where/{file}.onnx", **LOAD)
    assert "\n" not in str(caught.value)


def test_an_agent_that_died_says_so_again(conversation):
    agent = conversation()
    with pytest.raises(RunError, match="SIGSEGV"):
        agent.ask("load", model="segfault.onnx", **LOAD)
    with pytest.raises(RunError, match="SIGSEGV"):
        agent.ask("memory")


def test_what_a_runtime_prints_does_not_mix_with_the_answers(conversation):
    assert conversation().ask("load", model="chatty.onnx", **LOAD)["provider"] == "cpu"


def test_endless_native_code_is_ended_in_time(conversation):
    agent = conversation(limit_s=0.5)
    begin = time.monotonic()
    with pytest.raises(RunError, match=r"fake was not done loading endless.onnx after 0.5 s and was ended"):
        agent.ask("load", model="endless.onnx", **LOAD)
    assert time.monotonic() - begin < 30
    assert has_ended(agent.pid)


def test_an_agent_that_does_not_end_itself_in_time_is_ended(conversation, monkeypatch):
    monkeypatch.setattr("slimedge.runtime.agent_process._GRACE_S", 0.2)
    agent = conversation(limit_s=0.3)
    agent.send("load", model="endless.onnx", **LOAD, limit_s=1000)
    with pytest.raises(RunError, match="was not done"):
        agent.receive()
    agent.__exit__(None, None, None)
    assert has_ended(agent.pid)


def test_a_command_that_is_not_there_is_told():
    with (
        pytest.raises(UnavailableError, match="could not start /no/such/python"),
        AgentProcess(["/no/such/python"], name="fake", limit_s=1),
    ):
        pass


def test_leaving_the_block_ends_a_busy_agent():
    agent = AgentProcess(COMMAND, name="fake", limit_s=30)
    agent.__enter__()
    agent.send("load", model="endless.onnx", **LOAD)
    agent.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert has_ended(agent.pid, 0.1)


PARENT = """
import sys
from slimedge.runtime.agent_process import AgentProcess
with AgentProcess(sys.argv[1:], name="fake", limit_s=60) as agent:
    agent.ask("load", model="good.onnx", format="onnx", threads=1, batch=1, seed=0)
    print(agent.pid, flush=True)
    agent.ask("time", settle_s=0, seconds=60, runs=1)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_agent_outlives_its_parent(how):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *COMMAND], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.send_signal(how)
    parent.wait(10)
    parent.stdout.close()
    assert has_ended(pid)


def test_a_folder_of_the_same_names_does_not_get_in_the_way(tmp_path):
    """Neither the agent's own folder nor the working directory shadows what a runtime imports."""
    (tmp_path / "json.py").write_text("raise RuntimeError('shadowed')\n")
    probe = tmp_path / "probe.py"
    probe.write_text(
        Path(FAKE)
        .read_text()
        .replace("def prepare(self):\n        pass", "def prepare(self):\n        import targets")
    )
    with (
        pytest.raises(UnavailableError, match="No module named 'targets'"),
        AgentProcess([*COMMAND[:2], str(probe)], name="fake", limit_s=30) as agent,
    ):
        agent.ask("prepare", threads=1)


def test_a_backends_file_may_be_called_as_ours_are_and_imports_what_lies_beside_it(tmp_path):
    (tmp_path / "sensors.py").write_text("PROVIDERS = {'beside': None}\n")
    backend = tmp_path / "facts.py"
    backend.write_text(
        Path(FAKE)
        .read_text()
        .replace('return {"cpu": None}', "from . import sensors; return sensors.PROVIDERS")
    )
    with AgentProcess([*COMMAND[:2], str(backend)], name="fake", limit_s=30) as agent:
        told = agent.ask("prepare", threads=1, devices=True)
        assert told["providers"] == {"beside": None}
        assert told["facts"]["cores"] == cores()
        assert agent.ask("state").keys() >= {"temperature_c", "throttled"}


def test_memory_is_that_of_the_agent_and_not_of_who_started_it(conversation):
    ballast = bytearray(os.urandom(1)) * (300 << 20)
    agent = conversation()
    agent.ask("load", model="good.onnx", **LOAD)
    answer = agent.ask("memory")
    assert 0 < answer["peak_rss_bytes"] < (200 << 20) < len(ballast)
    assert answer["model_bytes"] is None or 0 <= answer["model_bytes"] < answer["peak_rss_bytes"]


def test_a_measured_process_is_pinned_to_its_processors(conversation):
    agent = conversation()
    agent.ask("load", model="good.onnx", pin=True, **LOAD)
    assert psutil.Process(agent.pid).cpu_affinity() == measuring_cpus(1)


@pytest.mark.parametrize("threads", [0, 10_000])
def test_threads_are_as_many_as_there_are_processors_at_most(conversation, threads):
    with pytest.raises(InputError, match=f"threads is {threads}, but a process may use 1 to"):
        conversation().ask("load", model="good.onnx", **{**LOAD, "threads": threads})


BOARD_BACKENDS = [name for name in BACKENDS if name != "reference"]
TRAVELLING = sorted({path for name in BOARD_BACKENDS for path in ssh._files(name)})


@pytest.mark.parametrize("path", TRAVELLING, ids=lambda path: path.name)
def test_what_goes_to_boards_is_python_3_8_and_begins_without_any_package_but_numpy(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    at_once = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    at_once |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.level == 0}
    assert {name.partition(".")[0] for name in at_once} <= sys.stdlib_module_names | {"numpy"}
    assert [ast.unparse(node) for node in ast.walk(_at_run_time(tree)) if _is_later_than_3_8(node)] == []


@pytest.mark.parametrize("name", BOARD_BACKENDS)
def test_what_goes_to_boards_goes_with_all_that_it_imports_from_beside_it(name):
    files = ssh._files(name)
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    beside = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1]
    imported = {name for node in beside for name in ([node.module] if node.module else _names(node))}
    assert {"arrays", "facts"} <= imported <= {path.stem for path in files}


def _names(node):
    return [alias.name for alias in node.names]


def _at_run_time(tree):
    """The tree without annotations, which nothing evaluates."""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
    return tree


def _is_later_than_3_8(node):
    """Whether it is `int | None` or `list[int]`, which are types only in later versions."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in ("dict", "list", "set", "tuple", "type")
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and _is_none(node.right)


def _is_none(node):
    return isinstance(node, ast.Constant) and node.value is None
