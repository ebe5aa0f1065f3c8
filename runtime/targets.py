"""Targets by name: `litert`, `ort`, `ort:cuda`, `reference`; what can run here, and why the rest cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimedge.errors import InputError, SlimedgeError
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.devices import DEVICES

if TYPE_CHECKING:
    from slimedge.artifact import Artifact

# What runs a format when nobody says; the first that opens it.
_DEFAULT_BACKENDS = ("litert", "ort", "reference")


@dataclass(frozen=True, slots=True)
class Target:
    """A backend with an execution provider or delegate, on a device."""

    backend: str
    provider: str = "cpu"
    device: str = "local"

    def __str__(self) -> str:
        return self.backend if self.provider == "cpu" else f"{self.backend}:{self.provider}"


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a target can be used here.

    Attributes:
        target: that was looked at.
        version: of its runtime, None where that is not installed.
        reason: why it cannot be used and what to do, None where it can.
    """

    target: Target
    version: str | None
    reason: str | None


def parse_target(name: str) -> Target:
    """Read a target's name.

    Args:
        name: a backend, or a backend and a provider: `ort`, `ort:cpu`, `ort:cuda`.

    Returns:
        The target; whether it can be used is seen when it is.

    Raises:
        InputError: there is no such backend, or the provider is empty.

    Example:
        >>> parse_target("ort:cuda")
        Target(backend='ort', provider='cuda', device='local')
    """
    backend, colon, provider = name.strip().lower().partition(":")
    if backend not in BACKENDS:
        BACKENDS[backend]  # says which there are
    if colon and not provider:
        raise InputError(
            f"the target '{name}' names no provider after the colon; write '{backend}' or '{backend}:cpu'."
        )
    return Target(backend, provider or "cpu")


def formats_of(target: Target) -> tuple[str, ...]:
    """Give the formats that a target runs."""
    formats: tuple[str, ...] = BACKENDS[target.backend].formats
    return formats


def usual_target(format_: str) -> Target:
    """Give the target that runs a format when nobody says.

    Example:
        >>> str(usual_target("tflite")), str(usual_target("onnx"))
        ('litert', 'ort')
    """
    return next(Target(name) for name in _DEFAULT_BACKENDS if format_ in BACKENDS[name].formats)


def target_for(artifact: Artifact, name: str | None = None) -> Target:
    """Give the target to run a file on: the one that was named, or the usual one for its format.

    Raises:
        InputError: the named backend does not open this format.
    """
    if name is None or name.strip().lower() == "cpu":
        return usual_target(artifact.format)
    target = parse_target(name)
    formats = BACKENDS[target.backend].formats
    if artifact.format not in formats:
        fitting = [b for b in BACKENDS if artifact.format in BACKENDS[b].formats]
        raise InputError(
            f"the target '{target}' runs .{', .'.join(formats)} and was given {artifact.path.name}; "
            f"for .{artifact.format} use {' or '.join(fitting)}."
        )
    return target


def available_targets() -> tuple[Availability, ...]:
    """List every backend and provider, asking each runtime in a process of its own."""
    found = []
    for name in BACKENDS:
        backend = BACKENDS[name]
        reason = backend.missing()
        if reason is not None:
            found.append(Availability(Target(name), None, reason))
            continue
        try:
            with DEVICES["local"]().start(name, limit_s=60.0) as agent:
                answer = agent.ask("prepare", threads=1)
        except SlimedgeError as error:
            found.append(Availability(Target(name), None, str(error)))
            continue
        version = answer["facts"]["versions"].get(backend.packages[0])
        found += [
            Availability(Target(name, provider), version, why)
            for provider, why in answer["providers"].items()
        ]
    return tuple(found)
