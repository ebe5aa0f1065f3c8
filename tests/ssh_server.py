"""A real sshd on loopback with throw-away keys, standing for a board: sessions have a temporary folder of their own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
SSH = shutil.which("ssh")

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
PrintMotd no
SetEnv TMPDIR={temporary} SLIMEDGE_DEVICE={temporary}
"""

CLIENT = """
Host *
    IdentityFile {folder}/key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    LogLevel ERROR
"""


class Board:
    """Where it listens, and what lies on it."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.user = getpass.getuser()
        self.temporary = folder / "temporary"
        self.bin = folder / "bin"

    def target(self, runs="", python=sys.executable):
        """Name it as a user would."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{'/' if runs else ''}{runs}?python={python}"

    def left(self):
        """What measurements left behind there; a moment is theirs to tidy up."""
        end = time.monotonic() + 30
        while any(self.temporary.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)
        return sorted(path.name for path in self.temporary.iterdir())

    def script(self, name, text):
        """Put a program there that stands for Python."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)


@contextmanager
def board(folder):
    """Start sshd; `ssh` on the PATH knows its key while the block runs."""
    folder = Path(folder)
    for name in ("temporary", "bin"):
        (folder / name).mkdir()
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    found = Board(folder, port)
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder, temporary=found.temporary))
    host_key = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key[0]} {host_key[1]}\n")
    (folder / "ssh_config").write_text(CLIENT.format(folder=folder))
    wrapper = found.bin / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {SSH} -F {folder}/ssh_config "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=(folder / "sshd.log").open("wb")
    )
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{found.bin}:{path}"
    try:
        _wait_for(port, server)
        yield found
    finally:
        os.environ["PATH"] = path
        server.terminate()
        server.wait()


def _wait_for(port, server):
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("sshd does not listen")
