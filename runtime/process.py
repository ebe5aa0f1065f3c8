"""This process: the processors that it runs on, whom it comes before, the memory that it takes, and its end.

Travels with the agent: standard library only, from Python 3.8 on. What a system has no way for is not done, and what
cannot be read is None.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import List, Optional


def bind(cpus: List[int]) -> None:
    """Run on these processors only, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def raise_priority() -> None:
    """Come before other programs where this user may, as `nice -n -10` would.

    A model of some milliseconds is otherwise interrupted in most of its runs on a busy machine, and its median is
    then that of the interruptions. Linux weighs sessions first, processes within their session second.
    """
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write("-10")
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def end_with_parent() -> None:
    """End as soon as nobody can ask any more, even in the middle of a run; sleeps in the kernel until then."""
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(0, 0)  # a hang-up is reported without being asked for

    def wait() -> None:
        poll.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class Memory:
    """The memory of this process.

    `peak_bytes` is the highest so far, and `growth_bytes` by how much it has grown since `mark`, so that a model's
    memory can be told from its runtime's.
    """

    def __init__(self) -> None:
        self._earlier_peak_bytes = 0
        self._marked_bytes: Optional[int] = None

    def mark(self) -> None:
        """Start a new peak, where that can be done."""
        self._earlier_peak_bytes = self.peak_bytes() or 0
        self._marked_bytes = None
        with contextlib.suppress(OSError):
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            self._marked_bytes = _status_bytes("VmRSS")

    def growth_bytes(self) -> Optional[int]:
        """Give the peak since the mark less what there was at the mark; None where either cannot be told."""
        peak = _status_bytes("VmHWM")
        return None if peak is None or self._marked_bytes is None else peak - self._marked_bytes

    def peak_bytes(self) -> Optional[int]:
        """Give the highest memory so far.

        Not getrusage's: what it calls our peak includes that of the process that started us, before exec.
        """
        peak = _status_bytes("VmHWM")
        return None if peak is None else max(peak, self._earlier_peak_bytes)


def _status_bytes(field: str) -> Optional[int]:
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None
