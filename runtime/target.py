"""What a target is: a backend with a provider, on a device."""

from __future__ import annotations

from dataclasses import dataclass

from slimedge.runtime.devices.naming import LOCAL, with_settings


@dataclass(frozen=True, slots=True)
class Target:
    """A backend with an execution provider or delegate, on a device.

    Attributes:
        backend: name in the registry; empty where the device's usual one for each format is meant.
        provider: execution provider or delegate.
        device: name of a device with its settings, as `ssh://pi@board:2222?python=python3.11`.
        options: of the provider, each a key and a value.
    """

    backend: str
    provider: str = "cpu"
    device: str = LOCAL
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        runs = self.backend if self.provider == "cpu" else f"{self.backend}:{self.provider}"
        place, question, told = self.device.partition("?")
        query = "&".join(
            part for part in (told, with_settings("", dict(self.options)).removeprefix("?")) if part
        )
        here = place == LOCAL and runs and not question
        name = runs if here else f"{place}/{runs}".rstrip("/")
        return f"{name}?{query}" if query else name
