"""What a machine's own sensors tell while it works: temperature, throttling, energy; standard library only.

Travels with the agent. What cannot be read is None, never 0.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Dict, Optional, Tuple

# Zones of a processor or of all of a chip, as drivers name them; others (battery, Wi-Fi, NVMe) say nothing about it.
_ZONES = (
    "cpu",
    "soc",
    "x86_pkg",
    "package",
    "coretemp",
    "k10temp",
    "zenpower",
    "tctl",
    "big",
    "little",
    "gpu",
)
# By how much the highest frequency that is allowed now may lie below the processor's own before it is throttled.
_THROTTLED_BELOW = 0.99

# A counter's reading in microjoules, and where it starts again at 0 (None: nowhere).
Counters = Dict[str, Tuple[int, Optional[int]]]


def temperature_c(root: Path = Path("/")) -> Optional[float]:
    """Give the highest temperature of the processor's sensors in °C.

    Args:
        root: where `sys` is mounted.
    """
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    found = [_number(zone / "temp") for zone in zones if _is_processor(_line(zone / "type"))]
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _is_processor(_line(chip / "name")):
            found += [_number(path) for path in chip.glob("temp*_input")]
    known = [value / 1000 for value in found if value is not None]
    return max(known) if known else None


def throttled(root: Path = Path("/")) -> Optional[bool]:
    """Tell whether a processor may not reach its own highest frequency now.

    The kernel lowers `scaling_max_freq` of a processor that is too hot (and firmware `bios_limit`); a Raspberry Pi's
    firmware tells by the bits of `get_throttled` (1: undervoltage, 2: frequency capped, 4: throttled, 8: soft limit).

    Args:
        root: where `sys` is mounted.
    """
    told = []
    for folder in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq")):
        most = _number(folder / "cpuinfo_max_freq")
        allowed = [_number(folder / name) for name in ("scaling_max_freq", "bios_limit")]
        known = [value for value in allowed if value is not None]
        if most and known:
            told.append(min(known) < most * _THROTTLED_BELOW)
    for path in sorted((root / "sys/devices/platform").glob("soc*/soc*firmware/get_throttled")):
        with contextlib.suppress(TypeError, ValueError):
            told.append(bool(int(_line(path) or "", 16) & 0b1111))
    return any(told) if told else None


def energy(root: Path = Path("/"), *, gpus: bool = True) -> Counters:
    """Read every counter of energy that this user may read: powercap's packages, hwmon's, and NVIDIA's GPUs.

    Args:
        root: where `sys` is mounted.
        gpus: whether to ask NVML, where it is.
    """
    found: Counters = {}
    for zone in sorted((root / "sys/class/powercap").glob("*:*")):
        # A package holds its cores, and `psys` the package: only whole packages, and what lies outside them, add up.
        if (_line(zone / "name") or "").startswith("package") and zone.name.count(":") == 1:
            _keep(found, zone / "energy_uj", _number(zone / "max_energy_range_uj"))
    if not found:
        for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
            for path in sorted(chip.glob("energy*_input")):
                label = _line(path.with_name(path.name.replace("_input", "_label"))) or ""
                if (
                    "core" not in label.lower()
                ):  # amd_energy tells of each core and of the socket that holds them
                    _keep(found, path, None)
    if gpus:
        found.update(_nvml())
    return found


def energy_between(before: Counters, after: Counters) -> Optional[float]:
    """Give the joules that went through all counters between two readings; None where there was none to read.

    Example:
        >>> energy_between({"package": (9_000_000, 10_000_000)}, {"package": (500_000, 10_000_000)})
        1.5
    """
    total = 0
    for name, (start, wraps_at) in before.items():
        if name not in after:
            return None
        spent = after[name][0] - start
        total += spent if spent >= 0 or wraps_at is None else spent + wraps_at
    return total / 1e6 if before else None


def _keep(found: Counters, path: Path, wraps_at: Optional[int]) -> None:
    value = _number(path)
    if value is not None:
        found[str(path)] = (value, wraps_at)


def _nvml() -> Counters:
    """Ask NVIDIA's driver for the millijoules of each GPU since it was loaded."""
    found: Counters = {}
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return found
    if library.nvmlInit_v2() != 0:
        return found
    count, value = ctypes.c_uint(), ctypes.c_ulonglong()
    library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        device = ctypes.c_void_p()
        known = library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0
        if known and library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value)) == 0:
            found[f"gpu{index}"] = (value.value * 1000, None)
    return found


def _is_processor(name: Optional[str]) -> bool:
    return name is not None and any(known in name.lower() for known in _ZONES)


def _number(path: Path) -> Optional[int]:
    text = _line(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _line(path: Path) -> Optional[str]:
    try:
        return path.read_text(errors="replace").strip(" \t\r\n\0")
    except OSError:
        return None
