"""How long one inference takes: one interleaved run of several files, and the speedups in it.

How the files take turns is said in `slimedge.benchmarks.turns`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks import statistics
from slimedge.benchmarks.turns import (
    DEFAULT,
    QUICK,
    SETTINGS,
    THOROUGH,
    Entry,
    Progress,
    Settings,
    Start,
    Timed,
    TurnTaking,
)
from slimedge.comparison import Speedup
from slimedge.errors import InputError, SlimedgeError
from slimedge.measurement import Environment, Measurement, Unit
from slimedge.runtime.arrays import write_arrays
from slimedge.runtime.devices.local import Local
from slimedge.runtime.facts import cores
from slimedge.runtime.jobs import environment_from, load_request
from slimedge.runtime.protocols import Device, Job

__all__ = [
    "DEFAULT",
    "QUICK",
    "SETTINGS",
    "THOROUGH",
    "LatencyRun",
    "Settings",
    "Timed",
    "measure_latency",
    "speedups",
]


@dataclass(frozen=True, slots=True)
class LatencyRun:
    """One interleaved run.

    Attributes:
        entries: in the order in which they were given.
        environment: where; the versions are those of every runtime that took part.
        threads: of every runtime, and processors that each process was pinned to.
        batch: examples in one inference.
        settings: that were asked for.
        notes: what the reader should know, one sentence each.
    """

    entries: tuple[Timed, ...]
    environment: Environment
    threads: int
    batch: int
    settings: Settings
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Timed:
        return next(entry for entry in self.entries if entry.name == name)

    def measurements(self, name: str) -> tuple[Measurement, ...]:
        """Give the raw values of one file: latency, load, first run and, where known, memory."""
        entry = self[name]
        found = {
            ("latency", Unit.SECOND): entry.samples_s,
            ("load", Unit.SECOND): entry.load_s,
            ("first_run", Unit.SECOND): entry.first_run_s,
            ("peak_rss", Unit.BYTE): entry.peak_rss_bytes,
            ("model_memory", Unit.BYTE): entry.model_bytes,
            ("kernel", Unit.SECOND): entry.kernel_samples_s,
            ("energy", Unit.JOULE): entry.energy_j,
        }
        return tuple(
            Measurement(metric, unit, tuple(float(value) for value in values), self.environment)
            for (metric, unit), values in found.items()
            if values
        )


def speedups(run: LatencyRun, baseline: str) -> dict[str, Speedup]:
    """Give the speedup of every other file over the baseline; see `statistics.speedup`."""
    reference = run[baseline].turn_medians()
    return {
        entry.name: statistics.speedup(reference, entry.turn_medians())
        for entry in run.entries
        if entry.name != baseline
    }


def measure_latency(
    entries: Sequence[Entry],
    *,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    threads: int | None = None,
    batch: int | None = None,
    settings: Settings = DEFAULT,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    start: Start | None = None,
    device: Device | None = None,
    failed: dict[str, SlimedgeError] | None = None,
) -> LatencyRun:
    """Measure files against each other in one interleaved run; the first is the baseline of the precision asked for.

    Args:
        entries: name, file and target of each; names are unique.
        inputs: (n, …) float arrays by the first file's input names, of which the first examples are fed; None feeds
            seeded random numbers in 0…1.
        threads: of every runtime; None takes min(affinity, cgroup quota).
        batch: examples in one inference; None takes the files' own, else 1.
        settings: how long.
        options: of the backends (`allow_fallback`, `trust`).
        progress: called with the share done in 0…1 and what comes next.
        start: starts an agent for an entry's name and target; None runs it on `device`.
        device: where, reserved; None for this machine.
        failed: where it is given, a file that fails leaves the run with its error here, by name, and the run goes on
            with the others.

    Returns:
        Raw samples of every file with what else was seen.

    Raises:
        InputError: no entries, a name twice, files of different fixed batches, a file or inputs that do not fit.
        UnavailableError: a runtime or provider that is not here.
        RunError: an agent ran out of time or memory, or died; with `failed`, all of them did.
    """
    names = [name for name, _, _ in entries]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"every file to be measured needs a name of its own; given were {', '.join(names) or 'none'}."
        )
    if settings.launches < 2:
        raise InputError(
            f"launches is {settings.launches}; two fresh processes a file are the least that shows noise."
        )
    count = cores() if threads is None else threads
    if count < 1:
        raise InputError(f"threads is {count}; give 1 or more.")
    size = common_batch([(name, artifact) for name, artifact, _ in entries], batch)
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        requests = {}
        for number, (name, artifact, target) in enumerate(entries):
            path = None
            if inputs is not None:
                path = Path(folder, f"{number}.npz")
                fed = _renamed(inputs, entries[0][1], artifact)
                write_arrays(str(path), {key: np.asarray(fed[key])[:size] for key in fed})
            job = Job(artifact, target, threads=count, options=options or {}, inputs=path, batch=size)
            requests[name] = load_request(job, timed=True)
        turns = TurnTaking(
            entries,
            requests,
            settings,
            start or _start_on(device or Local(), settings),
            progress or _silent,
            failed=failed,
        )
        turns.measure()
    environment = environment_from({**turns.facts, "threads": count})
    return LatencyRun(turns.timed(), environment, count, size, settings, tuple(turns.notes()))


def _renamed(inputs: Mapping[str, NDArray[Any]], first: Artifact, other: Artifact) -> dict[str, NDArray[Any]]:
    """Give arrays by the input names of another file, which has them in the same order as the first."""
    names = {spec.name: own.name for spec, own in zip(first.inputs, other.inputs, strict=False)}
    return {names.get(name, name): array for name, array in inputs.items()}


def common_batch(files: Sequence[tuple[str, Artifact]], batch: int | None) -> int:
    """Give the batch that every file can run, so that all do the same work.

    Args:
        files: each a name and the file.
        batch: that is wanted; None takes the files' own, else 1.

    Raises:
        InputError: they run different batches, or others than what is wanted.
    """
    fixed = {
        name: spec.shape[0]
        for name, artifact in files
        for spec in artifact.inputs[:1]
        if spec.shape and spec.shape[0] is not None
    }
    asked = next(iter(fixed.values()), 1) if batch is None else batch
    odd = next(((name, size) for name, size in fixed.items() if size != asked), None)
    if odd is not None or asked < 1:
        name, size = odd or ("any file", "1 or more")
        raise InputError(
            f"the batch is {asked}, but {name} runs batches of {size}; measure files of one batch together, or export "
            "them with the same."
        )
    return asked


def _start_on(device: Device, settings: Settings) -> Start:
    return lambda _name, target: device.start(target.backend, limit_s=settings.limit_s)


def _silent(_share: float, _what: str) -> None:
    pass
