"""K-means on numbers: in order, a cluster is a run of them, so that a round is a few searches whatever their count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.clusters.numbers import Numbers

# Each round makes the error smaller, so that the rounds come to an end; only rounding could go in circles.
MOST_ROUNDS = 10_000

Floats = NDArray[np.float64]


def settled(numbers: Numbers, start: Floats, fixed: Floats) -> Floats:
    """Move each centroid to the mean of the numbers nearest to it until none changes its centroid (Lloyd, 1982).

    Args:
        numbers: at least one.
        start: centroids to begin with, any order.
        fixed: centroids that take part and do not move.

    Returns:
        The centroids, ascending, each once; one that no number is nearest to is not among them unless it is fixed.

    Example:
        >>> numbers = Numbers.of(np.float64([0, 1, 10, 12, 20]))
        >>> settled(numbers, np.float64([0, 2, 20]), np.float64([])).tolist()
        [0.5, 11.0, 20.0]
    """
    weights_below = np.concatenate([[0], np.cumsum(numbers.counts)])
    sums_below = np.concatenate([[0.0], np.cumsum(numbers.values * numbers.counts)])
    centroids = np.unique(np.concatenate([start, fixed]))
    stays = np.isin(centroids, fixed)
    before = None
    for _ in range(MOST_ROUNDS):
        bounds = _bounds(numbers, centroids)
        if before is not None and np.array_equal(bounds, before):
            break
        before = bounds
        members = np.diff(weights_below[bounds])
        moving = (members > 0) & ~stays
        first, last = bounds[:-1][moving], bounds[1:][moving] - 1
        means = np.diff(sums_below[bounds])[moving] / members[moving]
        # Differences of long sums may lie a rounding error outside of the run.
        centroids[moving] = means.clip(numbers.values[first], numbers.values[last])
    return centroids[(np.diff(_bounds(numbers, centroids)) > 0) | stays]


def nearest(array: NDArray[np.float32], centroids: Floats) -> NDArray[np.int64]:
    """Give the index of the centroid nearest to each number of an array, the smaller one of two as near.

    Args:
        array: any shape.
        centroids: ascending, shape (n,).
    """
    return np.searchsorted(_edges(centroids), array.astype(np.float64), side="left")


def _edges(centroids: Floats) -> Floats:
    return (centroids[1:] + centroids[:-1]) / 2


def _bounds(numbers: Numbers, centroids: Floats) -> NDArray[np.int64]:
    """Where the run of each centroid begins among the values, and behind the last one ends."""
    inner = np.searchsorted(numbers.values, _edges(centroids), side="right")
    return np.concatenate([[0], inner, [len(numbers)]])
