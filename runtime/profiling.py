"""What a runtime tells of each op's time, as it tells it."""

from __future__ import annotations

from dataclasses import dataclass

from slimedge.runtime.protocols import Agent

RUNS = 500
SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RuntimeOp:
    """One op of those that a runtime runs.

    Attributes:
        name: as the runtime has it: of a node after ONNX Runtime's optimization, of an XNNPACK kernel.
        kind: op type, likewise.
        provider: execution provider or delegate that ran it.
        node: index of the op in the file's main graph; None where only its place in the order tells.
    """

    name: str
    kind: str
    provider: str
    node: int | None = None


@dataclass(frozen=True, slots=True)
class OpEvent:
    """One op in one run; times count from some moment before the first run.

    Attributes:
        op: its number in the profile.
        start_ns: when it began.
        duration_ns: how long it took, with the ops that ran inside of it.
    """

    op: int
    start_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class ProfiledRun:
    """One run under a profiler: when it began, how long it took, and its ops by start, outer ones first."""

    start_ns: int
    duration_ns: int
    events: tuple[OpEvent, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """What was told of one file.

    Attributes:
        ops: in the order in which they first ran.
        runs: one after the other.
        samples_s: times of runs without the profiler, in the same process before and after.
        resolution_s: to which the times of ops are cut down.
    """

    ops: tuple[RuntimeOp, ...]
    runs: tuple[ProfiledRun, ...]
    samples_s: tuple[float, ...]
    resolution_s: float


def ask_profile(agent: Agent, *, runs: int = RUNS, seconds: float = SECONDS) -> Profile | None:
    """Profile the model that an agent has loaded.

    Args:
        agent: that was asked to `load`.
        runs: at most so many.
        seconds: for about so long, and at least five runs.

    Returns:
        None where the runtime does not tell how long its ops take.

    Raises:
        UnavailableError: this version of the runtime cannot, or not this file.
        RunError: the process ran out of time or memory, or died.
    """
    told = agent.ask("profile", runs=runs, seconds=seconds)
    if told["ops"] is None:
        return None
    return Profile(
        ops=tuple(RuntimeOp(**op) for op in told["ops"]),
        runs=tuple(
            ProfiledRun(
                run["start_ns"], run["duration_ns"], tuple(OpEvent(*event) for event in run["events"])
            )
            for run in told["runs"]
        ),
        samples_s=tuple(sample / 1e9 for sample in told["samples_ns"]),
        resolution_s=told["resolution_ns"] / 1e9,
    )
