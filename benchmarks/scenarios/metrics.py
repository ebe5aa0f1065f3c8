"""What the raw times of a run come to; pure functions of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.benchmarks.scenarios.run import Run

_LEAST_BEYOND = 10  # samples that a percentile needs above it
_UPPER_CONFIDENCE = 0.99  # c of the rules, with a tolerance d of 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run comes to; a percentile that too few queries carry is None.

    Attributes:
        queries: that were done.
        samples_per_s: samples of all queries over the time until the last was done.
        p50_s: median latency.
        p90_s: 90th percentile of the latency.
        p99_s: 99th.
        p90_upper_s: what the 90th percentile is at most, at 99 % confidence.
        p99_upper_s: likewise the 99th.
    """

    queries: int
    samples_per_s: float
    p50_s: float
    p90_s: float | None
    p99_s: float | None
    p90_upper_s: float | None
    p99_upper_s: float | None


def figures(run: Run) -> Figures:
    """Give what a run comes to."""
    latencies_s = np.sort(run.latencies_s)
    return Figures(
        queries=run.queries,
        samples_per_s=run.queries * run.samples / run.seconds,
        p50_s=float(np.median(latencies_s)),
        p90_s=percentile(latencies_s, 0.9),
        p99_s=percentile(latencies_s, 0.99),
        p90_upper_s=upper_percentile(latencies_s, 0.9),
        p99_upper_s=upper_percentile(latencies_s, 0.99),
    )


def percentile(ordered: NDArray[np.float64], share: float) -> float | None:
    """Give a percentile, where at least ten samples lie above it: the 90th takes 100, the 99th takes 1,000.

    Args:
        ordered: (n,) samples, the smallest first.
        share: in 0…1.

    Example:
        >>> percentile(np.arange(101.0), 0.9)
        90.0
        >>> percentile(np.arange(101.0), 0.99) is None
        True
    """
    if round(len(ordered) * (1 - share), 6) < _LEAST_BEYOND:
        return None
    return float(np.quantile(ordered, share))


def upper_percentile(
    ordered: NDArray[np.float64], share: float, confidence: float = _UPPER_CONFIDENCE
) -> float | None:
    """Give a bound that a percentile does not exceed, at a confidence, whatever the distribution.

    It is the t-th largest of n samples, t being the largest number with P(X ≤ t) ≤ 1 - confidence for
    X ~ Binomial(n, 1 - share): MLPerf's "early-stopping estimate" of a stream. It supposes that the queries are
    independent, which those that wait in one queue are not.

    Args:
        ordered: (n,) samples, the smallest first.
        share: of the percentile, in 0…1.
        confidence: that the percentile is not larger.

    Returns:
        The bound, or None where there are too few samples for any.

    Reference:
        MLCommons, "MLPerf Inference Rules", appendix "Early Stopping Criterion", with d = 0 and c = 0.99.
    """
    allowed = most_above(len(ordered), share, confidence)
    return float(ordered[-allowed]) if allowed >= 1 else None


def most_above(n: int, share: float, confidence: float) -> int:
    """Give the largest t with P(X ≤ t) ≤ 1 - confidence for X ~ Binomial(n, 1 - share), or -1.

    Example:
        >>> [most_above(n, 0.99, 0.99) for n in (458, 459, 661, 662, 1000)]
        [-1, 0, 0, 1, 2]
    """
    beyond = 1 - share
    counts = np.arange(1, math.ceil(n * beyond) + 1)
    # log of the binomial's terms from each to the next: (n - k + 1)/k · beyond/share
    steps = np.log(n - counts + 1) - np.log(counts) + math.log(beyond / share)
    logs = n * math.log(share) + np.concatenate([[0.0], np.cumsum(steps)])
    below = np.cumsum(np.exp(logs)) <= 1 - confidence
    return int(np.count_nonzero(below)) - 1
