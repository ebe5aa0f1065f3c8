"""Arm Ethos-U NPUs: what their compiler, Vela, estimates of a file; nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from slimedge.runtime.devices.naming import check_settings
from slimedge.runtime.vela.compiling import missing, version


@dataclass(frozen=True, slots=True)
class EthosU:
    """The device `ethos-u55-128` and the like.

    Attributes:
        configuration: of the NPU, by Vela's name.
        system_config: of clock and memories; None for Vela's default.
        memory_mode: of what lies where; None for Vela's default.
        folder: where the compiled file is kept; None for beside the model.
    """

    configuration: str
    system_config: str | None = None
    memory_mode: str | None = None
    folder: Path | None = None

    machine: ClassVar[str] = "local"
    label: ClassVar[str] = "estimated"
    measurer: ClassVar[str] = "npus"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    settings: ClassVar[Mapping[str, str]] = {
        "system_config": "Ethos_U55_High_End_Embedded",
        "memory_mode": "Shared_Sram",
        "folder": "compiled",
    }

    @staticmethod
    def available(kind: str) -> Iterator[tuple[str, str | None, str | None, str | None]]:
        """List one configuration; see `slimedge.runtime.availability`."""
        yield kind, version(), None, missing()

    @classmethod
    def named(cls, place: str, told: Mapping[str, str]) -> EthosU:
        """Give the device of this name; see `slimedge.runtime.devices.naming`."""
        check_settings(told, cls.settings, place)
        folder = told.get("folder")
        return cls(
            place,
            told.get("system_config"),
            told.get("memory_mode"),
            None if folder is None else Path(folder),
        )
