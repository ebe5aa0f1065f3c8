"""What the tests of isolation run in a fresh process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def add(a: int, b: int) -> int:
    return a + b


def environment() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES",)}


def refuse() -> None:
    from slimedge.errors import CheckError

    raise CheckError("it differs.")


def fail() -> None:
    raise RuntimeError("the first line\nand a second")


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave() -> None:
    sys.stderr.write("last words\n")
    sys.stderr.flush()
    os._exit(3)


def hang_with_a_child(pid_file: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(pid_file).write_text(str(child.pid))
    signal.pause()


def grow(megabytes: int) -> int:
    blocks = []
    for _ in range(megabytes // 10):
        blocks.append(bytearray(os.urandom(1 << 10) * (10 << 10)))
        time.sleep(0.05)
    return len(blocks)


def not_json() -> object:
    return object()


def leave_a_child(pid_file: str) -> str:
    child = subprocess.Popen(["sleep", "600"])
    Path(pid_file).write_text(str(child.pid))
    return "done"


def fill(path: str) -> None:
    Path(path).write_bytes(b"x" * 10_000_000)


def described() -> dict[str, Any]:
    """What a process is like that was started for this."""
    return {
        "parent": os.getppid(),
        "modules": sorted(sys.modules),
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "path": sys.path,
        "processors": sorted(os.sched_getaffinity(0)),
        "stdin": sys.stdin.read(),
    }


def random_numbers() -> list[float]:
    """One of each generator that libraries share."""
    return [float(np.random.random()), random.random()]  # noqa: NPY002 - what libraries use


def wait_for(file: str, begun: str) -> int:
    Path(begun).touch()
    while not Path(file).exists():
        time.sleep(0.01)
    return os.getppid()


def threads_of_parent() -> int:
    """How many threads the process has that forked this one."""
    return len(list(Path(f"/proc/{os.getppid()}/task").iterdir()))
