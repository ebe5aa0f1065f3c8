"""Processes that have their libraries when they start: forked from one that has imported them and nothing else.

Importing TensorFlow takes seconds, and each export wants a process of its own. The process that is forked has imported
modules only: no graph was made in it, no device opened and no thread started but those of numpy, which bear a fork. It
ends with the process that it serves, and when it was not needed for a while.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from slimedge.isolation import end_with_parent

# What was imported takes memory, half a gigabyte for TensorFlow.
IDLE_S = 60.0
START_S = 300.0
_LOOK_S = 1.0  # how often a server looks whether whom it serves is there
# Variables that count when a process starts or a library is imported, by how their names begin.
_AT_START = ("CUDA_", "KERAS_", "LD_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "TF_", "XLA_")


class Forked:
    """A process that another one has started; as much of `subprocess.Popen` as is needed.

    Attributes:
        pid: of the process, which leads a process group of its own.
        returncode: None as long as it runs; else its exit status, or minus the signal that it died of.
    """

    def __init__(self, pid: int, ended: Callable[[float | None], int | None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """Give the return code, None as long as it runs."""
        if self.returncode is None:
            self.returncode = self._ended(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Args:
            timeout: in seconds; None for as long as it takes.

        Raises:
            subprocess.TimeoutExpired: it runs still.
        """
        if self.returncode is None:
            self.returncode = self._ended(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self.returncode


class Preloaded:
    """Starts processes that have modules imported already.

    Args:
        modules: names of what is imported, once; none that starts a thread or opens a device.
        idle_s: after so long without a request the process that is forked ends; the next request starts another.
    """

    def __init__(self, *modules: str, idle_s: float = IDLE_S) -> None:
        self._modules = modules
        self._idle_s = idle_s
        self._server: _Server | None = None
        self._one_at_a_time = threading.Lock()
        atexit.register(self.close)

    def start(
        self, target: str, given: Mapping[str, Any], *, log: str, environment: Mapping[str, str]
    ) -> Forked | None:
        """Call a function in such a process, in the current folder and on the same processors.

        Args:
            target: `"module:function"`.
            given: its arguments, JSON values.
            log: path of a file for what it prints.
            environment: variables of the process.

        Returns:
            None where that cannot be done: this system has no way to wait for such a process, another one that was
            started here has not ended, or the current folder was removed.
        """
        if not hasattr(os, "pidfd_open") or not self._one_at_a_time.acquire(blocking=False):
            return None
        started = None
        try:
            request = {
                "target": target,
                "given": dict(given),
                "log": log,
                "environment": dict(environment),
                "folder": str(Path.cwd()),
                "path": sys.path,
                "processors": sorted(os.sched_getaffinity(0)),
            }
            for _ in range(2):  # one that had nothing to do may have ended in this moment
                started = self._ready(environment).start(request, self._one_at_a_time.release)
                if started is not None:
                    break
                self.close()
        except FileNotFoundError:  # the current folder was removed
            started = None
        finally:
            if started is None:
                self.close()  # an interrupted one might answer the next request
                self._one_at_a_time.release()
        return started

    def close(self) -> None:
        """End the process that is forked, and what it has started."""
        if self._server is not None:
            self._server.close()
        self._server = None

    def _ready(self, environment: Mapping[str, str]) -> _Server:
        if self._server is not None and not self._server.fits(environment):
            self.close()
        if self._server is None:
            self._server = _Server(self._modules, self._idle_s, environment)
        return self._server


class _Server:
    """The process that is forked, seen from the one that it serves."""

    def __init__(self, modules: Sequence[str], idle_s: float, environment: Mapping[str, str]) -> None:
        self._variables = _at_start(environment)
        self._serves = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps([sys.path, modules, self._serves, idle_s])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
        self._told = b""

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether it serves this process, and would have started no other way with these variables."""
        return (self._serves, self._variables) == (os.getpid(), _at_start(environment))

    def start(self, request: Mapping[str, Any], at_its_end: Callable[[], None]) -> Forked | None:
        """Fork a process; None where the server has ended."""
        assert self._process.stdin is not None, "a pipe"  # noqa: S101
        with suppress(BrokenPipeError):  # it has ended: no line comes
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        line = self._line(START_S)

        def ended(timeout: float | None) -> int | None:
            told = self._line(timeout)
            if told is None:
                return None
            at_its_end()
            return json.loads(told)["ended"] if told else -signal.SIGKILL

        return Forked(json.loads(line)["pid"], ended) if line else None

    def close(self) -> None:
        """End the server, and what it has forked."""
        if self._serves != os.getpid():
            return  # of the process that this one was forked from
        self._process.kill()
        self._process.communicate()

    def _line(self, timeout: float | None) -> bytes | None:
        """Give the next line; None where none came in time, empty where none will come."""
        assert self._process.stdout is not None, "a pipe"  # noqa: S101
        pipe = self._process.stdout.fileno()
        until_told = select.poll()
        until_told.register(pipe, select.POLLIN)
        while b"\n" not in self._told:
            if not until_told.poll(None if timeout is None else timeout * 1000):
                return None
            piece = os.read(pipe, 4096)
            if not piece:
                return b""
            self._told += piece
        line, _, self._told = self._told.partition(b"\n")
        return line


def _at_start(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pair for pair in environment.items() if pair[0].startswith(_AT_START)))


_BOOT = """
import json, sys
sys.path[:], *given = json.loads(sys.argv[1])
from slimedge.preloaded import serve
serve(*given)
"""


def serve(modules: Sequence[str], serves: int, idle_s: float) -> NoReturn:
    """Import modules, and fork whenever that is asked for; what the process does that is forked.

    Args:
        modules: their names.
        serves: id of the process that asks, on stdin.
        idle_s: after so long without a request it ends.
    """
    # Libraries print to stdout, from C too; the answers go where only we write.
    answers = os.dup(1)
    os.dup2(2, 1)
    for module in modules:
        with suppress(Exception):  # whoever needs it imports it again, and tells why it cannot be
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that no collection writes to the memory that is shared with what is forked
    requests, own = _lines(0), os.getpid()
    while _comes(serves, idle_s) and (line := next(requests, None)):
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            _become(json.loads(line), own)
        _lead_group(pid)
        _tell(answers, pid=pid)
        _tell(answers, ended=_exit_code(pid, serves))
    os._exit(0)


def _tell(descriptor: int, **answer: int) -> None:
    os.write(descriptor, json.dumps(answer).encode() + b"\n")


def _lines(descriptor: int) -> Iterator[bytes]:
    read = b""
    while piece := os.read(descriptor, 1 << 16):
        read += piece
        while b"\n" in read:
            line, _, read = read.partition(b"\n")
            yield line


def _comes(serves: int, left_s: float) -> bool:
    """Wait for a request; False where none came for so long, or nobody is there to make one."""
    while left_s > 0 and os.getppid() == serves:
        if select.select([0], [], [], min(left_s, _LOOK_S))[0]:
            return True
        left_s -= _LOOK_S
    return False


def _exit_code(pid: int, serves: int) -> int:
    """Wait for a process to end; where nobody waits for us any more, end it with its children, and us."""
    handle = os.pidfd_open(pid)
    both = select.poll()
    both.register(handle, select.POLLIN)
    both.register(0, 0)  # a hang-up is reported without being asked for
    while True:
        happened = dict(both.poll(_LOOK_S * 1000))
        if handle in happened:
            os.close(handle)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if happened or os.getppid() != serves:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            os._exit(0)


def _lead_group(pid: int) -> None:
    """Make a process the leader of a group of its own; both do it, since either may come first."""
    with suppress(OSError):
        os.setpgid(pid, pid)


def _become(request: Mapping[str, Any], parent: int) -> NoReturn:
    """Be the process that was asked for, and end with its parent."""
    status = 1
    try:
        _lead_group(0)
        end_with_parent(parent)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for ours, theirs in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(ours, theirs)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.path[:] = request["path"]
        os.sched_setaffinity(0, request["processors"])
        _reseed()
        module, _, name = request["target"].partition(":")
        getattr(importlib.import_module(module), name)(**request["given"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the end of a process
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _reseed() -> None:
    """Let random numbers be others than those of the next process; Python's own are by themselves."""
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed()  # noqa: NPY002 - the generator that libraries share
