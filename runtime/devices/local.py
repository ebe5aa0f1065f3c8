"""This machine, or less of it: agents are child processes, pinned to as many processors as they have threads."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from slimedge.errors import InputError
from slimedge.runtime import agent, facts
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.backends import backend_file
from slimedge.runtime.confinement import confined
from slimedge.runtime.protocols import Agent

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d+)([KMG]?)(?:I?B)?", re.IGNORECASE)
LEAST_BYTES = 32 << 20  # Python with numpy alone takes some 30 MB


@dataclass(frozen=True, slots=True)
class Local:
    """The device `local`.

    Less memory and fewer processors show what a smaller device has room for, not how fast it is: a slower core cannot
    be had by taking time from a fast one.

    Attributes:
        cores: processors that a process may use; None for all of this machine's.
        memory_bytes: that a process may use; None for all.
    """

    cores: int | None = None
    memory_bytes: int | None = None

    machine: ClassVar[str] = "local"
    label: ClassVar[str] = "measured"
    instructions_per_second: ClassVar[float | None] = None
    settings: ClassVar[Mapping[str, str]] = {"cores": "1", "memory": "256M"}

    @classmethod
    def named(cls, place: str, told: Mapping[str, str]) -> Local:
        """Give the device of this name; see `slimedge.runtime.devices.naming`."""
        if place != "local":
            raise InputError(f"'local://{place}' is not allowed; this machine is plainly 'local'.")
        return cls(_cores(told.get("cores")), _bytes(told.get("memory")))

    @contextmanager
    def reserved(self) -> Iterator[Self]:
        """Nothing has to be done for this machine."""
        yield self

    @contextmanager
    def start(self, backend: str, /, *, limit_s: float) -> Iterator[Agent]:
        """Start an agent to talk with."""
        limits = [] if self.cores is None else ["--cores", str(self.cores)]
        command = [sys.executable, str(Path(agent.__file__).resolve()), *limits, str(backend_file(backend))]
        with (
            confined(self.memory_bytes) as wrapper,
            AgentProcess([*wrapper, *command], name=backend, limit_s=limit_s) as process,
        ):
            yield process


def _cores(given: str | None) -> int | None:
    if given is None:
        return None
    most = facts.cores()
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise InputError(f"cores={given} is not allowed; this machine has 1 to {most}.")
    return int(given)


def _bytes(given: str | None) -> int | None:
    if given is None:
        return None
    match = _SIZE.fullmatch(given)
    size = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    if size < LEAST_BYTES:
        raise InputError(
            f"memory={given} is not allowed; give {LEAST_BYTES >> 20}M or more, as 256M or 1G: Python and a runtime "
            "need that much themselves."
        )
    return size
