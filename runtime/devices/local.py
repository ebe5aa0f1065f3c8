"""This machine: agents are child processes, pinned to as many processors as they have threads."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.measurement import Environment, Measurement, Unit
from slimedge.runtime import facts
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.backends import BACKENDS, backend_file
from slimedge.runtime.protocols import Job

_AGENT = Path(__file__).resolve().parent.parent / "agent.py"


class Local:
    """The device `local`."""

    def measure(self, job: Job, /) -> Measurement:
        """Time one file alone, in a process of its own."""
        with self.start(job.target.backend, limit_s=job.limit_s) as agent:
            answer = agent.ask(
                "measure",
                **load_request(job, cpus=facts.measuring_cpus(job.threads)),
                priority=True,
                window_s=0.01,
                tolerance=0.05,
                warm_limit_s=job.warm_s,
                settle_s=0.0,
                seconds=job.seconds,
                runs=job.runs,
            )
        samples = tuple(nanoseconds / 1e9 for nanoseconds in answer["samples_ns"])
        return Measurement("latency", Unit.SECOND, samples, environment_from(answer["facts"]))

    def start(self, backend: str, /, *, limit_s: float) -> AgentProcess:
        """Start an agent to talk with."""
        command = [sys.executable, str(_AGENT), str(backend_file(backend))]
        return AgentProcess(command, name=backend, limit_s=limit_s)

    def environment(self, threads: int, packages: tuple[str, ...], /) -> Environment:
        """Describe this machine."""
        return environment_from(facts.environment(threads, packages))


def environment_from(told: Mapping[str, Any]) -> Environment:
    """Give what an agent told of its machine as a value."""
    return Environment(**{**told, "isa": tuple(told["isa"])})


def load_request(job: Job, *, cpus: list[int]) -> dict[str, Any]:
    """Give the fields of the agent's `load` request.

    Raises:
        InputError: more threads than this process may use, or a format that the target does not run.
    """
    most = facts.cores()
    if not 1 <= job.threads <= most:
        raise InputError(
            f"threads is {job.threads}, but this process may use 1 to {most} (processors that it is bound to, and "
            "its cgroup's quota)."
        )
    backend = BACKENDS[job.target.backend]
    if job.artifact.format not in backend.formats:
        raise InputError(
            f"{backend.name} runs .{', .'.join(backend.formats)} and was given {job.artifact.path.name}."
        )
    return {
        "model": str(job.artifact.path.absolute()),
        "format": str(job.artifact.format),
        "threads": job.threads,
        "cpus": cpus,
        "options": {"provider": job.target.provider, **job.options},
        "grids": {"inputs": _grids(job.artifact.inputs), "outputs": _grids(job.artifact.outputs)},
        "inputs": None if job.inputs is None else str(job.inputs.absolute()),
        "batch": job.batch,
        "seed": 0,
    }


def _grids(specs: Sequence[TensorSpec]) -> dict[str, tuple[float, int]]:
    return {spec.name: (spec.scale, spec.zero_point or 0) for spec in specs if spec.scale is not None}
