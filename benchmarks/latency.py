"""How long one inference takes: files take turns in fresh processes, so that what differs is the files.

A launch starts one process a file, loads each, and warms each up until its times are stable. Then come rounds: in each,
every file runs alone for a while, forwards in one round and backwards in the next (A B B A A B …), so that whatever
the machine does meanwhile happens to all of them. Several launches are needed because two processes that run the same
file differ by a per cent or so, by where their memory happened to lie. Where the intervals are still wide after the
least number of launches, more follow.

Every sample is kept with its launch and round, none is dropped. What a sample covers: writing the inputs in the file's
own types, one run, reading every output.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks import statistics
from slimedge.comparison import Latency, Speedup
from slimedge.errors import InputError
from slimedge.measurement import Environment, Measurement, Unit
from slimedge.runtime.devices.local import Local, environment_from, load_request
from slimedge.runtime.facts import cores, measuring_cpus
from slimedge.runtime.protocols import Agent, Job
from slimedge.runtime.targets import Target

Entry = tuple[str, Artifact, Target]
Start = Callable[[str, Target], AbstractContextManager[Agent]]
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure.

    Attributes:
        launches: least number of fresh processes a file, at least 2.
        most_launches: where the intervals stay wide.
        rounds: turns of every file in a launch.
        turn_s: least time of a turn.
        turn_runs: least runs in a turn.
        settle_runs: before each turn's first sample, since another process has just used the caches.
        warm_s: longest warm-up in a launch.
        warm_window_s: of which the last three medians must lie together.
        stable: by how much they may differ.
        precision: of a speedup: launches follow until the interval's ends lie this close to its value.
        limit_s: longest time for one request to an agent.
    """

    launches: int = 6
    most_launches: int = 18
    rounds: int = 6
    turn_s: float = 0.04
    turn_runs: int = 3
    settle_runs: int = 2
    warm_s: float = 0.5
    warm_window_s: float = 0.01
    stable: float = 0.05
    precision: float = 0.02
    limit_s: float = 600.0


QUICK = Settings(launches=3, most_launches=3, rounds=4, turn_s=0.02, precision=0.1)
DEFAULT = Settings()
THOROUGH = Settings(launches=12, most_launches=36, rounds=8, turn_s=0.1, turn_runs=5, warm_s=1.0, precision=0.01)
SETTINGS: Mapping[str, Settings] = {"quick": QUICK, "default": DEFAULT, "thorough": THOROUGH}


@dataclass(frozen=True, slots=True)
class Turn:
    """The samples of one file in one round of one launch, in seconds and in their order."""

    launch: int
    round: int
    samples_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Timed:
    """What was measured of one file.

    Attributes:
        name: of the entry.
        target: that ran it.
        provider: that really ran it, as the runtime told.
        turns: raw samples, in the order in which they were taken.
        load_s: from file to session, one value a launch.
        first_run_s: the first inference after that, one value a launch.
        peak_rss_bytes: of the whole process, one value a launch; empty where the system does not tell.
        model_bytes: by which loading and running the model raised it; likewise.
        stable: whether every warm-up ended with stable times.
    """

    name: str
    target: Target
    provider: str
    turns: tuple[Turn, ...]
    load_s: tuple[float, ...]
    first_run_s: tuple[float, ...]
    peak_rss_bytes: tuple[int, ...]
    model_bytes: tuple[int, ...]
    stable: bool

    @property
    def samples_s(self) -> tuple[float, ...]:
        """All samples of all turns."""
        return tuple(sample for turn in self.turns for sample in turn.samples_s)

    @property
    def latency(self) -> Latency:
        """Quantiles of all samples."""
        return statistics.latency(self.samples_s)

    def turn_medians(self) -> NDArray[np.float64]:
        """Give the median of every turn, (launches, rounds), in seconds."""
        launches = 1 + max(turn.launch for turn in self.turns)
        medians = [np.median(turn.samples_s) for turn in sorted(self.turns, key=lambda t: (t.launch, t.round))]
        return np.reshape(medians, (launches, -1))


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
) -> LatencyRun:
    """Measure files against each other in one interleaved run; the first is the baseline of the precision asked for.

    Args:
        entries: name, file and target of each; names are unique.
        inputs: (n, …) float arrays by input name, of which the first examples are fed; None feeds seeded random
            numbers in 0…1.
        threads: of every runtime; None takes min(affinity, cgroup quota).
        batch: examples in one inference; None takes the files' own, else 1.
        settings: how long.
        options: of the backends (`allow_fallback`, `trust`).
        progress: called with the share done in 0…1 and what comes next.
        start: starts an agent for an entry's name and target; None runs it on this machine.

    Returns:
        Raw samples of every file with what else was seen.

    Raises:
        InputError: no entries, a name twice, files of different fixed batches, a file or inputs that do not fit.
        UnavailableError: a runtime or provider that is not here.
        RunError: an agent ran out of time or memory, or died.
    """
    names = [name for name, _, _ in entries]
    if not names or len(set(names)) < len(names):
        raise InputError(f"every file to be measured needs a name of its own; given were {', '.join(names) or 'none'}.")
    if settings.launches < 2:  # noqa: PLR2004
        raise InputError(f"launches is {settings.launches}; two fresh processes a file are the least that shows noise.")
    count = cores() if threads is None else threads
    size = _common_batch(entries, batch)
    cpus = measuring_cpus(count)
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        path = None
        if inputs is not None:
            path = Path(folder) / "inputs.npz"
            np.savez(path, allow_pickle=False, **{name: np.asarray(value)[:size] for name, value in inputs.items()})
        requests = {
            name: {
                **load_request(
                    Job(artifact, target, threads=count, options=options or {}, inputs=path, batch=size), cpus=cpus
                ),
                "priority": True,
            }
            for name, artifact, target in entries
        }
        turns = _Turns(entries, requests, settings, start or _start_here(settings), progress or _silent)
        turns.measure()
    environment = environment_from({**turns.facts, "threads": count})
    return LatencyRun(turns.timed(), environment, count, size, settings, tuple(turns.notes()))


