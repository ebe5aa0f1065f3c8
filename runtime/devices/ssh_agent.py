"""A conversation over `ssh`: what its end means, and what is to be done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from slimedge.errors import RunError, SlimedgeError, UnavailableError
from slimedge.runtime.agent import NO_NUMPY
from slimedge.runtime.remote_agent import RemoteAgent

NO_FOLDER, NO_PYTHON = 73, 69  # EX_CANTCREAT and EX_UNAVAILABLE of sysexits.h
_LOST = 255  # what ssh ends with where it is not the command that ended
_SIGNALLED = 128  # a shell ends with this and the signal's number

# What ssh says to what is to be done; {ssh} is the command that connects, {name} the host as known_hosts has it.
_REMEDIES = {
    "IDENTIFICATION HAS CHANGED": "its host key is not the one that is known; make sure that it is the same device, "
    "forget the old key with `ssh-keygen -R '{name}'` and connect once by hand, `{ssh}`",
    "Host key verification failed": "its host key is not known yet; connect once by hand, `{ssh}`, and accept it",
    "Permission denied": "it refuses the login; `{ssh_copy_id}` lets it know your key",
    "Could not resolve": "there is no host of that name; check it, or describe it in ~/.ssh/config",
    "Connection refused": "nothing listens for SSH there; start its SSH server, or name the port: ssh://{host}:PORT",
    "No route to host": "there is no way to it; check that it is on and in this network",
    "Network is unreachable": "there is no way to it; check that it is on and in this network",
    "timed out": "it does not answer; check that it is on and in this network",
}
_ENDINGS = {
    NO_FOLDER: "no folder could be made there, or the few files that measuring needs have no room; free some in its "
    "temporary folder",
    NO_PYTHON: "there is no {python} there; install it, or name another interpreter, as "
    "ssh://{host}?python=/usr/bin/python3.11",
    NO_NUMPY: "its {python} has no numpy; `pip install numpy` there, or name an interpreter that has it, as "
    "ssh://{host}?python=/home/pi/venv/bin/python",
    127: "its shell lacks a command ({said}); it needs sh, mktemp, tar, gzip, base64 and Python",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where `ssh` connects to; see `slimedge.runtime.devices.ssh.Ssh`."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def names(self) -> dict[str, str]:
        """Give what sentences call it."""
        bare = self.host.rpartition("@")[2]
        option = "" if self.port is None else f"-p {self.port} "
        return {
            "host": self.host,
            "ssh": f"ssh {option}{self.host}",
            "ssh_copy_id": f"ssh-copy-id {option}{self.host}",
            "name": bare if self.port is None else f"[{bare}]:{self.port}",
        }


class SshAgent(RemoteAgent):
    """An agent at the other end of `ssh`.

    Args:
        address: of the device.
        python: interpreter there, for messages.
        first: the line that the command reads before the agent does.
        others: of `RemoteAgent`.
    """

    def __init__(
        self, command: list[str], *, address: Address, python: str, first: bytes, **others: Any
    ) -> None:
        super().__init__(command, place=str(address), **others)
        self._address = address
        self._python = python
        self._first = first
        self._answered = False

    def __enter__(self) -> Self:
        super().__enter__()
        assert self._process is not None, "started"  # noqa: S101
        assert self._process.stdin is not None, "a pipe"  # noqa: S101
        with suppress(BrokenPipeError):  # it has ended: receive() tells how
            self._process.stdin.write(self._first + b"\n")
            self._process.stdin.flush()
        return self

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to what was sent."""
        answer = super().receive()
        self._answered = True
        return answer

    def _ended(self) -> SlimedgeError:
        status = self._status()
        if status is None or self._late:
            return super()._ended()
        if status == _LOST:
            return self._lost()
        if status in _ENDINGS:
            told = _ENDINGS[status].format(
                python=self._python, said=self._last_words(), **self._address.names()
            )
            return UnavailableError(told + ".")
        return super()._ended()

    def _status(self) -> int | None:
        """Give the status of the command there, negative where a signal ended it."""
        status = super()._status()
        if status is not None and _SIGNALLED < status < _LOST:
            return _SIGNALLED - status
        return status

    @property
    def _connected(self) -> bool:
        """Whether the device was there when this began."""
        return self._answered or (isinstance(self._depot, SshAgent) and self._depot._answered)  # noqa: SLF001

    def _lost(self) -> SlimedgeError:
        said = self._said()
        for text, remedy in _REMEDIES.items():
            if text in said and not self._connected:
                return UnavailableError(f"{remedy.format(**self._address.names())}.")
        if self._connected:
            return RunError(
                f"the connection was lost while {self._doing}; check that it is on, has power enough and stays in this "
                "network."
            )
        return UnavailableError(
            f"ssh could not connect: {self._last_words()}; try `{self._address.names()['ssh']}` by hand."
        )
