"""Devices by name: `local?memory=256M`, `ssh://pi@board:2222?python=python3.11`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from slimedge.errors import InputError
from slimedge.runtime.devices import DEVICES

if TYPE_CHECKING:
    from slimedge.runtime.protocols import Device

LOCAL = "local"


def kind_of(name: str) -> str:
    """Give the kind of device that a name begins with.

    Raises:
        InputError: there is no such kind.

    Example:
        >>> kind_of("ssh://pi@board"), kind_of("local?cores=1")
        ('ssh', 'local')
    """
    kind = name.partition("?")[0].partition("://")[0].lower()
    DEVICES.check(kind)
    return kind


def device(name: str) -> Device:
    """Give a device by its name.

    Args:
        name: the kind; behind `://` where it is; behind `?` its settings.

    Raises:
        InputError: there is no such kind or setting, or a setting's value is not allowed.
    """
    place, _, query = name.partition("?")
    kind = kind_of(name)
    _, schemed, rest = place.partition("://")
    found: Device = DEVICES[kind].named(rest if schemed else kind, settings(query, name))
    return found


def settings(query: str, name: str) -> dict[str, str]:
    """Read `KEY=VALUE&…`.

    Args:
        query: what stands behind the question mark.
        name: of the target, for messages.

    Raises:
        InputError: a part without a value, or a key twice.

    Example:
        >>> settings("cores=1&memory=256M", "local?cores=1&memory=256M")
        {'cores': '1', 'memory': '256M'}
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        pairs = [("", "")]
    keys = [key for key, _ in pairs]
    if not all(key and value for key, value in pairs) or len(set(keys)) < len(keys):
        raise InputError(
            f"'{query}' in the target '{name}' is not allowed; write each setting once, as KEY=VALUE, with & between "
            "them."
        )
    return dict(pairs)


def with_settings(name: str, told: Mapping[str, str]) -> str:
    """Write a name with its settings.

    Example:
        >>> with_settings("local", {"cores": "1"})
        'local?cores=1'
    """
    return f"{name}?{urlencode(told, safe='/:')}" if told else name


def check_settings(given: Mapping[str, str], allowed: Mapping[str, Any], kind: str) -> None:
    """Raise InputError for a setting that a kind of device does not have."""
    odd = next((key for key in given if key not in allowed), None)
    if odd is not None:
        listed = ", ".join(f"{key}={example}" for key, example in allowed.items()) or "none"
        raise InputError(f"'{odd}' is no setting of the device {kind}; it has {listed}.")
