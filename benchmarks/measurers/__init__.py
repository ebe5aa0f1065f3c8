"""How files are measured on a kind of target, one file each; a new one is that file and a line here.

Each is a function `measure(entries, conditions, progress)` that gives a row for every entry, in their order, and never
raises what concerns one of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slimedge.benchmarks.entries import Entry
from slimedge.benchmarks.rows import Row
from slimedge.benchmarks.turns import Settings
from slimedge.registry import Registry

MEASURERS = Registry(
    "measurer",
    {
        "agents": "slimedge.benchmarks.measurers.agents:measure",
        "microcontrollers": "slimedge.benchmarks.measurers.microcontrollers:measure",
        "phones": "slimedge.benchmarks.measurers.phones:measure",
        "npus": "slimedge.benchmarks.measurers.npus:measure",
    },
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """How files are measured.

    Attributes:
        threads: of every runtime.
        batch: examples in one inference; None takes the files' own, else 1.
        settings: how long.
        options: of the backends (`allow_fallback`, `trust`).
        profile: whether to tell where the time goes, too.
    """

    threads: int
    batch: int | None
    settings: Settings
    options: Mapping[str, Any] = field(default_factory=dict)
    profile: bool = False


Progress = Callable[[float, str], None]
Measurer = Callable[[Sequence[Entry], Conditions, Progress], Sequence[Row]]
