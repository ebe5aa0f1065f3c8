"""A job as the agent's request, and the machine that the agent told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.measurement import Environment
from slimedge.runtime import facts
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.protocols import Job


def load_request(job: Job, *, timed: bool = False) -> dict[str, Any]:
    """Give the fields of the agent's `load` request.

    Args:
        job: what to load.
        timed: whether runs will be timed: the process is pinned, and comes before others where it may.

    Raises:
        InputError: a format that the target does not run.
    """
    backend = BACKENDS[job.target.backend]
    if job.artifact.format not in backend.formats:
        raise InputError(
            f"{backend.name} runs .{', .'.join(backend.formats)} and was given {job.artifact.path.name}."
        )
    return {
        "model": str(job.artifact.path.absolute()),
        "format": str(job.artifact.format),
        "threads": job.threads,
        "pin": timed,
        "priority": timed,
        "options": {
            "provider": job.target.provider,
            **({"provider_options": dict(job.target.options)} if job.target.options else {}),
            **job.options,
        },
        "grids": {"inputs": _grids(job.artifact.inputs), "outputs": _grids(job.artifact.outputs)},
        "inputs": None if job.inputs is None else str(job.inputs.absolute()),
        "batch": job.batch,
        "seed": 0,
    }


def environment_from(told: Mapping[str, Any]) -> Environment:
    """Give what an agent told of its machine as a value."""
    temperatures = told.get("temperature_c")
    return Environment(
        **{
            **told,
            "isa": tuple(told["isa"]),
            "temperature_c": None if temperatures is None else tuple(temperatures),
        }
    )


def environment_here(threads: int, packages: tuple[str, ...]) -> Environment:
    """Describe this machine."""
    return environment_from(facts.environment(threads, packages))


def _grids(specs: Sequence[TensorSpec]) -> dict[str, tuple[float, int]]:
    return {spec.name: (spec.scale, spec.zero_point or 0) for spec in specs if spec.scale is not None}
