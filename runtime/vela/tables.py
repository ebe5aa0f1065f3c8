"""The two CSV files that Vela writes: a summary of the network, and a line a layer."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO

from slimedge.errors import RunError

_KIBIBYTE = 1024
# Columns of the summary that are read; a Vela without one of them is another program than this one was written for.
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")


@dataclass(frozen=True, slots=True)
class Cycles:
    """Clock cycles of one inference by what takes them; those of the parts overlap in time.

    Attributes:
        total: of the inference.
        npu: in which the NPU computes.
        sram: in which SRAM is read and written.
        dram: likewise DRAM.
        on_chip_flash: likewise flash on the chip.
        off_chip_flash: likewise flash beside the chip.
    """

    total: int
    npu: int
    sram: int
    dram: int
    on_chip_flash: int
    off_chip_flash: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that the compiled network takes in each memory."""

    sram_bytes: int
    dram_bytes: int
    on_chip_flash_bytes: int
    off_chip_flash_bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What Vela says of a network.

    Attributes:
        system_config: of clock and memories, by Vela's name.
        memory_mode: likewise of what lies where.
        clock_hz: of the NPU.
        batch: examples in one inference.
        inferences_per_s: None where nothing runs on the NPU.
        macs: multiply-accumulates of one inference on the NPU.
        cycles: of one inference.
        memory: of the network.
    """

    system_config: str
    memory_mode: str
    clock_hz: float
    batch: int
    inferences_per_s: float | None
    macs: int
    cycles: Cycles
    memory: Memory


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the table of layers: a step that Vela made of an operator.

    Attributes:
        operator: of the file, as Vela calls it.
        step: that was made of it.
        on_npu: whether the NPU runs it; the CPU does otherwise.
        cycles: that it takes, 0 on the CPU, which Vela does not estimate.
        macs: of it.
        name: of its output.
    """

    operator: str
    step: str
    on_npu: bool
    cycles: int
    macs: int
    name: str


def read_summary(text: str) -> Summary:
    """Read the summary.

    Args:
        text: of `…_summary_….csv`, whose sizes are in KiB.

    Raises:
        RunError: a table of another kind.
    """
    rows = _rows(text)
    if len(rows) != 1:
        raise RunError(
            f"Vela's summary has {len(rows)} rows, where one was expected; install another ethos-u-vela."
        )
    row = rows[0]
    speed = _number(row, "inferences_per_second")
    return Summary(
        system_config=_text(row, "system_config"),
        memory_mode=_text(row, "memory_mode"),
        clock_hz=_number(row, "core_clock"),
        batch=int(_number(row, "batch_size")),
        inferences_per_s=speed if math.isfinite(speed) and speed > 0 else None,
        macs=int(_number(row, "nn_macs")),
        cycles=Cycles(
            int(_number(row, "cycles_total")),
            int(_number(row, "cycles_npu")),
            *(int(_number(row, f"cycles_{memory}_access")) for memory in _MEMORIES),
        ),
        memory=Memory(*(round(_number(row, f"{memory}_memory_used") * _KIBIBYTE) for memory in _MEMORIES)),
    )


def read_layers(text: str) -> tuple[Layer, ...]:
    """Read the table of layers.

    Args:
        text: of `…_per-layer.csv`.

    Raises:
        RunError: a table of another kind.
    """
    return tuple(
        Layer(
            operator=_text(row, "Original Operator"),
            step=_text(row, "NNG Operator"),
            on_npu=_text(row, "Target") == "NPU",
            cycles=int(_number(row, "Op Cycles")),
            macs=int(_number(row, "MAC Count")),
            name=_text(row, "Name"),
        )
        for row in _rows(text)
    )


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text), skipinitialspace=True))


def _text(row: Mapping[str, str], column: str) -> str:
    found = row.get(column)
    if found is None:
        raise RunError(f"Vela's table has no column '{column}'; install another version of ethos-u-vela.")
    return found.strip()


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        return float(_text(row, column))
    except ValueError as error:
        raise RunError(
            f"Vela's table has '{row[column]}' in the column '{column}', where a number was expected; install another "
            "version of ethos-u-vela."
        ) from error
