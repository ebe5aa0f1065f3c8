"""What one file answers to the examples, and how the runtime executes it, from one process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact, TensorSpec
from slimedge.progress import Progress, silent
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import load_request
from slimedge.runtime.ops import ask_ops
from slimedge.runtime.protocols import Device, Job
from slimedge.runtime.sessions import AgentSession
from slimedge.runtime.targets import Target

if TYPE_CHECKING:
    from slimedge.data import Data

_BATCH_BYTES = 1 << 25
_MOST_IN_A_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one file answered.

    Attributes:
        outputs: (n, …) float32 arrays in Keras order; None without examples.
        integer_ops: ops that the runtime executes on integers; None where it does not tell.
        total_ops: all ops, likewise.
        notes: what the reader should know.
    """

    outputs: tuple[NDArray[np.float32], ...] | None
    integer_ops: int | None
    total_ops: int | None
    notes: tuple[str, ...] = ()


def predict(
    artifact: Artifact,
    target: Target,
    data: Data | None,
    *,
    device: Device | None = None,
    inputs: Sequence[TensorSpec],
    options: Mapping[str, Any] | None = None,
    doing: str = "running",
    progress: Progress = silent,
) -> Predictions:
    """Run a file over all examples and count its ops, in a process of its own.

    Args:
        artifact: the file.
        target: where it runs.
        data: bound to `inputs`; None counts the ops only.
        device: where, reserved; None for this machine.
        inputs: that the data is bound to, in Keras order; the file's are fed in the same order, whatever their names.
        options: of the backend.
        doing: what progress shows.
        progress: told the share that is done.

    Returns:
        The answers, in the data's order.

    Raises:
        InputError: a file or examples that the runtime refuses.
        UnavailableError: a runtime or provider that is not here.
        RunError: the process ran out of time or memory, or died.
    """
    job = Job(artifact, target, threads=None, options=options or {})
    progress(doing)
    with (
        tempfile.TemporaryDirectory(prefix="slimedge-") as folder,
        (device or Local()).start(target.backend, limit_s=job.limit_s) as agent,
    ):
        told = agent.ask("load", **load_request(job))
        session = AgentSession(agent, told, artifact, Path(folder))
        outputs = None
        if data is not None:
            names = {given.name: own.name for given, own in zip(inputs, session.inputs, strict=True)}
            pieces = []
            done = 0
            for batch, _ in data.batches(_batch_size(inputs)):
                answers = session.predict({names[name]: array for name, array in batch.items()})
                pieces.append([answers[spec.name] for spec in session.outputs])
                done += len(next(iter(batch.values())))
                progress(doing, done / len(data))
            outputs = tuple(np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        ops = ask_ops(agent)
    return Predictions(outputs, ops.integer_ops, ops.total_ops)


def _batch_size(inputs: Sequence[TensorSpec]) -> int:
    """Give how many examples fit some 32 MB, so that large images do not fill the memory."""
    numbers = sum(int(np.prod([size or 1 for size in spec.shape[1:]])) for spec in inputs)
    return max(1, min(_MOST_IN_A_BATCH, _BATCH_BYTES // (4 * max(1, numbers))))
