"""Instructions from the board's clock: QEMU moves it on by one nanosecond an instruction (`-icount shift=0`).

A program on the board reads the clock from Arm's generic timer, whose counter QEMU runs at 62.5 MHz: a step is 16 ns,
so one reading is off by up to 16 instructions, and a difference of two by as many either way. That is 0.001 % of a
million. The steps do not fall on the same places of each run, so a median over runs is closer still.

What is counted is what latency means elsewhere: writing the inputs, one run, reading the outputs, and the two readings
of the clock, some 100 instructions. Now and then a run is interrupted, 250 times in a second of the board's and by
SSH; the median does not see those, unless a run takes milliseconds, and then all are interrupted alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

LABEL = "emulated"
INSTRUCTIONS_PER_SECOND = 1e9
COUNTER_HZ = 62.5e6
STEP = INSTRUCTIONS_PER_SECOND / COUNTER_HZ  # instructions that one step of the counter stands for


def instructions(samples_ns: Iterable[int]) -> float:
    """Give the instructions of one run: the median of what runs took by the board's clock.

    Args:
        samples_ns: of single runs, in nanoseconds.

    Example:
        >>> instructions([1_590_016, 1_590_000, 1_612_832])
        1590016.0
    """
    return float(statistics.median(samples_ns)) * INSTRUCTIONS_PER_SECOND / 1e9
