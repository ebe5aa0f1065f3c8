"""What a runtime really executes: how many ops, how many of them on integers, and on which provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimedge.artifact import Artifact
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import load_request
from slimedge.runtime.protocols import Agent, Job
from slimedge.runtime.targets import Target, target_for


@dataclass(frozen=True, slots=True)
class HeavyOp:
    """One op that multiplies matrices: a convolution, a dense layer, a matmul, a recurrent cell.

    Attributes:
        name: of the node (ONNX) or of its output (TFLite).
        kind: op type, as the runtime calls it.
        integer: whether it computes on integers.
    """

    name: str
    kind: str
    integer: bool


@dataclass(frozen=True, slots=True)
class OpCounts:
    """What was counted; what counts as integer is said where each backend counts.

    Attributes:
        integer_ops: executed on integers; None where a backend does not tell.
        total_ops: all of them; None likewise.
        heavy: the ops with nearly all of the arithmetic.
        providers: ops on each execution provider or delegate.
    """

    integer_ops: int | None
    total_ops: int | None
    heavy: tuple[HeavyOp, ...]
    providers: Mapping[str, int | None]


def count_ops(
    artifact: Artifact, target: Target | None = None, *, options: Mapping[str, Any] | None = None
) -> OpCounts:
    """Count the ops that a runtime executes, after its own optimization.

    Args:
        artifact: the model.
        target: where; None for the usual one of the format.
        options: of the backend.

    Raises:
        InputError: a file that the runtime refuses.
        UnavailableError: a provider that is not here.
        RunError: the process ran out of time or memory, or died.
    """
    job = Job(artifact, target or target_for(artifact), options=options or {})
    with Local().start(job.target.backend, limit_s=job.limit_s) as agent:
        agent.ask("load", **load_request(job))
        return ask_ops(agent)


def ask_ops(agent: Agent) -> OpCounts:
    """Count the ops of the model that an agent has loaded."""
    answer = agent.ask("ops")
    return OpCounts(
        integer_ops=answer["integer"],
        total_ops=answer["total"],
        heavy=tuple(HeavyOp(*op) for op in answer["heavy"]),
        providers=answer["providers"],
    )


def heavy_ops(artifact: Artifact, target: Target | None = None) -> tuple[HeavyOp, ...]:
    """Give the convolutions, dense layers and matmuls that a runtime executes, and which of them are integer."""
    return count_ops(artifact, target).heavy
