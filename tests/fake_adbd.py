"""A device for the real adb to talk with: its protocol over TCP, with shell commands that really run, in a folder.

The protocol is that of packages/modules/adb/protocol.txt and SYNC.TXT in the Android sources: messages of six
little-endian words, streams that are opened, written, acknowledged and closed; in a shell's stream, packets with a
letter for what they carry and a length. The folder stands for the root of the device: `/data/local/tmp`, `/proc` and
`/sys` in what is asked for mean those below it, and commands of the device that this machine lacks are scripts in it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

_CNXN, _AUTH, _OPEN, _OKAY, _CLSE, _WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
_MAX_DATA = 256 * 1024
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


@dataclass
class FakeAdbd:
    """A device at a port of the loopback.

    Attributes:
        root: folder that stands for the root of the device.
        shell: that runs its commands.
        features: that it tells adb of.
        authorized: whether it accepts the computer's key.
        room_bytes: after which its disk is full, None for never.
        commands: that it was asked to run.
    """

    root: Path
    shell: str = "sh"
    features: str = "shell_v2,cmd"
    authorized: bool = True
    room_bytes: int | None = None
    commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._shells: list[_Shell] = []
        self._frozen = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def tmp(self) -> Path:
        return self.root / "data/local/tmp"

    def drop(self) -> None:
        """Lose the connection, as a pulled cable does, and do not take it up again."""
        for one in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
                one.close()

    def freeze(self) -> None:
        """Answer nothing any more."""
        self._frozen.set()

    def close(self) -> None:
        self.drop()
        for shell in self._shells:
            shell.end()

    def running(self) -> list[int]:
        """Give the processes that the device's commands left running: all have the root as their mark."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    folder.name.isdigit()
                    and f"DEVICE={self.root}\0".encode() in (folder / "environ").read_bytes()
                ):
                    found.append(int(folder.name))
        return found

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=_Connection(self, connection).run, daemon=True).start()

    def mapped(self, text: str) -> str:
        """Put what is asked of the device into its folder."""
        for place in ("/data/local/tmp", "/proc/", "/sys/"):
            text = text.replace(place, f"{self.root}{place}")
        return text


