"""Accuracy against latency as points on a plane: pure geometry in percent, for the page to draw.

Positions are percentages of the plot's sides, so that the page can scale the plot without scaling its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from slimedge.benchmarks.reporting import figures
from slimedge.comparison import Comparison, Variant


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line with its text; `at` in percent from the left or from the top."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """One model; positions in percent from the left and from the top, `low` and `high` the ends of its interval."""

    mark: str
    name: str
    runtime: str
    group: int
    baseline: bool
    left: float
    top: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """From a baseline to one of its variants."""

    group: int
    left: float
    top: float
    to_left: float
    to_top: float


@dataclass(frozen=True, slots=True)
class Plot:
    """What to draw; `measure` is what stands on the vertical axis."""

    measure: str
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def plot(comparisons: Sequence[Comparison]) -> Plot | None:
    """Place every model that has a latency and an accuracy (or, with no labels, an agreement).

    Args:
        comparisons: in the report's order; each is one group.

    Returns:
        The plot, or None where fewer than two models have both figures.
    """
    models = [
        (group, variant, index == 0)
        for group, comparison in enumerate(comparisons)
        for index, variant in enumerate((comparison.baseline, *comparison.variants))
    ]
    labelled = any(variant.accuracy for _, variant, _ in models)
    found: list[tuple[str, int, Variant, bool, float, tuple[float, float, float]]] = []
    for number, (group, variant, baseline) in enumerate(models):
        heights = _accuracy(variant) if labelled else _agreement(variant, baseline=baseline)
        if heights is not None and variant.latency_s is not None:
            found.append((letter(number), group, variant, baseline, variant.latency_s.p50, heights))
    if len(found) < 2:
        return None
    across = _Axis.logarithmic([each[4] for each in found])
    up = _Axis.linear([height for each in found for height in each[5]], most=1.0)
    measure = "accuracy" if labelled else "same class as the baseline"
    points = tuple(
        Point(
            mark=mark,
            name=variant.name,
            runtime=variant.runtime,
            group=group,
            baseline=baseline,
            left=across.place(log10(latency)),
            top=100.0 - up.place(value),
            low=100.0 - up.place(low),
            high=100.0 - up.place(high),
            text=f"{variant.name}: {measure} {figures.percent(value)}, latency {figures.seconds(latency)}",
        )
        for mark, group, variant, baseline, latency, (value, low, high) in found
    )
    starts = {point.group: point for point in points if point.baseline}
    lines = tuple(
        Line(point.group, starts[point.group].left, starts[point.group].top, point.left, point.top)
        for point in points
        if not point.baseline and point.group in starts
    )
    ticks_across = tuple(Tick(across.place(at), _short(10.0**at)) for at in across.ticks)
    ticks_up = tuple(Tick(100.0 - up.place(at), f"{round(100.0 * at, 6):g} %") for at in up.ticks)
    return Plot(measure, points, lines, ticks_across, ticks_up)


def letter(number: int) -> str:
    """Name the model of that number, from 0, in plot and tables alike: A to Z, then 27 and on."""
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def _accuracy(variant: Variant) -> tuple[float, float, float] | None:
    accuracy = variant.accuracy
    return (accuracy.value, accuracy.low, accuracy.high) if accuracy else None


def _agreement(variant: Variant, *, baseline: bool) -> tuple[float, float, float] | None:
    if baseline:
        return (1.0, 1.0, 1.0)
    return (variant.agreement.value,) * 3 if variant.agreement else None


@dataclass(frozen=True, slots=True)
class _Axis:
    """A range with its ticks, in the axis's own (perhaps logarithmic) numbers."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, at: float) -> float:
        return round(100.0 * (at - self.low) / (self.high - self.low), 3)

    @classmethod
    def linear(cls, values: Sequence[float], *, most: float) -> _Axis:
        low, high = min(values), max(values)
        step = _round_step(max(high - low, 0.002) / 4)
        first, last = floor(low / step), ceil(high / step)
        if last == first:
            last += 1
        last = max(min(last, ceil(most / step)), first + 1)
        ticks = tuple(step * n for n in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    @classmethod
    def logarithmic(cls, values: Sequence[float]) -> _Axis:
        """Ticks at round numbers, the finer the fewer decades there are."""
        low, high = log10(min(values)), log10(max(values))
        room = max(0.08 * (high - low), 0.04)
        low, high = low - room, high + room
        digits = next(digits for decades, digits in _DIGITS if high - low >= decades)
        powers = range(floor(low) - 1, ceil(high) + 1)
        marks = [log10(digit) + power for power in powers for digit in digits]
        return cls(low, high, tuple(mark for mark in marks if low <= mark <= high))


def _short(duration: float) -> str:
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
