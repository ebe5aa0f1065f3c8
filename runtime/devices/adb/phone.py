"""What an Android device is and how warm: one script asks for all of it, and pure functions read the answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slimedge.measurement import Environment
from slimedge.runtime.devices.adb.result import Heat
from slimedge.runtime.facts import ISA_FLAGS

# Each answer stands below a line with its name. What cannot be read is "-" there or left out, and None here. The shell
# reads single lines itself, since a process for each would take a second on a slow board.
_LINE_OF = 'line_of() { line=-; if [ -r "$1" ]; then read -r line <"$1"; fi; }'

FACTS_SCRIPT = f"""
{_LINE_OF}
echo '@@props'; getprop
echo '@@cpuinfo'; cat /proc/cpuinfo
echo '@@meminfo'; head -n 3 /proc/meminfo
echo '@@status'; cat /proc/self/status
echo '@@machine'; uname -m
echo '@@cpus'
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  line_of "$cpu/cpu_capacity"; told=$line
  line_of "$cpu/cpufreq/cpuinfo_max_freq"; told="$told $line"
  line_of "$cpu/cpufreq/scaling_governor"; echo "${{cpu##*/cpu}} $told $line"
done
""".strip()

HEAT_SCRIPT = f"""
{_LINE_OF}
echo '@@thermal'; dumpsys -t 5 thermalservice
echo '@@battery'; dumpsys -t 5 battery
echo '@@zones'
for zone in /sys/class/thermal/thermal_zone*; do
  line_of "$zone/temp"; told=$line
  line_of "$zone/type"; echo "$told $line"
done
echo '@@limits'
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  line_of "$cpu/cpufreq/scaling_max_freq"; told=$line
  line_of "$cpu/cpufreq/cpuinfo_max_freq"; echo "$told $line"
