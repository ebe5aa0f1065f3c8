"""What the tests of isolation run in a fresh process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


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
