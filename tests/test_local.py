"""This machine made smaller: fewer processors, less memory."""

from __future__ import annotations

from pathlib import Path

import fake_backend
import psutil
import pytest

from slimedge.errors import RunError
from slimedge.runtime import confinement
from slimedge.runtime.confinement import confined
from slimedge.runtime.devices import local
from slimedge.runtime.devices.local import Local
from slimedge.runtime.devices.naming import device
from slimedge.runtime.facts import measuring_cpus

LOAD = {"format": "onnx", "threads": None, "batch": 1, "seed": 0}
LIMIT = 256 << 20


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(local, "backend_file", lambda _name: Path(fake_backend.__file__).resolve())


def test_a_process_sees_as_many_processors_as_the_device_has(fake):
    with device("local?cores=1").start("fake", limit_s=30.0) as agent:
        assert agent.ask("prepare", threads=None)["facts"]["cores"] == 1
        assert psutil.Process(agent.pid).cpu_affinity() == measuring_cpus(1)


def test_a_process_that_needs_more_memory_than_the_device_has_is_ended(fake):
    with (
        pytest.raises(RunError, match="memory"),
        Local(memory_bytes=LIMIT).start("fake", limit_s=60.0) as agent,
    ):
        agent.ask("load", model=f"hungry_{2 * LIMIT}.onnx", **LOAD)


def test_a_process_that_needs_less_runs_as_ever(fake):
    with Local(memory_bytes=LIMIT).start("fake", limit_s=60.0) as agent:
        agent.ask("load", model=f"hungry_{LIMIT // 4}.onnx", **LOAD)
        assert agent.ask("memory")["peak_rss_bytes"] > LIMIT // 4


def test_without_cgroups_the_systems_own_limit_holds(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(local, "confined", lambda size: confined(size, tmp_path / "nowhere"))
    with (
        pytest.raises(RunError, match="memory"),
        Local(memory_bytes=LIMIT).start("fake", limit_s=60.0) as agent,
    ):
        agent.ask("load", model=f"hungry_{2 * LIMIT}.onnx", **LOAD)


def test_no_cgroup_stays_behind(fake):
    roots = [confinement._ROOT, confinement._ROOT / "memory"]
    before = {path for root in roots for path in root.glob("slimedge-*")}
    with Local(memory_bytes=LIMIT).start("fake", limit_s=60.0) as agent:
        agent.ask("prepare", threads=1)
    assert {path for root in roots for path in root.glob("slimedge-*")} == before


def test_without_a_limit_nothing_stands_before_the_command():
    with confined(None) as wrapper:
        assert wrapper == []


def test_the_memory_that_a_smaller_device_tells_is_its_own(fake):
    with Local(memory_bytes=LIMIT).start("fake", limit_s=60.0) as agent:
        told = agent.ask("prepare", threads=1)["facts"]["memory_bytes"]
    with confined(LIMIT) as wrapper:
        if "ulimit" in " ".join(wrapper):
            pytest.skip("no cgroup can be made here")
    assert told == LIMIT
