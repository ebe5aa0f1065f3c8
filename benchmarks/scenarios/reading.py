"""What people write on a command line for numbers of workers and for times."""

from __future__ import annotations

import re

from slimedge.errors import InputError

_UNITS_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|µs|ms|s)", re.IGNORECASE)


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them.

    Args:
        text: as given.
        option: for messages.

    Raises:
        InputError: it is no such list.

    Example:
        >>> numbers_of("1, 2,4", "--batches")
        (1, 2, 4)
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) >= 1 for part in parts):
        raise InputError(
            f"{option} is '{text}'; give whole numbers from 1 on with commas between, as in 1,2,4."
        )
    return tuple(int(part) for part in parts)


def seconds_of(text: str, option: str) -> float:
    """Read a time with its unit.

    Args:
        text: as given.
        option: for messages.

    Raises:
        InputError: it has no unit, or is no time.

    Example:
        >>> seconds_of("2.5ms", "--latency-bound"), seconds_of("800 us", "--latency-bound")
        (0.0025, 0.0008)
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise InputError(f"{option} is '{text}'; give a time over 0 with its unit, as in 800us, 5ms or 0.1s.")
    return round(float(match[1]) * _UNITS_S[match[2].lower()], 12)
