"""Talk with an agent in a child process: nothing that happens there is more than an error message here."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from slimedge.errors import InputError, RunError, SlimedgeError, UnavailableError
from slimedge.runtime.agent import RECORD

_ERRORS: dict[str, type[SlimedgeError]] = {"input": InputError, "unavailable": UnavailableError}
_DOING = {"prepare": "starting", "load": "loading"}
_KEPT_BYTES = 1 << 16
_GRACE_S = 5.0  # the agent ends itself at the limit; this is for one that cannot


_RUNNING: weakref.WeakSet[AgentProcess] = weakref.WeakSet()


def end_all() -> None:
    """End every agent of this process at once; whoever waits for an answer is told that it was killed."""
    for process in list(_RUNNING):
        process.kill()


class AgentProcess:
    """A conversation with one agent; leaving the `with` block ends the process, whatever it is doing.

    Args:
        command: that runs `agent.py` with a backend's file, here or elsewhere.
        name: of the runtime, for messages.
        limit_s: longest time for one request.
    """

    def __init__(self, command: Sequence[str], *, name: str, limit_s: float) -> None:
        self._command = list(command)
        self._name = name
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._received = b""
        self._printed = b""
        self._asked = ""
        self._late = False
        self._file: str | None = None

    def __enter__(self) -> Self:
        self._stderr = tempfile.TemporaryFile()  # closed in __exit__
        try:
            # A session of its own: Ctrl-C reaches only us, and we end the agent.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise UnavailableError(f"could not start {self._command[0]}: {error.strerror}.") from error
        _RUNNING.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=kind is not None)

    @property
    def pid(self) -> int:
        """Of the agent's process."""
        assert self._process is not None, "inside the with block"  # noqa: S101
        return self._process.pid

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def ask(self, do: str, /, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.send(do, **fields)
        return self.receive()

    def send(self, do: str, /, **fields: Any) -> None:
        """Send a request without waiting, so that several agents can get ready at once."""
        assert self._process is not None, "inside the with block"  # noqa: S101
        assert self._process.stdin is not None, "a pipe"  # noqa: S101
        self._asked = do
        self._file = os.path.basename(fields["model"]) if "model" in fields else self._file  # noqa: PTH119 - elsewhere
        line = json.dumps({"do": do, "limit_s": self._limit_s, **fields}) + "\n"
        with suppress(BrokenPipeError):  # it has ended: receive() tells how
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to what was sent."""
        line = self._line(time.monotonic() + self._limit_s + _GRACE_S)
        if line is None:
            raise self._ended()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise RunError(
                f"{self._name} gave a damaged answer while {self._doing}: {line[:100]!r}."
            ) from None
        if answer.pop("ok"):
            return answer
        error = _ERRORS.get(answer["kind"])
        if error is not None:
            raise error(answer["message"])
        raise RunError(f"{self._name} failed while {self._doing}: {answer['message'].rstrip('.')}.")

    @property
    def _doing(self) -> str:
        return f"{_DOING.get(self._asked, 'running')} {self._file or ''}".rstrip()

    def _line(self, deadline: float) -> bytes | None:
        """Read an answer; None where the process ends or the time is up before there is one."""
        assert self._process is not None, "inside the with block"  # noqa: S101
        assert self._process.stdout is not None, "a pipe"  # noqa: S101
        descriptor = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while (found := self._record()) is None:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._late = True
                    return None
                piece = os.read(descriptor, 1 << 16)
                if not piece:
                    return None
                self._received += piece
                if RECORD.encode() not in self._received:  # whatever is printed without end fills no memory
                    self._received = self._received[-_KEPT_BYTES:]
        return found

    def _record(self) -> bytes | None:
        """Take the next whole answer from what was received; what else was printed is kept for messages."""
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            printed, separator, record = line.partition(RECORD.encode())
            self._printed = printed.strip() or self._printed
            if separator:
                return record
        return None

    def _status(self) -> int | None:
        """Give how the process ended, negative where it was a signal; None where it did not."""
        assert self._process is not None, "inside the with block"  # noqa: S101
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0 if self._late else _GRACE_S)
        return self._process.poll()

    def _ended(self) -> SlimedgeError:
        """Give what it means that the process ended, or did not answer in time."""
        return RunError(self._ending(self._status()))

    def _ending(self, status: int | None) -> str:
        """Say in one sentence how the process ended."""
        if status is None or status == -signal.SIGALRM:
            return (
                f"{self._name} was not done {self._doing} after {self._limit_s:g} s and was ended; "
                "allow more time, or use a smaller model or batch."
            )
        if status == -signal.SIGKILL:
            return (
                f"{self._name} was killed (SIGKILL) while {self._doing}, most likely for want of memory; "
                "free some, or use a smaller model or batch."
            )
        if status < 0:
            return (
                f"{self._name} died of {signal.Signals(-status).name} in native code while {self._doing}; "
                "the file may be damaged or hit a bug of the runtime: export it again or try another runtime."
            )
        return f"{self._name} ended with status {status} while {self._doing}: {self._last_words()}."

    def _said(self) -> str:
        """Give what it wrote to stderr, and last to stdout without being asked."""
        assert self._stderr is not None, "inside the with block"  # noqa: S101
        self._stderr.seek(0)
        return "\n".join(
            part.decode(errors="replace").strip()
            for part in (self._printed, self._stderr.read())
            if part.strip()
        )

    def _last_words(self) -> str:
        lines = self._said().splitlines() or ["it said nothing"]
        return lines[-1].strip().rstrip(".")[:300]

    def _end(self, *, at_once: bool) -> None:
        process = self._process
        if process is None:
            return
        try:
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
            if not at_once:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(2.0)  # it ends as soon as nobody can ask
        finally:
            self.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            if self._stderr is not None:
                self._stderr.close()
