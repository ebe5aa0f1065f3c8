"""Samples of latency as areas above one logarithmic axis: pure geometry in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10

from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.details.distribution import Distribution
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.axis import Axis, Tick, short, spaced
from slimedge.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Trace:
    """The samples of one model.

    Attributes:
        name: of the model.
        path: outline of the area, an SVG path in a box of 100 by 100.
        p50: place of the median, in percent from the left; None where it lies beyond the axis.
        p90: likewise of the 90th percentile.
        text: the same in words.
    """

    name: str
    path: str
    p50: float | None
    p90: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Traces:
    """The models of one comparison on one axis."""

    baseline: str
    traces: tuple[Trace, ...]
    across: tuple[Tick, ...]


def traces(comparison: Comparison, details: Mapping[str, Details]) -> Traces | None:
    """Draw the samples of a comparison's models; None where there are none.

    Args:
        comparison: the models.
        details: by name; models without samples are left out.
    """
    found = [
        (variant.name, details[variant.name].latency)
        for variant in (comparison.baseline, *comparison.variants)
        if variant.name in details
    ]
    drawn = [(name, samples) for name, samples in found if samples is not None]
    if not drawn:
        return None
    edges = drawn[0][1].edges_s
    axis = Axis.between(log10(edges[0]), log10(edges[-1]))
    ticks = spaced([Tick(axis.place(mark), short(10.0**mark)) for mark in axis.ticks])
    return Traces(
        comparison.baseline.name, tuple(_trace(name, samples, axis) for name, samples in drawn), ticks
    )


def outline(counts: Sequence[int]) -> str:
    """Give the outline of counts as an SVG path in a box of 100 by 100, the highest count at the top.

    Example:
        >>> outline([1, 2])
        'M0 100V50H50V0H100V100Z'
    """
    highest = max(*counts, 1)
    steps = []
    for number, count in enumerate(counts, 1):
        steps.append(f"V{100 - 100 * count / highest:.4g}H{100 * number / len(counts):.4g}")
    return f"M0 100{''.join(steps)}V100Z"


def _trace(name: str, samples: Distribution, axis: Axis) -> Trace:
    beyond = "" if not samples.above else f"; {samples.above:,} longer ones are not drawn"
    return Trace(
        name=name,
        path=outline(samples.counts),
        p50=_place(samples.p50_s, axis),
        p90=_place(samples.p90_s, axis),
        text=(
            f"p50 {figures.seconds(samples.p50_s)}, p90 {figures.seconds(samples.p90_s)}, "
            f"{samples.n:,} samples{beyond}"
        ),
    )


def _place(duration_s: float, axis: Axis) -> float | None:
    at = axis.place(log10(duration_s)) if duration_s > 0 else -1.0
    return at if 0 <= at <= 100 else None
