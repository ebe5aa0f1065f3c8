"""The program `adb`: found, run with a time limit, and what it complains of in one sentence.

It reads ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT itself, and starts its server where none runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from slimedge.errors import RunError, UnavailableError

_KEPT_BYTES = 1 << 20  # of each stream; the rest is read and dropped


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that came to an end.

    Attributes:
        code: exit status, 255 or 1 where adb itself failed.
        out: standard output, its first megabyte.
        err: standard error, likewise.
    """

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line of what it said, for a message."""
        lines = [line.strip() for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        return (
            lines[-1].removeprefix("adb: ").removeprefix("error: ").rstrip(".")[:300]
            if lines
            else "it said nothing"
        )


def executable() -> str:
    """Give the path of adb: the user's own, since two versions end each other's server, else the extra's.

    Raises:
        UnavailableError: there is none.
    """
    found = shutil.which("adb")
    if found is not None:
        return found
    extra = importlib.util.find_spec("adbutils")
    folders = [] if extra is None else list(extra.submodule_search_locations or ())
    for folder in folders:
        bundled = Path(folder) / "binaries" / "adb"
        if bundled.is_file() and os.access(bundled, os.X_OK):
            return str(bundled)
    raise UnavailableError(
        "adb is not here; pip install 'slimedge[adb]' brings it to Linux on x86-64, elsewhere install Android's "
        "platform-tools so that adb is on the PATH."
    )


@dataclass(frozen=True, slots=True)
class Client:
    """adb, and the device that it talks to.

    Attributes:
        program: path of adb.
        serial: of the device, None for commands to adb alone.
    """

    program: str
    serial: str | None = None

    @classmethod
    def found(cls, serial: str | None = None) -> Self:
        """Give the one of this machine.

        Raises:
            UnavailableError: there is none.
        """
        return cls(executable(), serial)

    def run(self, *words: str, limit_s: float, late: str | None = None) -> Finished:
        """Run a command to its end.

        Args:
            words: of adb's command line.
            limit_s: after which it is ended.
            late: the message then, None for a general one.

        Raises:
            RunError: it did not end in time.
        """
        with self.started(*words) as process:
            streams = [_Kept(process.stdout), _Kept(process.stderr)]
            try:
                code = process.wait(max(limit_s, 0.0))
            except subprocess.TimeoutExpired:
                raise RunError(
                    late or f"{self._place} did not answer 'adb {words[0]}' within {limit_s:.3g} s."
                ) from None
            out, err = (stream.text() for stream in streams)
        return Finished(code, out, err)

    def shell(self, script: str, *, limit_s: float, late: str | None = None) -> Finished:
        """Run a shell script on the device."""
        return self.run("shell", "-T", script, limit_s=limit_s, late=late)

    @contextmanager
    def started(self, *words: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command; it is ended where the block leaves it running.

        A process group of its own keeps a Ctrl-C from ending it before its device is cleaned.
        """
        device = [] if self.serial is None else ["-s", self.serial]
        with subprocess.Popen(
            [self.program, *device, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def _place(self) -> str:
        return "adb's server" if self.serial is None else f"the device {self.serial}"


class _Kept:
    """A stream that is read to its end, of which the start is kept."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Give what was kept, once the process has ended."""
        self._thread.join(timeout=5)
        return b"".join(self._parts).decode(errors="replace")

    def _read(self) -> None:
        room = _KEPT_BYTES
        with contextlib.suppress(OSError, ValueError):
            while self._stream is not None and (part := os.read(self._stream.fileno(), 1 << 16)):
                self._parts.append(part[:room])
                room -= min(room, len(part))