class _Turns:
    """Lets the files take turns, launch after launch, and keeps what the agents tell."""

    def __init__(
        self,
        entries: Sequence[Entry],
        requests: Mapping[str, Mapping[str, Any]],
        settings: Settings,
        start: Start,
        progress: Progress,
    ) -> None:
        self._targets = {name: target for name, _, target in entries}
        self._requests = requests
        self._settings = settings
        self._start = start
        self._progress = progress
        self._turns: dict[str, list[Turn]] = {name: [] for name in self._targets}
        self._told: dict[str, list[dict[str, Any]]] = {name: [] for name in self._targets}
        self.facts: dict[str, Any] = {}
        self.precise = False

    def measure(self) -> None:
        for launch in range(self._settings.most_launches):
            self._launch(launch)
            self.precise = self._is_precise()
            if launch + 1 >= self._settings.launches and self.precise:
                break
        self._progress(1.0, "measured")

    def timed(self) -> tuple[Timed, ...]:
        return tuple(self._timed(name) for name in self._targets)

    def notes(self) -> Iterator[str]:
        if not self.precise:
            yield (
                f"The speedups are not known to ±{self._settings.precision:.0%} after {self._settings.most_launches} "
                "launches: the machine is busy or the settings are short; end other programs or measure longer."
            )
        for name, told in self._told.items():
            unsettled = sum(not launch["stable"] for launch in told)
            if unsettled > len(told) // 2:
                yield (
                    f"The times of {name} had not settled after {self._settings.warm_s:g} s of warm-up in {unsettled} "
                    f"of {len(told)} launches."
                )

    def _launch(self, launch: int) -> None:
        names = list(self._targets)
        with ExitStack() as stack:
            agents = {name: stack.enter_context(self._start(name, self._targets[name])) for name in names}
            self._report(launch, 0, "starting")
            for name in names:
                agents[name].send("prepare", threads=self._requests[name]["threads"])
            for name in names:
                self._keep_facts(agents[name].receive()["facts"])
            for name in _in_turn(names, launch):
                told = agents[name].ask("load", **self._requests[name])
                self._told[name].append(told)
            for name in _in_turn(names, launch):
                self._report(launch, 0, f"warming up {name}")
                self._told[name][-1].update(agents[name].ask("warm", **self._warm_up()))
            for turn in range(self._settings.rounds):
                for position, name in enumerate(_in_turn(names, launch * self._settings.rounds + turn)):
                    self._report(launch, turn * len(names) + position, name)
                    samples = agents[name].ask("time", **self._turn())["samples_ns"]
                    self._turns[name].append(Turn(launch, turn, tuple(sample / 1e9 for sample in samples)))
            for name in names:
                self._told[name][-1].update(agents[name].ask("memory"))

    def _warm_up(self) -> dict[str, Any]:
        return {
            "window_s": self._settings.warm_window_s,
            "warm_limit_s": self._settings.warm_s,
            "tolerance": self._settings.stable,
        }

    def _turn(self) -> dict[str, Any]:
        return {
            "settle_runs": self._settings.settle_runs,
            "seconds": self._settings.turn_s,
            "runs": self._settings.turn_runs,
        }

    def _keep_facts(self, facts: Mapping[str, Any]) -> None:
        versions = {**self.facts.get("versions", {}), **facts["versions"]}
        self.facts = {**facts, "versions": versions}

    def _report(self, launch: int, turns: int, what: str) -> None:
        a_launch = self._settings.rounds * len(self._targets)
        launches = max(self._settings.launches, launch + 1)
        self._progress((launch * a_launch + turns) / (launches * a_launch), what)

    def _is_precise(self) -> bool:
        """Tell whether every speedup over the first file is known as closely as was asked for."""
        medians = [self._timed(name).turn_medians() for name in self._targets]
        if len(medians[0]) < 2:  # noqa: PLR2004 - no interval from one launch
            return False
        found = [statistics.speedup(medians[0], other) for other in medians[1:]]
        widest = max((max(s.high / s.value, s.value / s.low) for s in found), default=1.0)
        return widest <= 1 + self._settings.precision

    def _timed(self, name: str) -> Timed:
        told = self._told[name]
        return Timed(
            name=name,
            target=self._targets[name],
            provider=told[0]["provider"],
            turns=tuple(self._turns[name]),
            load_s=tuple(launch["load_s"] for launch in told),
            first_run_s=tuple(launch["first_run_s"] for launch in told),
            peak_rss_bytes=_known(told, "peak_rss_bytes"),
            model_bytes=_known(told, "model_bytes"),
            stable=all(launch["stable"] for launch in told),
        )


def _known(told: Sequence[Mapping[str, Any]], field: str) -> tuple[int, ...]:
    return tuple(launch[field] for launch in told if launch[field] is not None)


def _in_turn(names: Sequence[str], turn: int) -> list[str]:
    """Forwards, backwards, forwards, …"""
    return list(names) if turn % 2 == 0 else list(reversed(names))


def _common_batch(entries: Sequence[Entry], batch: int | None) -> int:
    """Give the batch that every file can run, so that all do the same work."""
    fixed = {
        name: spec.shape[0]
        for name, artifact, _ in entries
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


def _start_here(settings: Settings) -> Start:
    device = Local()
    return lambda _name, target: device.start(target.backend, limit_s=settings.limit_s)


def _silent(_share: float, _what: str) -> None:
    pass
