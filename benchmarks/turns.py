"""Files take turns in fresh processes, so that what differs between their times is the files.

A launch starts one process a file, loads each, and warms each up until its times are stable. Then come rounds: in each,
every file runs alone for a while, forwards in one round and backwards in the next (A B B A A B …), so that whatever
the machine does meanwhile happens to all of them. Several launches are needed because two processes that run the same
file differ by a per cent or so, by where their memory happened to lie. Where the intervals are still wide after the
least number of launches, more follow.

Each process is pinned to as many processors as it has threads, and comes before other programs where this user may
raise its priority.

Every sample is kept with its launch and round, none is dropped. What a sample covers: writing the inputs in the file's
own types, one run, reading every output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks import statistics
from slimedge.comparison import Latency, Speedup
from slimedge.errors import SlimedgeError
from slimedge.runtime.protocols import Agent
from slimedge.runtime.targets import Target

Entry = tuple[str, Artifact, Target]
Start = Callable[[str, Target], AbstractContextManager[Agent]]
Progress = Callable[[float, str], None]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure.

    Attributes:
        launches: least number of fresh processes a file, at least 2.
        most_launches: where the intervals stay wide.
        rounds: turns of every file in a launch: many short ones see more of what disturbs than a few long ones.
        least_rounds: where turns are so long that `rounds` of them would exceed `launch_s`.
        launch_s: time for all turns of one file in a launch.
        turn_s: least time of a turn.
        turn_runs: least runs in a turn.
        settle_s: before each turn's first sample, since another process has just used the caches; at least one run.
        warm_s: longest warm-up in a launch.
        warm_window_s: of which the last three medians must lie together.
        stable: by how much they may differ.
        precision: more launches follow until the ends of every speedup's interval lie this close to its value on a
            logarithmic scale; for one far from 1, a tenth of its own logarithm will do.
        limit_s: longest time for one request to an agent.
    """

    launches: int = 6
    most_launches: int = 18
    rounds: int = 16
    least_rounds: int = 4
    launch_s: float = 2.0
    turn_s: float = 0.015
    turn_runs: int = 2
    settle_s: float = 0.001
    warm_s: float = 0.5
    warm_window_s: float = 0.01
    stable: float = 0.05
    precision: float = 0.02
    limit_s: float = 600.0


QUICK = Settings(launches=3, most_launches=3, rounds=8, launch_s=0.5, precision=0.1)
DEFAULT = Settings()
THOROUGH = Settings(launches=12, most_launches=36, rounds=32, launch_s=8.0, warm_s=1.0, precision=0.01)
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
        kernel_turns: the same turns of runs whose inputs lie on the device already; empty where there is no device
            that they could be copied to.
        nodes: of the model on each provider, None where only the CPU was asked for.
        energy_j: of the whole machine for one run, one value a turn; empty where it has no counters.
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
    kernel_turns: tuple[Turn, ...] = ()
    energy_j: tuple[float, ...] = ()
    nodes: Mapping[str, int | None] | None = None

    @property
    def kernel_samples_s(self) -> tuple[float, ...]:
        """All samples of all turns without copies."""
        return tuple(sample for turn in self.kernel_turns for sample in turn.samples_s)

    @property
    def samples_s(self) -> tuple[float, ...]:
        """All samples of all turns."""
        return tuple(sample for turn in self.turns for sample in turn.samples_s)

    @property
    def latency(self) -> Latency:
        """Quantiles of all samples, with the medians of the turns."""
        turns = tuple(tuple(float(median) for median in launch) for launch in self.turn_medians())
        return replace(statistics.latency(self.samples_s), turns=turns)

    def turn_medians(self) -> NDArray[np.float64]:
        """Give the median of every turn, (launches, rounds), in seconds."""
        launches = 1 + max(turn.launch for turn in self.turns)
        medians = [
            np.median(turn.samples_s) for turn in sorted(self.turns, key=lambda t: (t.launch, t.round))
        ]
        return np.reshape(medians, (launches, -1))


