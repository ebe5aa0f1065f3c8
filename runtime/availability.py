"""What can run here, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from slimedge.errors import SlimedgeError
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.devices import DEVICES
from slimedge.runtime.devices.local import Local
from slimedge.runtime.protocols import Agent
from slimedge.runtime.target import Target

_NOT_HERE = ", or use --allow-fallback"  # what measuring offers
_LIMIT_S = 120.0  # a GPU's driver may take its time the first time


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a target can be used here.

    Attributes:
        target: its name; of devices elsewhere, how they are named.
        version: of its runtime, None where that is not installed or not here.
        device: that it runs on, where something tells.
        reason: why it cannot be used and what to do, None where it can.
    """

    target: str
    version: str | None = None
    device: str | None = None
    reason: str | None = None


def available_targets() -> tuple[Availability, ...]:
    """List every backend with its providers, asking each runtime in a process of its own, and every kind of device."""
    return (*_of_backends(), *_of_devices())


def _of_backends() -> Iterator[Availability]:
    told: dict[str, Mapping[str, Any] | str] = {}
    with ExitStack() as stack:
        agents: dict[str, Agent] = {}
        for name in BACKENDS:
            reason = BACKENDS[name].missing()
            if reason is None:
                agents[name] = stack.enter_context(Local().start(name, limit_s=_LIMIT_S))
                agents[name].send("prepare", threads=1, devices=True)
            else:
                told[name] = reason
        for name, agent in agents.items():
            try:
                told[name] = agent.receive()
            except SlimedgeError as error:
                told[name] = str(error)
    for name in BACKENDS:
        answer = told[name]
        if isinstance(answer, str):
            yield Availability(name, reason=answer.rstrip("."))
            continue
        versions = answer["facts"]["versions"]
        version = next((versions[p] for p in BACKENDS[name].packages if p in versions), None)
        for provider, reason in answer["providers"].items():
            yield Availability(
                target=str(Target(name, provider)),
                version=version,
                device=answer["devices"].get(provider)
                or (answer["facts"]["cpu"] if provider == "cpu" else None),
                reason=None if reason is None else reason.rstrip(".").removesuffix(_NOT_HERE),
            )


def _of_devices() -> Iterator[Availability]:
    for kind in DEVICES:
        listed = getattr(DEVICES[kind], "available", None)
        if listed is not None:
            yield from (Availability(*row) for row in listed(kind))
