"""Ranges with round ticks, linear and logarithmic; what lies on them is placed in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10

from slimedge.benchmarks.reporting import figures

# Texts nearer than this, in percent, touch each other on a phone.
_ROOM = 18.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line with its text; `at` in percent from the left or from the top.

    A `minor` one stands so near to another that a narrow page leaves it out.
    """

    at: float
    text: str
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A range with its ticks, in the axis's own (perhaps logarithmic) numbers."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, at: float) -> float:
        """Give where a number lies between the ends, in percent."""
        return round(100.0 * (at - self.low) / (self.high - self.low), 3)

    @classmethod
    def linear(cls, values: Sequence[float], *, most: float) -> Axis:
        """Give an axis around values, with round ends of which the upper one is `most` at most."""
        low, high = min(values), max(values)
        step = _round_step(max(high - low, 0.002) / 4)
        first, last = floor(low / step), ceil(high / step)
        if last == first:
            last += 1
        last = max(min(last, ceil(most / step)), first + 1)
        ticks = tuple(step * n for n in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    @classmethod
    def logarithmic(cls, values: Sequence[float]) -> Axis:
        """Give an axis around values above 0, with ticks at round numbers, the finer the fewer decades there are."""
        low, high = log10(min(values)), log10(max(values))
        room = max(0.08 * (high - low), 0.04)
        return cls.between(low - room, high + room)

    @classmethod
    def between(cls, low: float, high: float) -> Axis:
        """Give a logarithmic axis from one power of ten to another, with ticks at round numbers."""
        digits = next(digits for decades, digits in _DIGITS if high - low >= decades)
        powers = range(floor(low) - 1, ceil(high) + 1)
        marks = [log10(digit) + power for power in powers for digit in digits]
        return cls(low, high, tuple(mark for mark in marks if low <= mark <= high))


def spaced(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Call those ticks minor that would touch the one before them where a plot is narrow.

    Example:
        >>> [tick.minor for tick in spaced([Tick(0, "1 ms"), Tick(10, "2 ms"), Tick(30, "3 ms")])]
        [False, True, False]
    """
    found: list[Tick] = []
    last = -_ROOM
    for tick in ticks:
        minor = tick.at - last < _ROOM
        found.append(replace(tick, minor=minor))
        last = last if minor else tick.at
    return tuple(found)


def short(duration: float) -> str:
    """Give a duration without the zeros that only say how exact a figure is: `70 µs`."""
    number, unit = figures.seconds(duration).split(" ")
    return f"{float(number):g} {unit}"


# Round numbers of one decade, for a logarithmic axis of at least so many decades.
_DIGITS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (2.0, (1,)),
    (0.8, (1, 2, 5)),
    (0.4, (1, 1.5, 2, 3, 4, 5, 6, 8)),
    (0.2, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)),
    (0.0, tuple(n / 20 for n in range(20, 200))),
)


def _round_step(step: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= step * (1 - 1e-9))
