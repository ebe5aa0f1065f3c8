"""What a backend, a session, an agent and a device promise; everything else in `runtime/` is written against these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact, TensorSpec
from slimedge.runtime.target import Target


class Session(Protocol):
    """An open model that takes and gives float32 by Keras names, whatever the types in the file."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    provider: str

    def predict(self, inputs: Mapping[str, NDArray[Any]], /) -> dict[str, NDArray[np.float32]]:
        """Run a batch of any size.

        Args:
            inputs: (batch, …) by input name.

        Returns:
            (batch, …) by output name, in Keras order.
        """


class LoadedModel(Protocol):
    """A model in the agent's process. Specs are dicts with the fields of `TensorSpec`; arrays have the file's types."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    provider: str

    def run(self, feeds: dict[str, Any], /) -> dict[str, Any]:
        """Give the outputs by name."""

    def bind(self, feeds: dict[str, Any], /) -> Callable[[], object]:
        """Give a call that writes the inputs, runs once and reads every output: what latency means."""

    def bind_resident(self, feeds: dict[str, Any], /) -> Callable[[], object] | None:
        """Give a call that runs once on inputs that lie on the device already; None where nothing is copied."""

    def ops(self, feeds: dict[str, Any], /) -> dict[str, Any]:
        """Give `integer`, `total`, `heavy` and `providers`; see `slimedge.runtime.ops.OpCounts`."""


class Profiling(LoadedModel, Protocol):
    """A loaded model whose runtime tells how long each op takes; others have no such method."""

    def profile(self, feeds: dict[str, Any], /, *, warm_runs: int, runs: int) -> dict[str, Any]:
        """Time the ops in runs that come after some that are not kept.

        Returns:
            `resolution_ns`, to which times are cut down; `ops` [{`name` and `kind` as the runtime has them, `provider`,
            `node`: index in the file, or null where only the order tells}]; `runs` [{`start_ns`, `duration_ns`,
            `events` [[index of the op, start_ns, duration_ns]], an op around others (a loop) before those}].

        Raises:
            ImportError: it cannot here, and why; one sentence for the user.
        """


class Backend(Protocol):
    """One runtime; its file offers it as `BACKEND`, and travels with the agent, so it imports without slimedge.

    Attributes:
        name: in the registry.
        formats: that it opens.
        packages: distributions whose versions belong to a measurement.

    Where there is more to travel, `parts` names files beside its own, which it imports by `from . import`.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]]

    def missing(self) -> str | None:
        """Give why it cannot run here and what to do, or None; imports nothing heavy."""

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model; native code runs in a process of its own."""

    def prepare(self) -> None:
        """In the agent: import the runtime."""

    def providers(self) -> Mapping[str, str | None]:
        """In the agent, prepared: execution providers or delegates worth naming, and why one cannot be used or None."""

    def load(self, path: str, format: str, /, *, threads: int, **options: Any) -> LoadedModel:  # noqa: A002
        """In the agent: load a model.

        Raises:
            ValueError: a file or option that cannot be used; one sentence for the user.
            ImportError: a provider that is not here or does not run the whole model; one sentence for the user.
        """


class Agent(Protocol):
    """A conversation with a fresh process that runs one backend; see `runtime/agent.py` for the requests."""

    def ask(self, do: str, /, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""

    def send(self, do: str, /, **fields: Any) -> None:
        """Send a request without waiting, so that several agents can get ready at once."""

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to what was sent.

        Raises:
            InputError, UnavailableError, RunError: what the agent answered, or how it ended.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """One file to be timed on one target.

    Attributes:
        artifact: the file.
        target: where.
        threads: of the runtime, and processors that the process is pinned to; None for all that it may use.
        options: of the backend, beside the target's provider (`allow_fallback`, `trust`).
        inputs: `.npz` with arrays by input name; None gives seeded random numbers.
        batch: examples in one run, where the file leaves that open.
        warm_s: longest warm-up.
        seconds: least time to measure.
        runs: least number of runs to measure.
        limit_s: after which the agent is ended.
    """

    artifact: Artifact
    target: Target
    threads: int | None = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Path | None = None
    batch: int = 1
    warm_s: float = 1.0
    seconds: float = 1.0
    runs: int = 30
    limit_s: float = 600.0


class Device(Protocol):
    """A place where agents run.

    Attributes:
        machine: two devices with the same one share its processors, and are measured one after the other.
        label: what its figures are: `measured`, or `emulated`.
        instructions_per_second: of an emulator whose clock counts instructions; None elsewhere.
    """

    @property
    def machine(self) -> str: ...  # noqa: D102 - see above

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def instructions_per_second(self) -> float | None: ...  # noqa: D102

    def reserved(self) -> AbstractContextManager[Device]:
        """Give the device ready to start agents, held against other commands for as long as the block runs.

        Raises:
            UnavailableError: it is not there, or held by another.
        """

    def start(self, backend: str, /, *, limit_s: float) -> AbstractContextManager[Agent]:
        """Start an agent to talk with, so that several can take turns."""
