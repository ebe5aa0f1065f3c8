"""What a benchmark tells: a row for each file on each target, also where it could not be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimedge.benchmarks.profiles.times import ModelProfile
from slimedge.comparison import Latency
from slimedge.errors import SlimedgeError
from slimedge.measurement import Environment
from slimedge.runtime.target import Target


@dataclass(frozen=True, slots=True)
class Row:
    """One file on one target; what was not measured is None.

    Attributes:
        model: name of the file, which no other of the benchmark has.
        target: that was asked for.
        runtime: that ran it, or compiled it; None where nothing was had.
        label: what the figures are: `measured`, `emulated` (on an emulator's clock) or `estimated` (by a compiler).
        provider: execution provider or delegate that really ran it.
        latency_s: warm; from the inputs in memory to the outputs in memory.
        kernel_s: the same runs with inputs that lie on the device already; None where nothing is copied.
        instructions: for one inference, on an emulator that counts them.
        nodes: of the model on each provider, where another than the CPU was asked for.
        load_s: from bytes to a session, in a fresh process.
        first_run_s: the first inference after that, with all that a provider builds in it.
        peak_rss_bytes: of the process that ran it.
        model_bytes: by which loading and running the model raised that.
        energy_j: of the whole machine for one inference.
        figures: what only this kind of target tells, by name with its unit (`arena_bytes`, `cycles`).
        profile: where the time goes; None where that was not asked for, or the runtime does not tell.
        environment: of the device.
        error: why there are no figures.
        notes: what the reader should know, one sentence each.
    """

    model: str
    target: Target
    runtime: str | None = None
    label: str = "measured"
    provider: str | None = None
    latency_s: Latency | None = None
    kernel_s: Latency | None = None
    instructions: float | None = None
    nodes: Mapping[str, int | None] | None = None
    load_s: float | None = None
    first_run_s: float | None = None
    peak_rss_bytes: int | None = None
    model_bytes: int | None = None
    energy_j: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    profile: ModelProfile | None = None
    environment: Environment | None = None
    error: SlimedgeError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The rows of one command.

    Attributes:
        rows: by file, each on its targets in the order in which they were named.
        batch: examples in one inference.
        threads: of every runtime.
        notes: what the reader should know about the whole run.
    """

    rows: tuple[Row, ...]
    batch: int
    threads: int
    notes: tuple[str, ...] = ()

    @property
    def profiles(self) -> dict[str, ModelProfile]:
        """Where the time of the rows goes, by model and target."""
        return {f"{row.model} on {row.target}": row.profile for row in self.rows if row.profile is not None}

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows without figures."""
        return tuple(row for row in self.rows if row.error is not None)
