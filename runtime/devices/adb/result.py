"""What `benchmark_model` tells of a run. It keeps no raw samples, only statistics; what a version omits is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from slimedge.measurement import Environment

RESOLUTION_S = 1e-6  # it counts whole microseconds


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """Durations of the runs of one phase, as `benchmark_model` sums them up.

    Attributes:
        count: runs.
        first_s: of the first run of the phase.
        last_s: of the last one.
        min_s: shortest.
        max_s: longest.
        mean_s: arithmetic mean, in six digits.
        std_s: standard deviation, in whole microseconds.
        p5_s: 5th percentile; older versions print none.
        median_s: likewise.
        p95_s: 95th percentile, likewise. The 90th is not known.
    """

    count: int
    first_s: float
    last_s: float
    min_s: float
    max_s: float
    mean_s: float
    std_s: float
    p5_s: float | None
    median_s: float | None
    p95_s: float | None


class Coverage(StrEnum):
    """How much of a graph a delegate took."""

    ALL = "all"
    PART = "part"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class DelegateUse:
    """What one delegate took of the graph.

    Attributes:
        name: as `benchmark_model` calls it: `XNNPACK`, `GPU`, `NNAPI`.
        coverage: of the graph.
        partitions: that it runs, None where they are not told.
        nodes: of the graph that it took, None where they are not told.
        all_nodes: of the graph.
    """

    name: str
    coverage: Coverage
    partitions: int | None = None
    nodes: int | None = None
    all_nodes: int | None = None

    @property
    def share(self) -> float | None:
        """Share of the nodes that it took, None where that is not told.

        Example:
            >>> DelegateUse("GPU", Coverage.PART, 3, nodes=9, all_nodes=12).share
            0.75
        """
        if self.coverage is not Coverage.PART:
            return 1.0 if self.coverage is Coverage.ALL else 0.0
        return self.nodes / self.all_nodes if self.nodes is not None and self.all_nodes else None


@dataclass(frozen=True, slots=True)
class Heat:
    """How warm a device is.

    Attributes:
        temperature_c: of the processor where the device tells it, else of its skin or battery.
        source: what was read (`CPU`, `SKIN`, `BATTERY`, or a thermal zone's name).
        status: Android's thermal status, from 0 (none) over 3 (severe) to 6 (shutdown).
        throttled: whether it holds its frequency down: a thermal status above 0, or a processor whose highest
            frequency is set below what the hardware can.
    """

    temperature_c: float | None
    source: str | None
    status: int | None
    throttled: bool | None


@dataclass(frozen=True, slots=True)
class AdbMeasurement:
    """One file, timed once on an Android device.

    Attributes:
        latency: of the measured runs.
        warmup: of the runs before them, None where they are not told.
        load_s: time to load the model and prepare the delegate.
        first_run_s: of the very first run.
        peak_rss_bytes: largest resident memory of the process, the tool itself included.
        footprint_bytes: growth of that over loading and all runs: the model and its runtime.
        load_footprint_bytes: growth over loading alone.
        provider: that was asked for.
        delegates: that were applied, with what they took of the graph.
        cpus: processors that the process was pinned to, None where it was not.
        command: that ran, without its folder.
        environment: of the device.
        device: facts beside those (`manufacturer`, `model`, `platform`, `android`, `abi`), those that could be read.
        heat_before: of the device, before the runs.
        heat_after: after them.
    """

    latency: RunStatistics
    warmup: RunStatistics | None
    load_s: float | None
    first_run_s: float | None
    peak_rss_bytes: int | None
    footprint_bytes: int | None
    load_footprint_bytes: int | None
    provider: str
    delegates: tuple[DelegateUse, ...]
    cpus: tuple[int, ...] | None
    command: tuple[str, ...]
    environment: Environment
    device: Mapping[str, str]
    heat_before: Heat
    heat_after: Heat

    @property
    def fell_back(self) -> bool:
        """Whether some of the graph ran on the processor though an accelerator was asked for, or this is not known."""
        asked = [use for use in self.delegates if use.name.lower() == self.provider]
        return self.provider != "cpu" and not any(use.coverage is Coverage.ALL for use in asked)
