"""Where k-means starts: functions from numbers, a count and the centroids that there are to the ones to add."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.clusters.numbers import Numbers

Floats = NDArray[np.float64]
Initialization = Callable[[Numbers, int, Floats, np.random.Generator], Floats]


def kmeans_plus_plus(numbers: Numbers, count: int, given: Floats, generator: np.random.Generator) -> Floats:
    """Draw centroids from the numbers, each with a chance in proportion to its squared distance from the nearest drawn.

    Args:
        numbers: at least `count` values that are none of `given`.
        count: of centroids to add.
        given: centroids that there are, shape (m,).
        generator: of random numbers.

    Returns:
        Different values of `numbers`, shape (count,), in the order in which they were drawn.

    Reference:
        Arthur and Vassilvitskii, 2007, "k-means++: the advantages of careful seeding", section 2.2.
    """
    drawn: list[float] = []
    distance = np.full(len(numbers), np.inf)
    for centroid in given:
        distance = np.minimum(distance, np.square(numbers.values - centroid))
    while len(drawn) < count:
        chances = numbers.counts * (distance if len(given) or drawn else np.ones(len(numbers)))
        total = chances.sum()
        # Squares of the smallest floats are 0; then any value that is no centroid will do.
        if not total > 0:
            chances = (~np.isin(numbers.values, [*given, *drawn])).astype(np.float64)
            total = chances.sum()
        centroid = float(generator.choice(numbers.values, p=chances / total))
        drawn.append(centroid)
        distance = np.minimum(distance, np.square(numbers.values - centroid))
    return np.array(drawn, np.float64)


def linear(numbers: Numbers, count: int, given: Floats, generator: np.random.Generator) -> Floats:  # noqa: ARG001
    """Place centroids evenly from the smallest number to the largest.

    Large weights, which few are, get as many as the small ones (Han et al., 2016, "Deep Compression", section 3.2).

    Example:
        >>> linear(Numbers.of(np.float32([-1, 0.2, 3])), 5, np.float64([]), np.random.default_rng(0)).tolist()
        [-1.0, 0.0, 1.0, 2.0, 3.0]
    """
    return np.linspace(numbers.values[0], numbers.values[-1], count)


def density(numbers: Numbers, count: int, given: Floats, generator: np.random.Generator) -> Floats:  # noqa: ARG001
    """Place centroids so that as many numbers lie between each and the next: evenly in cumulative density.

    Each lies in the middle of its share, so that it has the same number on both sides (Han et al., 2016, section 3.2).

    Example:
        >>> density(Numbers.of(np.arange(12)), 3, np.float64([]), np.random.default_rng(0)).tolist()
        [2.0, 6.0, 10.0]
    """
    below = np.cumsum(numbers.counts)
    places = (np.arange(count) + 0.5) / count * below[-1]
    chosen = np.searchsorted(below, places, side="right").clip(max=len(numbers) - 1)
    return np.asarray(numbers.values[chosen])