done
""".strip()

# Kinds of temperatures that Android's hardware layer tells (hardware/interfaces/thermal, TemperatureType), best first.
_KINDS = {0: "CPU", 3: "SKIN", 2: "BATTERY"}
_TEMPERATURE = re.compile(r"Temperature\{mValue=(-?[\d.]+), mType=(-?\d+),")


@dataclass(frozen=True, slots=True)
class Cpu:
    """One processor.

    Attributes:
        number: that Linux gives it.
        capacity: relative to the fastest, None where it is not told.
        frequency_khz: the highest that the hardware can.
        governor: of its frequency.
    """

    number: int
    capacity: int | None
    frequency_khz: int | None
    governor: str | None


@dataclass(frozen=True, slots=True)
class Phone:
    """Facts of a device; what could not be read is None or left out.

    Attributes:
        properties: `manufacturer`, `model`, `platform`, `android`, `abi`, those that are set.
        abis: that it runs.
        cpu: name of the system on a chip.
        isa: instruction sets, as `slimedge.runtime.facts` spells them.
        cpus: processors that a command there may use, as far as they are described.
        cores: how many these are.
        memory_bytes: installed.
        machine: of the kernel, as `aarch64`.
    """

    properties: Mapping[str, str]
    abis: tuple[str, ...]
    cpu: str | None
    isa: tuple[str, ...]
    cpus: tuple[Cpu, ...]
    cores: int
    memory_bytes: int | None
    machine: str | None

    def fastest(self, threads: int) -> tuple[int, ...] | None:
        """Give the processors to pin so many threads to, the fastest; None where they cannot be told apart.

        Example:
            >>> cpus = (Cpu(0, 250, None, None), Cpu(1, 250, None, None), Cpu(2, 1024, None, None))
            >>> phone = Phone({}, (), None, (), cpus, 3, None, None)
            >>> phone.fastest(1), phone.fastest(2)
            ((2,), (1, 2))
        """
        speeds = [cpu.capacity for cpu in self.cpus]
        if None in speeds:
            speeds = [cpu.frequency_khz for cpu in self.cpus]
        ranked = sorted(
            (-speed, -cpu.number) for speed, cpu in zip(speeds, self.cpus, strict=True) if speed is not None
        )
        if len(ranked) < len(self.cpus) or threads > len(ranked):
            return None
        return tuple(sorted(-number for _, number in ranked[:threads]))

    def environment(self, threads: int, versions: Mapping[str, str]) -> Environment:
        """Give the facts in the form that all measurements have.

        Args:
            threads: of the runtime.
            versions: of the software that took part, beside Android's.
        """
        governors = sorted({cpu.governor for cpu in self.cpus if cpu.governor is not None})
        android = self.properties.get("android")
        return Environment(
            cpu=self.cpu,
            isa=self.isa,
            cores=self.cores,
            threads=threads,
            governor=", ".join(governors) or None,
            memory_bytes=self.memory_bytes,
            system="-".join(part for part in ("Android", android, self.machine) if part),
            versions={**({"android": android} if android else {}), **versions},
        )


def phone_from(text: str) -> Phone:
    """Read the answer to `FACTS_SCRIPT`."""
    answers = _answers(text)
    told = dict(re.findall(r"^\[([^\]]+)\]: \[([^\]]*)\]", answers.get("props", ""), re.MULTILINE))
    named = {
        "manufacturer": "ro.product.manufacturer",
        "model": "ro.product.model",
        "platform": "ro.board.platform",
        "android": "ro.build.version.release",
        "abi": "ro.product.cpu.abi",
    }
    info = answers.get("cpuinfo", "")
    features = set((_field(info, "Features") or _field(info, "flags") or "").split())
    memory = re.search(r"^MemTotal:\s+(\d+) kB", answers.get("meminfo", ""), re.MULTILINE)
    allowed = _numbers(_field(answers.get("status", ""), "Cpus_allowed_list"))
    cpus = tuple(
        Cpu(int(number), _whole(capacity), _whole(frequency), None if governor == "-" else governor)
        for number, capacity, frequency, governor in re.findall(
            r"^(\d+) (\S+) (\S+) (\S+)$", answers.get("cpus", ""), re.MULTILINE
        )
        if allowed is None or int(number) in allowed
    )
    chip = " ".join(told[key] for key in ("ro.soc.manufacturer", "ro.soc.model") if told.get(key))
    abis = told.get("ro.product.cpu.abilist") or told.get("ro.product.cpu.abi")
    machine = answers.get("machine", "").strip()
    return Phone(
        properties={name: told[key] for name, key in named.items() if told.get(key)},
        abis=tuple(abis.split(",")) if abis else (),
        cpu=chip or _field(info, "Hardware") or told.get("ro.board.platform") or None,
        isa=tuple(flag for flag in ISA_FLAGS if flag in features),
        cpus=cpus,
        cores=len(allowed or ())
        or len(re.findall(r"^processor\s*:", info, re.MULTILINE))
        or max(len(cpus), 1),
        memory_bytes=int(memory[1]) * 1024 if memory else None,
        machine=machine or None,
    )


def heat_from(text: str) -> Heat:
    r"""Read the answer to `HEAT_SCRIPT`.

    Example:
        >>> heat_from("@@battery\n  temperature: 285\n@@limits\n1800000 2400000\n")
        Heat(temperature_c=28.5, source='BATTERY', status=None, throttled=True)
    """
    answers = _answers(text)
    thermal = answers.get("thermal", "")
    status = re.search(r"^Thermal Status: (\d+)", thermal, re.MULTILINE)
    limits = [
        (int(now), int(most))
        for now, most in re.findall(r"^(\d+) (\d+)$", answers.get("limits", ""), re.MULTILINE)
    ]
    signs = ([int(status[1]) > 0] if status else []) + [now < most for now, most in limits]
    temperature_c, source = _temperature(thermal, answers.get("zones", ""), answers.get("battery", ""))
    return Heat(temperature_c, source, int(status[1]) if status else None, any(signs) if signs else None)


def _temperature(thermal: str, zones: str, battery: str) -> tuple[float | None, str | None]:
    current = thermal.partition("Current temperatures from HAL:")[2] or thermal
    told = [(int(kind), float(value)) for value, kind in _TEMPERATURE.findall(current)]
    processor = [value for kind, value in told if kind == 0]
    if processor:
        return max(processor), _KINDS[0]
    found = [
        (float(value) / (1000 if float(value) > 200 else 1), name)  # millidegrees, on some kernels degrees
        for value, name in re.findall(
            r"^(\d+) (\S*(?:cpu|soc|tsens)\S*)", zones, re.MULTILINE | re.IGNORECASE
        )
    ]
    sensible = [(value, name) for value, name in found if 0 < value < 150]
    if sensible:
        return max(sensible)
    for kind, name in _KINDS.items():
        values = [value for told_kind, value in told if told_kind == kind]
        if values:
            return max(values), name
    tenths = re.search(r"^\s*temperature: (\d+)", battery, re.MULTILINE)
    return (int(tenths[1]) / 10, "BATTERY") if tenths else (None, None)


def _answers(text: str) -> dict[str, str]:
    parts = re.split(r"^@@(\w+)\n", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _field(text: str, name: str) -> str | None:
    match = re.search(rf"^{name}\s*:\s*(\S.*)$", text, re.MULTILINE)
    return match[1].strip() if match else None


def _numbers(ranges: str | None) -> set[int] | None:
    """Read `0-3,6`."""
    if ranges is None or not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", ranges):
        return None
    bounds = [part.split("-") for part in ranges.split(",")]
    return {number for bound in bounds for number in range(int(bound[0]), int(bound[-1]) + 1)}


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
