"""A folder on the device that is ours alone, and that the device itself removes, however its user goes away.

A script on the device holds a lock on /data/local/tmp, makes the folder, and waits for the end of its input. That comes
when the block is left, when this process dies, and when the cable is pulled: each time the script ends what still runs
from the folder, removes it, and with the script the lock is gone. What only a device that was switched off can leave is
removed by the next one who holds the lock.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from slimedge.errors import RunError, UnavailableError
from slimedge.runtime.devices.adb.client import Client, Finished

PLACE = "/data/local/tmp"
LIMIT_S = 30.0
LEAVE_S = 5.0  # to say that the folder was removed

# Android's shell is mksh, which hands no descriptor above 2 on, hence the detour by standard input; its flock is silent
# when the lock is taken and says why it cannot lock at all. An old Android has none: then only what this machine
# knows keeps two commands apart, and nothing is removed that could belong to another one.
_SCRIPT = f"""
cd {PLACE} || exit 3
exec 8<.
if command -v flock >/dev/null 2>&1; then
  if why=$(flock -n 0 2>&1 0<&8); then rm -rf slimedge-run.??????
  elif [ -z "$why" ]; then echo busy; exit 0
  fi
fi
folder=$(mktemp -d {PLACE}/slimedge-run.XXXXXX) || exit 4
leave() {{
  trap '' HUP INT TERM PIPE
  if [ -s "$folder/running" ]; then kill -9 $(cat "$folder/running"); fi
  cd /
  rm -rf "$folder" && echo removed
}}
trap leave EXIT
trap 'exit 1' HUP INT TERM PIPE
echo "folder $folder"
while read -r _; do :; done
"""


@contextmanager
def alone_here(serial: str) -> Iterator[None]:
    """Keep other commands of this machine off a device for a block; nothing stays where a process dies in it.

    Raises:
        UnavailableError: another one is at it.
    """
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0slimedge-adb-{serial}")  # a name without a file
        except OSError:
            raise _busy(serial) from None
        yield


@dataclass(frozen=True, slots=True)
class Hold:
    """A held device.

    Attributes:
        folder: on the device.
        process: that the script's life hangs on.
    """

    folder: str
    process: subprocess.Popen[bytes]

    def lost(self, finished: Finished) -> bool:
        """Tell whether a command ended because the device is gone.

        Where adb itself says that something is wrong, the end of the connection may come a little later.
        """
        wait_s = 1.0 if finished.code == 255 or finished.err.startswith(("adb: ", "error: ")) else 0.0
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        return True


@contextmanager
def held(client: Client, *, limit_s: float = LIMIT_S) -> Iterator[Hold]:
    """Hold the device of a client for a block.

    Args:
        client: with its serial.
        limit_s: within which the device has to answer.

    Raises:
        UnavailableError: another command holds it, or it has no folder for us.
        RunError: it does not answer, or it did not confirm that it removed the folder.
    """
    with client.started("shell", "-T", _SCRIPT, stdin=subprocess.PIPE) as process:
        said = _line(process, ("busy", "folder "), limit_s)
        if said == "busy":
            raise _busy(client.serial)
        if said is None:
            raise _refused(client, process, limit_s)
        hold = Hold(said.removeprefix("folder "), process)
        try:
            yield hold
        except RunError as error:
            if _left(process):
                raise
            raise RunError(f"{error} {_leftover(client, hold)}") from error
        except BaseException as error:
            if not _left(process):
                error.add_note(_leftover(client, hold))
            raise
        if not _left(process):
            raise RunError(f"the device {client.serial} stopped answering. {_leftover(client, hold)}")


def _busy(serial: str | None) -> UnavailableError:
    return UnavailableError(
        f"another command measures on the device {serial}; wait until it is done, or name another device."
    )


def _left(process: subprocess.Popen[bytes]) -> bool:
    """End the script's input and tell whether it says that the folder is gone."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        process.stdin.close()
    except OSError:
        return False
    return _line(process, ("removed",), LEAVE_S) is not None


def _leftover(client: Client, hold: Hold) -> str:
    return (
        f"Whether {hold.folder} was removed is not known: the device does that itself when the connection ends, and if "
        f"it was switched off, the next measurement on {client.serial} does."
    )


def _refused(client: Client, process: subprocess.Popen[bytes], limit_s: float) -> UnavailableError | RunError:
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        return RunError(f"the device {client.serial} did not answer 'adb shell' within {limit_s:.3g} s.")
    assert process.stderr is not None  # noqa: S101 - it was asked for
    words = process.stderr.read().decode(errors="replace").strip().splitlines()
    why = words[-1].removeprefix("error: ").rstrip(".") if words else f"exit status {code}"
    if "No space left" in why:
        return UnavailableError(f"the device {client.serial} has no room in {PLACE}; remove something there.")
    return UnavailableError(f"the device {client.serial} gives no folder in {PLACE}: {why}.")


def _line(process: subprocess.Popen[bytes], beginnings: tuple[str, ...], limit_s: float) -> str | None:
    """Read until a line with one of these beginnings; None where the output or the time ends first."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    got = b""
    end_s = time.monotonic() + limit_s
    while (left_s := end_s - time.monotonic()) > 0 and select.select([process.stdout], [], [], left_s)[0]:
        part = os.read(process.stdout.fileno(), 1)
        if not part:
            return None
        got += part
        if part == b"\n":
            line = got.decode(errors="replace").strip()
            if line.startswith(beginnings):
                return line
            got = b""
    return None
