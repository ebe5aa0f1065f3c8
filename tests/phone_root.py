"""The folder of an Android device of software: its commands and files, as far as the shell scripts ask for them."""

from __future__ import annotations

import shutil
from pathlib import Path

# What a phone with four processors tells: the last is the fastest, and warm.
_PROPERTIES = """
[ro.product.manufacturer]: [Fake]
[ro.product.model]: [Fake 8]
[ro.board.platform]: [zuma]
[ro.soc.manufacturer]: [Google]
[ro.soc.model]: [Tensor G3]
[ro.build.version.release]: [14]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a]
""".lstrip()
_CPUINFO = """
processor\t: 0
BogoMIPS\t: 49.15
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd46
""".lstrip()
_THERMAL = """
IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=99.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=41.5, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=43.25, mType=0, mName=CPU1, mStatus=0}
\tTemperature{mValue=31.0, mType=2, mName=battery, mStatus=0}
""".lstrip()
_CPUS = ((324, 1704000), (324, 1704000), (883, 2367000), (1024, 2914000))


def make_root(root: Path) -> Path:
    """Make the folder of a device, with commands and files of Android's that the shell scripts ask for."""
    (root / "data/local/tmp").mkdir(parents=True)
    (root / "bin").mkdir()
    if shutil.which("toybox"):  # Android's own commands, where they are to be had
        for name in ("flock", "mktemp", "rm", "cat", "head", "chmod"):
            (root / "bin" / name).symlink_to(shutil.which("toybox"))
    _script(root, "getprop", f"cat <<'END'\n{_PROPERTIES}END\n")
    _script(root, "uname", "echo aarch64\n")
    _script(root, "dumpsys", f"case $3 in thermalservice) cat <<'END'\n{_THERMAL}END\n;; esac\n")
    _script(root, "taskset", f'echo "$1" >>{root}/pinned\nshift\nexec "$@"\n')
    _file(root / "proc/cpuinfo", _CPUINFO)
    _file(root / "proc/meminfo", "MemTotal:        7812345 kB\nMemFree:          123456 kB\n")
    _file(root / "proc/self/status", "Name:\tcat\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n")
    for number, (capacity, frequency) in enumerate(_CPUS):
        folder = root / f"sys/devices/system/cpu/cpu{number}"
        _file(folder / "cpu_capacity", f"{capacity}\n")
        _file(folder / "cpufreq/cpuinfo_max_freq", f"{frequency}\n")
        _file(folder / "cpufreq/scaling_max_freq", f"{frequency}\n")
        _file(folder / "cpufreq/scaling_governor", "sched_pixel\n")
    return root


def _script(root: Path, name: str, text: str) -> None:
    path = root / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
