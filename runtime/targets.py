"""Targets by name: `litert`, `ort:cuda`, `ssh://pi@board/litert`."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING

from slimedge.errors import InputError
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.devices import DEVICES
from slimedge.runtime.devices.naming import LOCAL, device, kind_of, settings, with_settings
from slimedge.runtime.target import Target

if TYPE_CHECKING:
    from slimedge.artifact import Artifact

__all__ = [
    "Target",
    "formats_of",
    "measurer",
    "opens",
    "parse_target",
    "target_for",
    "usual_target",
    "with_backend",
]

# What runs a format when nobody says; the first that opens it.
_DEFAULT_BACKENDS = ("litert", "ort", "reference")


def parse_target(name: str) -> Target:
    """Read a target's name.

    Args:
        name: a backend, or a backend and a provider (`ort`, `ort:cpu`, `ort:cuda`); behind a device and a slash where
            they run elsewhere (`ssh://pi@board/litert`), which runs every format on its usual backend where none is
            named; last `?KEY=VALUE&…`, settings of the device and, where it has none of that name, options of the
            provider.

    Returns:
        The target; whether it can be used is seen when it is.

    Raises:
        InputError: there is no such backend, device or setting, or the provider is empty.

    Example:
        >>> parse_target("ort:cuda")
        Target(backend='ort', provider='cuda', device='local', options=())
        >>> str(parse_target("ssh://pi@board:2222/litert"))
        'ssh://pi@board:2222/litert'
    """
    body, _, query = name.strip().partition("?")
    told = settings(query, name)
    place, runs = _split(body)
    backend, colon, provider = runs.lower().partition(":")
    kind = (place or LOCAL).partition("://")[0]
    if runs and backend not in BACKENDS:
        raise InputError(_no_target(runs if place else body.partition(":")[0]))
    if colon and not provider:
        raise InputError(
            f"the target '{name}' names no provider after the colon; write '{backend}' or '{backend}:cpu'."
        )
    known = DEVICES[kind].settings
    where = with_settings(place or LOCAL, {key: value for key, value in told.items() if key in known})
    options = tuple((key, value) for key, value in told.items() if key not in known)
    device(where)  # says what is wrong with it
    if options and not _takes_options(backend):
        listed = ", ".join(f"{key}={example}" for key, example in known.items()) or "none"
        raise InputError(
            f"'{options[0][0]}' in the target '{name}' is no setting of the device {kind}, which has {listed}; and "
            "there is no provider, as in ort:cuda, whose option it could be."
        )
    return Target(backend, provider or "cpu", where, options)


def _no_target(name: str) -> str:
    """Say that there is no such target, and which there are."""
    close = get_close_matches(name.lower(), (*BACKENDS, *DEVICES), n=1)
    hint = f"; did you mean '{close[0]}'" if close else ""
    return (
        f"there is no target '{name}'{hint}; the runtimes are {', '.join(BACKENDS)}, and the devices "
        f"{', '.join(DEVICES)}."
    )


def _takes_options(backend: str) -> bool:
    """Tell whether a backend's providers have options of their own."""
    return bool(backend) and "provider_options" in signature(BACKENDS[backend].load).parameters


def _split(body: str) -> tuple[str, str]:
    """Give the device, empty for this machine, and what runs on it, empty for the usual."""
    kind, schemed, rest = body.partition("://")
    if schemed:
        authority, _, runs = rest.partition("/")
        DEVICES.check(kind.lower())
        return f"{kind.lower()}://{authority}", runs
    first, slash, runs = body.partition("/")
    if first.lower() in DEVICES:
        return first.lower(), runs
    if slash:
        DEVICES.check(first.lower())
    return "", body


def with_backend(target: Target, format_: str) -> Target:
    """Give the target with the backend that runs a format, where none was named and the device leaves that open.

    Example:
        >>> str(with_backend(parse_target("ssh://pi@board"), "tflite"))
        'ssh://pi@board/litert'
    """
    if target.backend or hasattr(DEVICES[kind_of(target.device)], "formats"):
        return target
    return replace(target, backend=usual_target(format_).backend)


def opens(target: Target, format_: str) -> bool:
    """Tell whether a target runs a format; elsewhere, one without a backend does not run Keras files, which need us."""
    own: tuple[str, ...] | None = getattr(DEVICES[kind_of(target.device)], "formats", None)
    if own is not None:
        return format_ in own and (not target.backend or format_ in formats_of(target))
    if not target.backend:
        return target.device.startswith(LOCAL) or format_ != "keras"
    return format_ in formats_of(target)


def measurer(target: Target) -> str:
    """Give the name of what measures on a target: its device's own way, its backend's, or `agents`.

    Example:
        >>> measurer(parse_target("mcu")), measurer(parse_target("ssh://pi@board/litert"))
        ('microcontrollers', 'agents')
    """
    backend = BACKENDS[target.backend] if target.backend else None
    for place in (DEVICES[kind_of(target.device)], backend):
        own: str | None = getattr(place, "measurer", None)
        if own is not None:
            return own
    return "agents"


def formats_of(target: Target) -> tuple[str, ...]:
    """Give the formats that a target's backend runs."""
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
    if opens(target, artifact.format):
        return with_backend(target, artifact.format)
    fitting = [b for b in BACKENDS if artifact.format in BACKENDS[b].formats]
    kind = DEVICES[kind_of(target.device)]
    formats = formats_of(target) if target.backend else getattr(kind, "formats", ("onnx", "tflite"))
    raise InputError(
        f"the target '{target}' runs .{', .'.join(formats)} and was given {artifact.path.name}; "
        f"for .{artifact.format} use {' or '.join(fitting)}."
    )