class _Connection:
    """A computer's adb server."""

    def __init__(self, device: FakeAdbd, connection: socket.socket) -> None:
        self.device = device
        self._socket = connection
        self._sending = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self._next = 1

    def run(self) -> None:
        try:
            while True:
                command, first, second, data = self._receive()
                if self.device._frozen.is_set():
                    continue
                self._handle(command, first, second, data)
        except (OSError, EOFError):
            for stream in list(self._streams.values()):
                stream.ended()

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        if self.device._frozen.is_set():
            return
        header = struct.pack(
            "<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF
        )
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(header + data)

    def forget(self, own: int) -> None:
        self._streams.pop(own, None)

    def _receive(self) -> tuple[int, int, int, bytes]:
        command, first, second, length, _, _ = struct.unpack("<6I", self._exactly(24))
        return command, first, second, self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            part = self._socket.recv(length - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def _handle(self, command: int, first: int, second: int, data: bytes) -> None:
        if command == _CNXN and self.device.authorized:
            named = "ro.product.name=fake;ro.product.model=Fake_8;ro.product.device=fake"
            banner = f"device::{named};features={self.device.features}"
            self.send(_CNXN, 0x01000000, _MAX_DATA, banner.encode())
        elif command in {_CNXN, _AUTH} and not self.device.authorized:
            if (
                first != 3
            ):  # a public key waits for somebody to accept the prompt; a signature by an unknown one fails
                self.send(_AUTH, 1, 0, bytes(20))
        elif command == _OPEN:
            self._open(first, data.rstrip(b"\0").decode())
        elif second in self._streams:
            stream = self._streams[second]
            if command == _OKAY:
                stream.ready.set()
            elif command == _WRTE:
                self.send(_OKAY, second, first)
                stream.write(data)
            elif command == _CLSE:
                self.forget(second)
                stream.ended()

    def _open(self, other: int, service: str) -> None:
        own, self._next = self._next, self._next + 1
        kind, _, rest = service.partition(":")
        if kind == "sync":
            self._streams[own] = _Sync(self, own, other)
        elif kind.startswith("shell,v2"):
            shell = _Shell(self, own, other, rest)
            self._streams[own] = shell
            self.device._shells.append(shell)
        else:
            self.send(_CLSE, 0, other)
            return
        self.send(_OKAY, own, other)
        self._streams[own].start()


class _Stream:
    """One stream of a connection: every message that is sent waits for the acknowledgement of the one before."""

    def __init__(self, connection: _Connection, own: int, other: int) -> None:
        self.connection, self.own, self.other = connection, own, other
        self.ready = threading.Event()
        self.ready.set()
        self._gone = False
        self._turn = threading.Lock()

    def say(self, data: bytes) -> None:
        with self._turn:
            while not self.ready.wait(0.05):
                if self._gone:
                    return
            self.ready.clear()
            self.connection.send(_WRTE, self.own, self.other, data)

    def close(self) -> None:
        while not self.ready.wait(0.05):
            if self._gone:
                return
        self.connection.forget(self.own)
        self.connection.send(_CLSE, self.own, self.other)

    def start(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def ended(self) -> None:
        self._gone = True


class _Shell(_Stream):
    """A command without a terminal. When its stream ends, it gets a hangup and its pipes are closed, as on Android."""

    def __init__(self, connection: _Connection, own: int, other: int, command: str) -> None:
        super().__init__(connection, own, other)
        device = connection.device
        device.commands.append(command)
        self._waiting = b""
        self._process = subprocess.Popen(
            [device.shell, "-c", device.mapped(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=device.root,
            env={"PATH": f"{device.root}/bin:{os.environ['PATH']}", "DEVICE": str(device.root), "HOME": "/"},
            start_new_session=True,
        )

    def start(self) -> None:
        threading.Thread(target=self._finish, daemon=True).start()

    def write(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) >= 5:
            kind, length = struct.unpack("<BI", self._waiting[:5])
            if len(self._waiting) < 5 + length:
                return
            carried, self._waiting = self._waiting[5 : 5 + length], self._waiting[5 + length :]
            with contextlib.suppress(OSError, ValueError):
                if kind == _STDIN:
                    self._process.stdin.write(carried)
                    self._process.stdin.flush()
                elif kind == _CLOSE_STDIN:
                    self._process.stdin.close()

    def ended(self) -> None:
        super().ended()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGHUP)
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def end(self) -> None:
        """For the end of a test: leave nothing of the session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _finish(self) -> None:
        pipes = [(self._process.stdout, _STDOUT), (self._process.stderr, _STDERR)]
        threads = [threading.Thread(target=self._pass_on, args=pipe, daemon=True) for pipe in pipes]
        for thread in threads:
            thread.start()
        code = self._process.wait()
        for thread in threads:
            thread.join(1)
        self.say(struct.pack("<BIB", _EXIT, 1, code if code >= 0 else 0x80 | -code))
        self.close()

    def _pass_on(self, pipe: object, kind: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            root = str(self.connection.device.root).encode()
            while part := os.read(pipe.fileno(), 1 << 15).replace(root, b""):
                self.say(struct.pack("<BI", kind, len(part)) + part)


class _Sync(_Stream):
    """Files that are asked for and sent; nothing is ever fetched."""

    def __init__(self, connection: _Connection, own: int, other: int) -> None:
        super().__init__(connection, own, other)
        self._got: queue.Queue[bytes] = queue.Queue()
        self._rest = b""

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def write(self, data: bytes) -> None:
        self._got.put(data)

    def ended(self) -> None:
        super().ended()
        self._got.put(b"")

    def _take(self, length: int) -> bytes:
        while len(self._rest) < length:
            part = self._got.get()
            if not part:
                raise EOFError
            self._rest += part
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken

    def _run(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                kind, length = struct.unpack("<4sI", self._take(8))
                path = self.connection.device.mapped(self._take(length).decode())
                if kind == b"QUIT":
                    self.close()
                    return
                {b"STAT": self._stat, b"SEND": self._send}[kind](path)

    def _stat(self, path: str) -> None:
        try:
            told = Path(path).stat()
            answer = (told.st_mode, told.st_size, int(told.st_mtime))
        except OSError:
            answer = (0, 0, 0)
        self.say(struct.pack("<4s3I", b"STAT", *answer))

    def _send(self, told: str) -> None:
        path, _, mode = told.rpartition(",")
        room, trouble, content = self.connection.device.room_bytes, None, b""
        while True:
            kind, length = struct.unpack("<4sI", self._take(8))
            if kind == b"DONE":
                break
            content += self._take(length)
            if room is not None and len(content) > room:
                content, trouble = content[:room], "write failed: No space left on device"
        try:
            Path(path).write_bytes(content)
            Path(path).chmod(int(mode) & 0o777)
        except OSError as error:
            trouble = f"open failed: {error.strerror}"
        if trouble:
            self.say(struct.pack("<4sI", b"FAIL", len(trouble)) + trouble.encode())
        else:
            self.say(struct.pack("<4sI", b"OKAY", 0))
