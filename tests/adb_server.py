"""A private server of the real adb, so that the user's own one and its devices are left alone."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

# Settings of adb's server that keep it to the devices that it is told of.
ALONE = {"ADB_MDNS": "0", "ADB_USB": "0", "ADB_LOCAL_TRANSPORT_MAX_PORT": "0"}


@dataclass(frozen=True)
class AdbServer:
    """A private adb server, so that the user's own one and its devices are left alone."""

    program: str
    port: int
    process: subprocess.Popen[bytes]

    def adb(self, *words: str) -> str:
        return subprocess.run(
            [self.program, "-P", str(self.port), *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        ).stdout


@contextlib.contextmanager
def adb_server(program: str, home: Path):
    """Run a private adb server on a port of its own; it is ended with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "-P", str(port), "nodaemon", "server"],
        env={"HOME": str(home), "ANDROID_USER_HOME": str(home), "PATH": os.environ["PATH"], **ALONE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            threading.Event().wait(0.05)
        yield AdbServer(program, port, process)
    finally:
        process.kill()
        process.wait()
