"""What was measured, in which unit, and where: raw values are kept, statistics are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Unit(StrEnum):
    """Units of a measurement."""

    SECOND = "s"
    BYTE = "byte"
    COUNT = "count"
    JOULE = "J"


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and software that a measurement was made on; what is not known is None.

    Attributes:
        cpu: model name as the system tells it.
        isa: instruction-set flags that matter for speed (`avx2`, `avx512_vnni`, `asimddp`, …).
        cores: processors that this process may use: min(affinity, cgroup quota).
        threads: threads that the runtime was given.
        governor: frequency governor.
        memory_bytes: installed memory, or the cgroup's limit where that is lower.
        system: operating system and machine, as in `Linux-6.1-x86_64`.
        versions: name to version of Python and of the packages that took part.
        temperature_c: of the processor in °C, before and after measuring.
        throttled: whether the system lowered the processor's highest frequency meanwhile.
    """

    cpu: str | None
    isa: tuple[str, ...]
    cores: int
    threads: int
    governor: str | None
    memory_bytes: int | None
    system: str
    versions: Mapping[str, str] = field(default_factory=dict)
    temperature_c: tuple[float, float] | None = None
    throttled: bool | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw samples of one metric.

    Attributes:
        metric: what was measured (`latency`, `kernel`, `load`, `first_run`, `peak_rss`, `model_memory`, `energy`).
        unit: of every value.
        values: in the order in which they were taken; outliers are kept.
        environment: where.
    """

    metric: str
    unit: Unit
    values: tuple[float, ...]
    environment: Environment
