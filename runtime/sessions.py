"""Sessions for the user's process; the model itself runs in an agent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact, TensorSpec
from slimedge.errors import InputError
from slimedge.runtime.arrays import read_arrays, write_arrays
from slimedge.runtime.devices.local import Local
from slimedge.runtime.jobs import load_request
from slimedge.runtime.protocols import Agent, Job, Session
from slimedge.runtime.targets import Target


class AgentSession:
    """A `Session` over an agent that has loaded the model.

    Args:
        agent: that was asked to `load`.
        told: its answer.
        artifact: the model; its outputs give the order.
        folder: for arrays on their way.
    """

    def __init__(self, agent: Agent, told: Mapping[str, Any], artifact: Artifact, folder: Path) -> None:
        self._agent = agent
        self._folder = folder
        self.provider: str = told["provider"]
        self.inputs = _in_order([_spec(spec) for spec in told["inputs"]], artifact.inputs, artifact.path)
        self.outputs = _in_order([_spec(spec) for spec in told["outputs"]], artifact.outputs, artifact.path)

    def predict(self, inputs: Mapping[str, NDArray[Any]], /) -> dict[str, NDArray[np.float32]]:
        """Run a batch of any size; see `slimedge.runtime.protocols.Session`."""
        given, taken = self._folder / "inputs.npz", self._folder / "outputs.npz"
        write_arrays(str(given), inputs)
        self._agent.ask("predict", inputs=str(given), outputs=str(taken))
        outputs = read_arrays(str(taken))
        return {spec.name: outputs[spec.name] for spec in self.outputs}


@contextmanager
def open_session(
    backend: str, artifact: Artifact, *, threads: int, options: Mapping[str, Any], limit_s: float = 600.0
) -> Iterator[Session]:
    """Open a model in a process of its own.

    Args:
        backend: name in the registry.
        artifact: the model.
        threads: of the runtime.
        options: of the backend: `provider`, `allow_fallback`, `trust`.
        limit_s: longest time for loading, and for one call of `predict`.

    Yields:
        A session; the process ends with the block.

    Raises:
        InputError: a file that the runtime refuses, inputs that do not fit.
        UnavailableError: a provider that is not here.
        RunError: the process ran out of time or memory, or died.
    """
    settings = dict(options)
    target = Target(backend, settings.pop("provider", "cpu"))
    job = Job(artifact, target, threads=threads, options=settings, limit_s=limit_s)
    request = load_request(job)
    with (
        tempfile.TemporaryDirectory(prefix="slimedge-") as folder,
        Local().start(backend, limit_s=limit_s) as agent,
    ):
        yield AgentSession(agent, agent.ask("load", **request), artifact, Path(folder))


def _spec(told: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(**{**told, "shape": tuple(told["shape"])})


def _in_order(found: list[TensorSpec], wanted: tuple[TensorSpec, ...], path: Path) -> tuple[TensorSpec, ...]:
    """Sort what the runtime told as Keras has it."""
    if {spec.name for spec in found} != {spec.name for spec in wanted}:
        raise InputError(
            f"{path.name} has {', '.join(repr(spec.name) for spec in found)} where "
            f"{', '.join(repr(spec.name) for spec in wanted)} was expected; read the file again."
        )
    order = [spec.name for spec in wanted]
    return tuple(sorted(found, key=lambda spec: order.index(spec.name)))
