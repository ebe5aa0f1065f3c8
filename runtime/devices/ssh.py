"""A board over the system's own `ssh`, so that its settings, keys, agents and jump hosts are the user's.

One command starts an agent there: what it needs is the first line on its stdin (Dropbear takes no command longer than
9,000 bytes), files go over the conversation, and the folder that they lie in is removed when the conversation ends,
however it ends. The first conversation holds the device and the files for as long as it is measured; the others share
its connection. The board needs `sh`, `tar`, `gzip`, `base64`, `mktemp`, Python from 3.8 on with numpy, and the runtime.
"""

from __future__ import annotations

import base64
import inspect
import io
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from slimedge.errors import InputError, UnavailableError
from slimedge.runtime import agent, arrays, facts, load_generator, process, sensors
from slimedge.runtime.backends import backend_file, backend_files
from slimedge.runtime.devices.naming import check_settings
from slimedge.runtime.devices.ssh_agent import NO_FOLDER, NO_PYTHON, Address, SshAgent
from slimedge.runtime.protocols import Agent

HOLD_LIMIT_S = 60.0
PYTHON = "python3"  # that is taken where none is named
_PLAIN = re.compile(r"[A-Za-z0-9._~/+-]+")  # of a path that a shell takes as it stands

# Without single quotes: the login shell, whichever it is, hands it to sh in a pair of them.
_SCRIPT = """
d=$(mktemp -d) && cd "$d" || exit {no_folder}
export TMPDIR="$d"
trap "cd /; rm -rf \\"$d\\"" EXIT
trap "exit 129" HUP
trap "exit 143" TERM
read -r files
echo "$files" | base64 -d | gzip -d | tar -xf - || exit {no_folder}
command -v {python} >/dev/null || exit {no_python}
{python} agent.py {backend}
"""


@dataclass(frozen=True, slots=True)
class Ssh:
    """The device `ssh://[USER@]HOST[:PORT]`.

    Attributes:
        host: as `ssh` takes it: `user@host`, or a name of the user's settings.
        port: None for the usual one.
        python: interpreter there that has the runtime; a name or a path.
        options: further ones of `ssh`.
        label: of what is measured there.
        instructions_per_second: of an emulator that counts them by its clock.
    """

    host: str
    port: int | None = None
    python: str = PYTHON
    options: tuple[str, ...] = ()
    label: str = "measured"
    instructions_per_second: float | None = None
    _depot: SshAgent | None = field(default=None, compare=False, repr=False)

    settings: ClassVar[Mapping[str, str]] = {"python": "python3.11"}

    @staticmethod
    def available(_kind: str) -> Iterator[tuple[str, str | None, str | None, str | None]]:
        """Tell how boards are named; see `slimedge.runtime.availability`."""
        yield "ssh://USER@HOST", None, "any board with Python, numpy and a runtime", missing()

    @classmethod
    def named(cls, place: str, told: Mapping[str, str]) -> Ssh:
        """Give the device of this name; see `slimedge.runtime.devices.naming`."""
        check_settings(told, cls.settings, "ssh")
        match = re.fullmatch(
            r"(?P<host>[^\s:/\[\]-][^\s:/\[\]]*|(?:[^\s:/@]+@)?\[[0-9a-fA-F:.]+\])(?::(?P<port>\d+))?", place
        )
        if match is None or (match["port"] and not 0 < int(match["port"]) < 1 << 16):
            raise InputError(
                f"'ssh://{place}' names no host; write ssh://HOST, ssh://USER@HOST or ssh://USER@HOST:PORT."
            )
        python = told.get("python", PYTHON)
        if not _PLAIN.fullmatch(python):
            raise InputError(f"python={python} is not allowed; give a name or a path, as python3.11.")
        host = match["host"].replace("[", "").replace("]", "")
        return cls(host, int(match["port"]) if match["port"] else None, python)

    @property
    def machine(self) -> str:
        """Two devices with the same are one machine."""
        return f"ssh://{self.host}:{self.port or ''}"

    @contextmanager
    def reserved(self) -> Iterator[Self]:
        """Hold the device, so that no other command measures there, and keep one connection for what follows.

        Raises:
            UnavailableError: it cannot be reached, lacks something, or another command holds it.
        """
        reason = missing()
        if reason is not None:
            raise UnavailableError(f"{reason}.")
        with tempfile.TemporaryDirectory(prefix="slimedge-", dir="/tmp") as folder:
            shared = f"ControlPath={folder}/s"
            first = replace(self, options=(*self.options, "-o", "ControlMaster=yes", "-o", shared))
            others = replace(self, options=(*self.options, "-o", "ControlMaster=no", "-o", shared))
            with first._agent(None, limit_s=HOLD_LIMIT_S) as depot:  # noqa: SLF001 - another of this class
                depot.ask("hold")
                yield replace(others, _depot=depot)

    @contextmanager
    def start(self, backend: str, /, *, limit_s: float) -> Iterator[Agent]:
        """Start an agent there to talk with."""
        with self._agent(backend, limit_s=limit_s) as process:
            yield process

    def _agent(self, backend: str | None, *, limit_s: float) -> SshAgent:
        return SshAgent(
            self.command(backend),
            first=base64.b64encode(_packed(_files(backend))),
            name=backend or "slimedge",
            address=Address(self.host, self.port),
            python=self.python,
            limit_s=limit_s,
            depot=self._depot,
        )

    def command(self, backend: str | None) -> list[str]:
        """Give the command that starts an agent there; one without a backend keeps files and holds the device."""
        script = _SCRIPT.format(
            no_folder=NO_FOLDER,
            no_python=NO_PYTHON,
            python=self.python,
            backend=backend_file(backend).name if backend else "",
        )
        settings = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3")
        options = [word for setting in settings for word in ("-o", setting)]
        port = [] if self.port is None else ["-p", str(self.port)]
        return ["ssh", "-T", *options, *self.options, *port, "--", self.host, f"exec sh -c '{script}'"]


def missing() -> str | None:
    """Give why no board can be reached from here and what to do, or None."""
    return None if shutil.which("ssh") else "ssh is not installed; install openssh-client"


def _files(backend: str | None) -> list[Path]:
    """Give the files that an agent is made of."""
    modules = (agent, arrays, facts, load_generator, process, sensors)
    return [Path(inspect.getfile(module)) for module in modules] + list(
        backend_files(backend) if backend else ()
    )


def _packed(files: list[Path]) -> bytes:
    """Pack what the agent needs, which is a few kilobytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in files:
            archive.add(path.resolve(), path.name)
    return packed.getvalue()
