"""Accuracy against latency as points on a plane: pure geometry in percent, for the page to draw.

Positions are percentages of the plot's sides, so that the page can scale the plot without scaling its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.axis import Axis, Tick, short, spaced
from slimedge.comparison import Comparison, Variant


@dataclass(frozen=True, slots=True)
class Point:
    """One model; positions in percent from the left and from the top, `low` and `high` the ends of its interval.

    `front` tells whether it is on its group's Pareto front.
    """

    mark: str
    name: str
    runtime: str
    group: int
    baseline: bool
    left: float
    top: float
    low: float
    high: float
    front: bool
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """From one place to another, as from a baseline to one of its variants."""

    group: int
    left: float
    top: float
    to_left: float
    to_top: float


@dataclass(frozen=True, slots=True)
class Plot:
    """What to draw; `measure` is what stands on the vertical axis, `fronts` the steps of every group's Pareto front."""

    measure: str
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    fronts: tuple[Line, ...]
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
    across = Axis.logarithmic([each[4] for each in found])
    up = Axis.linear([height for each in found for height in each[5]], most=1.0)
    measure = "accuracy" if labelled else "same class as the baseline"
    best = {
        group: pareto_front([(each[0], each[4], each[5][0]) for each in found if each[1] == group])
        for group in {each[1] for each in found}
    }
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
            front=mark in best[group],
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
    ticks_across = spaced([Tick(across.place(at), short(10.0**at)) for at in across.ticks])
    ticks_up = tuple(Tick(100.0 - up.place(at), f"{round(100.0 * at, 6):g} %") for at in up.ticks)
    fronts = tuple(line for group in sorted(best) for line in _steps(points, group))
    return Plot(measure, points, lines, fronts, ticks_across, ticks_up)


def pareto_front(models: Sequence[tuple[str, float, float]]) -> tuple[str, ...]:
    """Give the models that no other one beats: none is as fast and as right, and better in one of the two.

    Args:
        models: name, latency and accuracy of each.

    Returns:
        Names from the fastest to the most accurate; models with the same figures are all on the front.

    Example:
        >>> pareto_front([("a", 2.0, 0.9), ("b", 1.0, 0.8), ("c", 2.0, 0.7)])
        ('b', 'a')
    """
    members = [
        (name, latency, right)
        for name, latency, right in models
        if not any(
            other <= latency and other_right >= right and (other, other_right) != (latency, right)
            for _, other, other_right in models
        )
    ]
    return tuple(name for name, _, _ in sorted(members, key=lambda model: model[1:]))


def _steps(points: Sequence[Point], group: int) -> list[Line]:
    """Draw a front: what lies right of it or below is beaten by one of its members."""
    members = sorted(
        (point for point in points if point.group == group and point.front),
        key=lambda point: (point.left, point.top),
    )
    lines = []
    left, top = members[0].left, 100.0
    for point in members:
        if point.left > left:
            lines.append(Line(group, left, top, point.left, top))
        if point.top < top:
            lines.append(Line(group, point.left, top, point.left, point.top))
        left, top = point.left, point.top
    return [*lines, Line(group, left, top, 100.0, top)]


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
