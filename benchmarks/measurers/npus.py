"""Files that a compiler estimates for an NPU: cycles, memory, and how much of the file it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.measurers import Conditions, Progress
from slimedge.benchmarks.rows import Row
from slimedge.errors import SlimedgeError
from slimedge.runtime.devices.ethos_u import EthosU
from slimedge.runtime.devices.naming import device
from slimedge.runtime.vela.compiling import LABEL, Estimate, estimate


def measure(entries: Sequence[Entry], conditions: Conditions, progress: Progress) -> tuple[Row, ...]:
    """Compile files and give what the compiler estimates.

    Args:
        entries: whose targets are one configuration of an Ethos-U.
        conditions: of which only the time limit is heeded.
        progress: told the share done in 0…1 and what comes next.

    Returns:
        A row for each; of one that failed, with the error.
    """
    place = device(entries[0].target.device)
    assert isinstance(place, EthosU), "the registry's"  # noqa: S101
    rows = []
    for number, entry in enumerate(entries):
        progress(number / len(entries), f"compiling {entry.name} for {entry.target}")
        try:
            found = estimate(
                entry.artifact.path,
                place.configuration,
                folder=place.folder or entry.artifact.path.parent,
                system_config=place.system_config,
                memory_mode=place.memory_mode,
                time_limit_s=conditions.settings.limit_s,
            )
        except SlimedgeError as error:
            rows.append(Row(entry.name, entry.target, label=LABEL, error=error))
            continue
        rows.append(
            Row(
                entry.name,
                entry.target,
                label=LABEL,
                runtime="vela",
                provider=found.version,
                figures=_figures(found),
                notes=_notes(entry, found),
            )
        )
    return tuple(rows)


def _figures(found: Estimate) -> dict[str, Any]:
    summary = found.summary
    return {
        "cycles": summary.cycles.total,
        "latency_s": found.latency_s,
        "inferences_per_s": summary.inferences_per_s,
        "sram_bytes": summary.memory.sram_bytes,
        "dram_bytes": summary.memory.dram_bytes,
        "on_chip_flash_bytes": summary.memory.on_chip_flash_bytes,
        "off_chip_flash_bytes": summary.memory.off_chip_flash_bytes,
        "npu_share": found.npu_share,
        "cpu_operators": dict(found.cpu_operators),
        "compiled": None if found.compiled is None else str(found.compiled),
        "compiled_bytes": found.compiled_bytes,
    }


def _notes(entry: Entry, found: Estimate) -> tuple[str, ...]:
    if not found.cpu_operators:
        return ()
    listed = ", ".join(f"{count} {name}" for name, count in found.cpu_operators.items())
    note = f"{entry.name}: {listed} stay on the CPU, and no figure of the NPU's holds them"
    border = {"QUANTIZE", "DEQUANTIZE"} & set(found.cpu_operators)
    return (f"{note}; export it with --io int8." if border else f"{note}.",)
