from __future__ import annotations

import os
import platform

import numpy as np
import pytest

from slimedge.measurement import Environment
from slimedge.runtime import facts
from slimedge.runtime.jobs import environment_here

V2_MOUNT = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "32 23 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine made of files, with eight processors; call it with paths and their contents."""
    monkeypatch.setattr(facts, "allowed_cpus", lambda: list(range(8)))

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_without_a_quota_all_processors_of_the_affinity_count(machine):
    assert facts.cores(machine({})) == 8


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_the_quota_of_a_version_2_cgroup_is_rounded_down_to_whole_processors(machine, quota, expected):
    root = machine(
        {
            "proc/self/cgroup": "0::/user/job\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/user/job/cpu.max": quota + "\n",
        }
    )
    assert facts.cores(root) == expected


def test_the_tightest_quota_on_the_way_to_the_root_counts(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/user/job\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/user/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
        }
    )
    assert facts.cores(root) == 3


def test_the_quota_of_a_version_1_cgroup_counts(machine):
    root = machine(
        {
            "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n0::/\n",
            "proc/self/mountinfo": V1_MOUNTS,
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert facts.cores(root) == 4


def test_in_a_container_the_quota_is_read_where_its_own_part_is_mounted(machine):
    root = machine(
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n0::/\n",
            "proc/self/mountinfo": V1_MOUNTS.replace(
                " / /sys/fs/cgroup/cpu", " /docker/abc /sys/fs/cgroup/cpu"
            ),
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )
    assert facts.cores(root) == 1


def test_memory_is_what_is_installed_or_the_cgroups_limit(machine):
    files = {"proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n"}
    assert facts.memory_bytes(machine(files)) == 16384 * 1024
    files.update(
        {
            "proc/self/cgroup": "0::/job\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/job/memory.max": "1000000\n",
            "sys/fs/cgroup/memory.max": "max\n",
        }
    )
    assert facts.memory_bytes(machine(files)) == 1_000_000


def test_what_is_not_known_is_none(machine):
    found = facts.environment(2, ("no-such-package",), machine({}))
    assert (found["governor"], found["memory_bytes"], found["isa"]) == (None, None, [])
    assert found["versions"] == {"python": platform.python_version()}


def test_cpu_isa_and_governor_are_read_in_full(machine):
    root = machine(
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni sse4_1\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        }
    )
    found = facts.environment(1, ("numpy",), root)
    assert (found["cpu"], found["governor"], found["threads"]) == ("Some CPU", "performance", 1)
    assert found["isa"] == ["sse4_1", "avx2", "avx512_vnni"]
    assert found["versions"]["numpy"] == np.__version__


def test_an_arm_board_is_named_by_its_device_tree(machine):
    root = machine(
        {
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n",
            "proc/device-tree/model": "Some Board\0",
        }
    )
    assert facts.environment(1, (), root)["cpu"] == "Some Board"
    assert facts.environment(1, (), root)["isa"] == ["asimd", "asimddp"]


def test_processors_to_measure_on_are_fast_ones_first_and_siblings_last(machine):
    files = {}
    for cpu in range(8):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        files[f"{folder}/cpu_capacity"] = "1024" if cpu >= 4 else "400"
        files[f"{folder}/topology/thread_siblings_list"] = {4: "4-5", 5: "4-5"}.get(cpu, str(cpu))
    root = machine(files)
    assert facts.measuring_cpus(3, root) == [7, 6, 5]
    assert facts.measuring_cpus(4, root) == [7, 6, 5, 3]
    assert facts.measuring_cpus(100, root)[-1] == 4


def test_without_a_topology_high_numbers_come_first(machine):
    assert facts.measuring_cpus(2, machine({})) == [7, 6]


def test_this_machine_can_be_described():
    environment = environment_here(1, ("numpy",))
    assert isinstance(environment, Environment)
    assert 1 <= environment.cores <= len(os.sched_getaffinity(0))
    assert environment.system.startswith("Linux-")
