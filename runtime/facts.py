"""What this machine is and how much of it a process may use; standard library only, so it can travel with the agent."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

# Instruction sets that decide which kernels a runtime picks, as /proc/cpuinfo spells them.
ISA_FLAGS = (
    *("sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "vfpv4", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)


def environment(threads: int, packages: tuple[str, ...] = (), root: Path = Path("/")) -> dict[str, Any]:
    """Describe machine and software with the fields of `slimedge.measurement.Environment`.

    Args:
        threads: that the runtime is given.
        packages: distributions whose versions matter; those that are not installed are left out.
        root: where `proc` and `sys` are mounted.

    Returns:
        A value that JSON can carry.
    """
    cpu, isa = _cpu(root)
    return {
        "cpu": cpu,
        "isa": isa,
        "cores": cores(root),
        "threads": threads,
        "governor": _line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": memory_bytes(root),
        "system": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "versions": versions(packages),
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Give the version of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def allowed_cpus() -> list[int]:
    """Give the processors that this process may run on; all of them where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores(root: Path = Path("/")) -> int:
    """Give min(affinity, cgroup quota) as a whole number of processors, at least 1.

    A quota is rounded down: one thread more than it allows is a thread that is throttled, and all the others wait.
    """
    quota = _quota(root)
    count = len(allowed_cpus())
    return count if quota is None else max(1, min(count, int(quota)))


def measuring_cpus(threads: int, root: Path = Path("/")) -> list[int]:
    """Choose the processors to pin a measured process to.

    The fastest come first (big before LITTLE), one hardware thread a physical core before any sibling, and high
    numbers before low ones, since processor 0 usually serves the interrupts.

    Args:
        threads: how many; no more are given than there are.
        root: where `sys` is mounted.
    """
    seen: dict[str, int] = {}
    ranked = []
    for cpu in reversed(allowed_cpus()):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}"
        capacity = _line(folder / "cpu_capacity") or _line(folder / "cpufreq/cpuinfo_max_freq") or "0"
        siblings = _line(folder / "topology/thread_siblings_list") or str(cpu)
        seen[siblings] = seen.get(siblings, -1) + 1
        ranked.append((seen[siblings], -int(capacity), -cpu))
    return [-cpu for _, _, cpu in sorted(ranked)[:threads]]


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Give the installed memory, or the lowest limit of a cgroup that this process is in."""
    limits = []
    match = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    if match:
        limits.append(int(match.group(1)) * 1024)
    for version, folder in _cgroups("memory", root):
        value = _line(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
        if value is not None and value.isdigit():
            limits.append(int(value))
    return min(limits) if limits else None


def _quota(root: Path) -> float | None:
    """Give the processors' worth of time that the tightest cgroup allows."""
    quotas = []
    for version, folder in _cgroups("cpu", root):
        if version == 1:
            parts = [_line(folder / "cpu.cfs_quota_us") or "-1", _line(folder / "cpu.cfs_period_us") or "0"]
        else:
            parts = (_line(folder / "cpu.max") or "max 0").split()
        if parts[0].isdigit() and int(parts[1]) > 0:
            quotas.append(int(parts[0]) / int(parts[1]))
    return min(quotas) if quotas else None


def _cgroups(controller: str, root: Path) -> list[tuple[int, Path]]:
    """Give the version and folder of every cgroup that limits this process, from its own up to the mount's root."""
    own = {}
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            own[name] = path  # version 2 has the empty name
    found = []
    for line in (_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        mounted_from, mount = before.split(" ")[3:5]
        if kind == "cgroup2":
            version, name = 2, ""
        elif kind == "cgroup" and controller in options.split(" ")[-1].split(","):
            version, name = 1, controller
        else:
            continue
        if name not in own:
            continue
        # In a container the path may be told from the host's root while only our own part is mounted.
        inside = own[name]
        if mounted_from != "/" and inside.startswith(mounted_from):
            inside = inside[len(mounted_from) :]
        base = root / mount.lstrip("/")
        folder = base / inside.lstrip("/")
        if ".." in inside.split("/") or not folder.is_dir():
            folder = base
        found += [
            (version, level) for level in (folder, *folder.parents) if level == base or base in level.parents
        ]
    return found


def _cpu(root: Path) -> tuple[str | None, list[str]]:
    text = _text(root / "proc/cpuinfo") or ""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or fields.get("Model") or _line(root / "proc/device-tree/model")
    return name or platform.processor() or None, [flag for flag in ISA_FLAGS if flag in flags]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _line(path: Path) -> str | None:
    text = _text(path)
    return text.strip(" \t\r\n\0") if text is not None else None
