"""The emulated board as a device: booted for as long as it is reserved, and then reached as any other over SSH."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from slimedge.errors import InputError
from slimedge.runtime.devices.board.booting import CPUS, NAME, Board, booted, qemu_version
from slimedge.runtime.devices.board.counting import INSTRUCTIONS_PER_SECOND, LABEL
from slimedge.runtime.devices.board.image import missing, usual_image
from slimedge.runtime.devices.naming import check_settings
from slimedge.runtime.devices.ssh import Ssh
from slimedge.runtime.protocols import Agent, Device


@dataclass(frozen=True, slots=True)
class Arm64:
    """The device `arm64`.

    Attributes:
        cpu: that QEMU emulates, one of `CPUS`.
    """

    cpu: str = CPUS[0]

    machine: ClassVar[str] = "local"  # it takes a whole processor of this machine
    label: ClassVar[str] = LABEL
    instructions_per_second: ClassVar[float] = INSTRUCTIONS_PER_SECOND
    settings: ClassVar[Mapping[str, str]] = {"cpu": CPUS[-1]}

    @staticmethod
    def available(kind: str) -> Iterator[tuple[str, str | None, str | None, str | None]]:
        """List the board; see `slimedge.runtime.availability`."""
        reason = missing()
        version = None if reason else f"QEMU {qemu_version()}"
        yield kind, version, f"emulated: {' or '.join(CPUS)}, counts instructions", reason

    @classmethod
    def named(cls, place: str, told: Mapping[str, str]) -> Arm64:
        """Give the device of this name; see `slimedge.runtime.devices.naming`."""
        if place != NAME:
            raise InputError(f"'{NAME}://{place}' is not allowed; the emulated board is plainly '{NAME}'.")
        check_settings(told, cls.settings, NAME)
        cpu = told.get("cpu", cls().cpu)
        if cpu not in CPUS:
            raise InputError(f"cpu={cpu} is not allowed; the emulated board has {' and '.join(CPUS)}.")
        return cls(cpu)

    @contextmanager
    def reserved(self) -> Iterator[Device]:
        """Boot a board and give it.

        Raises:
            UnavailableError: QEMU, SSH or the image is not there.
            RunError: the board did not come up.
        """
        with booted(usual_image(), self.cpu) as board, over_ssh(board).reserved() as device:
            yield device

    @contextmanager
    def start(self, backend: str, /, *, limit_s: float) -> Iterator[Agent]:
        """Start an agent on a board of its own."""
        with (
            booted(usual_image(), self.cpu) as board,
            over_ssh(board).start(backend, limit_s=limit_s) as agent,
        ):
            yield agent


def over_ssh(board: Board) -> Ssh:
    """Give a board that runs as a device."""
    return Ssh(
        NAME,
        options=board.ssh_options,
        label=LABEL,
        instructions_per_second=INSTRUCTIONS_PER_SECOND,
    )