class TurnTaking:
    """Lets the files take turns, launch after launch, and keeps what the agents tell."""

    def __init__(
        self,
        entries: Sequence[Entry],
        requests: Mapping[str, Mapping[str, Any]],
        settings: Settings,
        start: Start,
        progress: Progress,
        *,
        failed: dict[str, SlimedgeError] | None = None,
    ) -> None:
        self._targets = {name: target for name, _, target in entries}
        self._requests = requests
        self._settings = settings
        self._start = start
        self._progress = progress
        self._tolerant = failed is not None
        self._failed = {} if failed is None else failed
        self._turns: dict[str, list[Turn]] = {name: [] for name in self._targets}
        self._kernel_turns: dict[str, list[Turn]] = {name: [] for name in self._targets}
        self._energy_j: dict[str, list[float]] = {name: [] for name in self._targets}
        self._told: dict[str, list[dict[str, Any]]] = {name: [] for name in self._targets}
        self._rounds = 0  # known after the first warm-up
        self._states: list[Mapping[str, Any]] = []
        self._facts: dict[str, Any] = {}

    def measure(self) -> None:
        """Let everything happen.

        Raises:
            SlimedgeError: what an agent answered, or how it ended; of a tolerant run, the first where all failed.
        """
        for launch in range(self._settings.most_launches):
            self._launch(launch)
            if launch + 1 >= self._settings.launches and self._is_precise():
                break
        self._progress(1.0, "measured")

    def timed(self) -> tuple[Timed, ...]:
        """Give what was measured, in the order of the entries."""
        return tuple(self._timed(name) for name in self._left)

    @property
    def _left(self) -> list[str]:
        return [name for name in self._targets if name not in self._failed]

    def _attempt(self, name: str, do: Callable[[], _Answer]) -> _Answer | None:
        """Do something with an agent; in a tolerant run one that fails leaves it, unless it is the last."""
        if name in self._failed:
            return None
        try:
            return do()
        except SlimedgeError as error:
            if not self._tolerant:
                raise
            self._failed[name] = error
            if not self._left:
                raise next(iter(self._failed.values())) from error
            return None

    def notes(self) -> Iterator[str]:
        """Give what the reader should know of how it went."""
        if not self._is_precise():
            yield (
                f"The speedups are not known to ±{self._settings.precision:.0%} after {self._settings.most_launches} "
                "launches: the machine is busy or the measuring short; end other programs, or measure longer."
            )
        for name in self._left:
            told = self._told[name]
            unsettled = sum(not launch["stable"] for launch in told)
            if unsettled > len(told) // 2:
                yield (
                    f"The times of {name} had not settled after {self._settings.warm_s:g} s of warm-up in {unsettled} "
                    f"of {len(told)} launches."
                )

    def _launch(self, launch: int) -> None:
        names = self._left
        with ExitStack() as stack:
            agents: dict[str, Agent] = {}
            self._report(launch, 0, "starting")
            for name in names:
                started = self._attempt(name, partial(self._started, stack, name))
                agents |= {} if started is None else {name: started}
            for name in agents:
                told = self._attempt(name, agents[name].receive)
                if told is not None:
                    self._keep_facts(told["facts"])
            self._keep_state(agents)
            for name in _in_turn(names, launch):
                self._keep(name, partial(agents[name].ask, "load", **self._requests[name]), new=True)
            for name in _in_turn(names, launch):
                self._report(launch, 0, f"warming up {name}")
                self._keep(name, partial(agents[name].ask, "warm", **self._warm_up()))
            self._rounds = self._rounds or self._affordable_rounds()
            for turn in range(self._rounds):
                for position, name in enumerate(_in_turn(names, launch * self._rounds + turn)):
                    self._report(launch, turn * len(names) + position, name)
                    self._attempt(name, partial(self._take_turn, name, agents[name], launch, turn))
            for name in names:
                self._keep(name, partial(agents[name].ask, "memory"))
                if launch == 0 and self._targets[name].provider != "cpu":
                    self._keep(name, partial(agents[name].ask, "ops"))
            self._keep_state(agents)

    def _started(self, stack: ExitStack, name: str) -> Agent:
        agent = stack.enter_context(self._start(name, self._targets[name]))
        agent.send("prepare", threads=self._requests[name]["threads"])
        return agent

    def _keep(self, name: str, ask: Callable[[], dict[str, Any]], *, new: bool = False) -> None:
        """Keep what an agent tells in a launch."""
        told = self._attempt(name, ask)
        if told is not None and new:
            self._told[name].append(told)
        elif told is not None:
            self._told[name][-1].update(told)

    def _keep_state(self, agents: Mapping[str, Agent]) -> None:
        """Ask one agent how warm the machine is."""
        name = next((name for name in agents if name not in self._failed), None)
        state = None if name is None else self._attempt(name, partial(agents[name].ask, "state"))
        self._states += [state] if state else []

    def _take_turn(self, name: str, agent: Agent, launch: int, turn: int) -> None:
        answer = agent.ask("time", **self._turn())
        self._turns[name].append(Turn(launch, turn, _seconds(answer)))
        if answer.get("energy_j") is not None:
            self._energy_j[name].append(answer["energy_j"])
        if self._told[name][-1].get("resident"):
            kernel = agent.ask("time", **self._turn(), resident=True)
            self._kernel_turns[name].append(Turn(launch, turn, _seconds(kernel)))

    def _warm_up(self) -> dict[str, Any]:
        return {
            "window_s": self._settings.warm_window_s,
            "warm_limit_s": self._settings.warm_s,
            "tolerance": self._settings.stable,
        }

    def _affordable_rounds(self) -> int:
        slowest_s = max(self._told[name][-1]["run_s"] for name in self._left)
        turn_s = max(self._settings.turn_s, self._settings.turn_runs * slowest_s) + slowest_s
        affordable = int(self._settings.launch_s / turn_s)
        return min(self._settings.rounds, max(self._settings.least_rounds, affordable))

    def _turn(self) -> dict[str, Any]:
        return {
            "settle_s": self._settings.settle_s,
            "seconds": self._settings.turn_s,
            "runs": self._settings.turn_runs,
        }

    def _keep_facts(self, facts: Mapping[str, Any]) -> None:
        versions = {**self._facts.get("versions", {}), **facts["versions"]}
        self._facts = {**facts, "versions": versions}

    @property
    def facts(self) -> dict[str, Any]:
        """Give what was told of the machine, and how it did meanwhile; the names are those of `Environment`."""
        temperatures = [
            state["temperature_c"] for state in self._states if state["temperature_c"] is not None
        ]
        throttled = [state["throttled"] for state in self._states if state["throttled"] is not None]
        return {
            **self._facts,
            "temperature_c": (temperatures[0], temperatures[-1]) if temperatures else None,
            "throttled": any(throttled) if throttled else None,
        }

    def _report(self, launch: int, turns: int, what: str) -> None:
        a_launch = (self._rounds or self._settings.rounds) * len(self._targets)
        launches = max(self._settings.launches, launch + 1)
        self._progress((launch * a_launch + turns) / (launches * a_launch), what)

    def _is_precise(self) -> bool:
        """Tell whether every speedup over the first file is known as closely as was asked for."""
        medians = [self._timed(name).turn_medians() for name in self._left]
        return all(self._is_close(statistics.speedup(medians[0], other)) for other in medians[1:])

    def _is_close(self, speedup: Speedup) -> bool:
        value = math.log(speedup.value)
        distance = max(math.log(speedup.high) - value, value - math.log(speedup.low))
        return distance <= max(self._settings.precision, abs(value) / 10)

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
            kernel_turns=tuple(self._kernel_turns[name]),
            energy_j=tuple(self._energy_j[name]),
            nodes=told[0].get("providers"),
        )


def _seconds(answer: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(sample / 1e9 for sample in answer["samples_ns"])


def _known(told: Sequence[Mapping[str, Any]], field: str) -> tuple[int, ...]:
    return tuple(launch[field] for launch in told if launch[field] is not None)


def _in_turn(names: Sequence[str], turn: int) -> list[str]:
    """Give the names forwards, backwards, forwards, and so on."""
    return list(names) if turn % 2 == 0 else list(reversed(names))
