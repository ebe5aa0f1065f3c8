"""Boot the board: from a kept image to a machine that answers to SSH, and to nothing when the block is left."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.files import scratch_folder
from slimedge.runtime.devices.board.image import PROGRAMS, Image

NAME = "arm64"  # of the device, and of the host for `ssh` where it is given a board's options
# The first is the usual one. They differ in what the runtimes' kernels may use: the dot product of four 8-bit integers
# in one instruction (`asimddp`) is there from Arm's v8.2 on.
CPUS = ("cortex-a76", "cortex-a72")
MEMORY_MIB = 1024
LIMIT_S = 120.0
_POLL_S = 0.05
_TRIES = 3  # another program may take the port between our choosing and QEMU's opening it
_READY = re.compile(r"^slimedge board: (ssh-ed25519 \S+)\s*$", re.MULTILINE)

# QEMU ends with the process that started it, even where that was killed itself.
_WITH_PARENT = """
import os, sys
from slimedge.isolation import end_with_parent
end_with_parent(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Board:
    """A board that runs.

    Attributes:
        cpu: that QEMU emulates.
        port: of the loopback, that its SSH answers at.
        identity: file with the key that logs in.
        known_hosts: file with the board's own key.
    """

    cpu: str
    port: int
    identity: Path
    known_hosts: Path

    @property
    def ssh_options(self) -> tuple[str, ...]:
        """Give what `ssh` needs to be told to reach the board and no other, whatever the user's own settings."""
        settings = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": "root",
            "HostKeyAlias": NAME,
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "IdentityFile": self.identity,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
        }
        return ("-F", "none", *(part for key, value in settings.items() for part in ("-o", f"{key}={value}")))

    def ssh(self, command: str) -> list[str]:
        """Give the command line that runs a command on the board."""
        return ["ssh", *self.ssh_options, NAME, command]


@contextmanager
def booted(image: Image, cpu: str = CPUS[0], *, limit_s: float = LIMIT_S) -> Iterator[Board]:
    """Boot a board for as long as the block runs.

    Its root is in its memory, so a board keeps nothing, and the next one is as fresh. It reaches no network, and on
    this machine only the loopback reaches it. It ends with the thread that booted it.

    Args:
        image: what it boots.
        cpu: one of `CPUS`.
        limit_s: longest time until it answers.

    Yields:
        The board, ready for SSH.

    Raises:
        InputError: there is no such processor.
        UnavailableError: QEMU or SSH is not installed.
        RunError: the board did not come up.
    """
    if cpu not in CPUS:
        raise InputError(f"the emulated board has no processor '{cpu}'; it has {' and '.join(CPUS)}.")
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise UnavailableError(
                f"{program} is not installed, and the emulated board needs it; on Debian and Ubuntu, apt-get install "
                f"{package}."
            )
    with scratch_folder() as folder:
        identity, known_hosts = folder / "identity", folder / "known_hosts"
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(identity)]
        subprocess.run(key, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        login = identity.with_suffix(".pub").read_text().split()[1]
        for last in (number == _TRIES for number in range(1, _TRIES + 1)):
            port = _free_port()
            process = _start(image, cpu, port, login, folder)
            try:
                own_key = _own_key(process, folder, limit_s)
                if own_key is None and not last:
                    continue
                if own_key is None:
                    raise RunError(f"the emulated board did not start: {_last_words(folder)}.")
                known_hosts.write_text(f"{NAME} {own_key}\n")
                yield Board(cpu, port, identity, known_hosts)
                return
            finally:
                process.kill()
                process.wait()


def qemu_command(image: Image, cpu: str, port: int, login: str, console: Path) -> list[str]:
    """Give the command line of QEMU.

    Args:
        image: what it boots.
        cpu: as QEMU calls it.
        port: of the loopback, that leads to the board's SSH.
        login: the public key that may log in.
        console: file for what the board prints.
    """
    kernel = f"console=ttyAMA0 quiet cryptomgr.notests panic=-1 nokaslr norandmaps slimedge.key={login}"
    return [
        *("-machine", "virt", "-cpu", cpu, "-smp", "1", "-m", str(MEMORY_MIB)),
        # One instruction is one nanosecond of the board's clock. When it idles, that goes on in real time, not at once
        # to the next timer: the board's time-outs (of a login, of TCP) would else be over while this machine works.
        *("-icount", "shift=0,sleep=on"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none"),
        *("-serial", f"file:{console}"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs), "-append", kernel),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-device,netdev=net"),
    ]


def qemu_version() -> str:
    """Give the version of QEMU."""
    told = subprocess.run([_qemu(), "--version"], capture_output=True, text=True, check=True).stdout
    return told.partition("version ")[2].split()[0]


def _qemu() -> str:
    return shutil.which("qemu-system-aarch64") or "qemu-system-aarch64"


def _start(image: Image, cpu: str, port: int, login: str, folder: Path) -> subprocess.Popen[bytes]:
    console = folder / "console"
    console.write_bytes(b"")
    arguments = qemu_command(image, cpu, port, login, console)
    with (folder / "errors").open("wb") as errors:
        # A session of its own: Ctrl-C reaches only us, and we end it.
        return subprocess.Popen(
            [sys.executable, "-c", _WITH_PARENT, str(os.getpid()), _qemu(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )


def _own_key(process: subprocess.Popen[bytes], folder: Path, limit_s: float) -> str | None:
    """Wait for the board to tell its key, which it does when its SSH listens; None where QEMU did not start at all.

    Raises:
        RunError: the board ended, or was not up in time.
    """
    deadline = time.monotonic() + limit_s
    while True:
        ended = process.poll() is not None
        told = (folder / "console").read_text(errors="replace")
        found = _READY.search(told)
        if found is not None:
            return found[1]
        if ended and not told:
            return None
        if ended or time.monotonic() > deadline:
            how = "ended while it booted" if ended else f"was not up after {limit_s:g} s"
            raise RunError(f"the emulated board {how}: {_last_words(folder)}.")
        time.sleep(_POLL_S)


def _last_words(folder: Path) -> str:
    told = "".join((folder / name).read_text(errors="replace") for name in ("console", "errors"))
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["it said nothing"]
    panic = next((line for line in lines if "Kernel panic" in line), lines[-1])
    return panic.rstrip(".")[:300]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
