"""A memory limit for a process that is about to start: the kernel's own where this user may set one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_EMPTY_WITHIN_S = 2.0


@contextmanager
def confined(memory_bytes: int | None, root: Path = _ROOT) -> Iterator[list[str]]:
    """Give what stands before a command so that its process cannot use more memory.

    A cgroup of its own (version 2, else 1) counts what is really in memory and kills the process that would exceed it;
    pages of a library that another process loaded before count for that one.
    Where none can be made, RLIMIT_DATA refuses to give it more: that counts what was asked for, used or not.

    Args:
        memory_bytes: the limit; None for none.
        root: where cgroups are mounted.

    Yields:
        The beginning of a command, empty without a limit; the cgroup is removed after the block.
    """
    if memory_bytes is None:
        yield []
        return
    folder = _made(memory_bytes, root)
    if folder is None:
        yield ["sh", "-c", f'ulimit -d {memory_bytes >> 10} && exec "$@"', "sh"]
        return
    try:
        yield ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(folder / "cgroup.procs")]
    finally:
        _removed(folder)


def _made(memory_bytes: int, root: Path) -> Path | None:
    """Make a cgroup with this limit; None where that is not possible."""
    for base, limits in (
        (root, ("memory.max", "memory.swap.max")),
        (root / "memory", ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")),
    ):
        folder = base / f"slimedge-{secrets.token_hex(6)}"
        with suppress(OSError):
            folder.mkdir()
            try:
                with (folder / limits[0]).open(
                    "r+"
                ) as file:  # where it is a cgroup, the file is there already
                    file.write(str(memory_bytes))
            except OSError:
                folder.rmdir()
                continue
            with suppress(OSError), (folder / limits[1]).open("r+") as file:  # no such file without swap
                file.write("0" if limits[1].endswith("max") else str(memory_bytes))
            return folder
    return None


def _removed(folder: Path) -> None:
    """Remove a cgroup as soon as its last process has gone."""
    end = time.monotonic() + _EMPTY_WITHIN_S
    while folder.exists() and time.monotonic() < end:
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.01)
