"""The clusters of one weight: which of its numbers share a value, over all of it or in each output channel."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.clusters import INITIALIZATIONS
from slimedge.compress.clusters.centroids import Initialization
from slimedge.compress.clusters.kmeans import Floats, nearest, settled
from slimedge.compress.clusters.numbers import Numbers

ZERO = np.zeros(1)
NONE = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Groups:
    """A weight as clusters.

    Attributes:
        members: the number of each weight's cluster, of the weight's shape, int32; clusters of another channel have
            other numbers.
        centroids: the value of each cluster, shape (n,), float32.
        zeros: whether each cluster is that of zeros, which stays, shape (n,), bool.
    """

    members: NDArray[np.int32]
    centroids: NDArray[np.float32]
    zeros: NDArray[np.bool_]

    def weight(self) -> NDArray[np.float32]:
        """Give the weight with each number at its centroid."""
        return self.centroids[self.members]


def grouped(
    weight: NDArray[np.float32],
    clusters: int,
    *,
    init: str = "kmeans++",
    axes: Collection[int] = (),
    seed: int = 0,
) -> Groups:
    """Find the clusters of a weight (Han et al., 2016, "Deep Compression", section 3.1).

    Least sum of squared distances from the centroids, as near as Lloyd's rounds from the start come to it. A weight, or
    channel, with zeros has 0 as one of its values, so that zeros stay zeros; numbers nearer to 0 than to another value
    become zeros, too. One that has no more values than `clusters` keeps them.

    Args:
        weight: float32, any shape, finite.
        clusters: the most values, 2 or more.
        init: a name in `INITIALIZATIONS`.
        axes: each of whose places (each output channel) has values of its own; none for values of the whole weight.
        seed: of random numbers.

    Example:
        >>> grouped(np.float32([0, 0.1, 1, 1.2, 0]), 2).weight().tolist()
        [0.0, 0.0, 1.100000023841858, 1.100000023841858, 0.0]
    """
    start: Initialization = INITIALIZATIONS[init]
    generator = np.random.default_rng(seed)
    order = [*axes, *(axis for axis in range(weight.ndim) if axis not in axes)]
    moved = weight.transpose(order)
    channels = moved.reshape(int(np.prod([weight.shape[axis] for axis in axes])), -1)
    members = np.empty(channels.shape, np.int32)
    found: list[Floats] = []
    taken = 0
    for channel, row in enumerate(channels):
        centroids = _centroids(row, clusters, start, generator)
        members[channel] = nearest(row, centroids) + taken
        taken += len(centroids)
        found.append(centroids)
    values = np.concatenate(found).astype(np.float32)
    back = members.reshape(moved.shape).transpose(np.argsort(order))
    return Groups(np.ascontiguousarray(back), values, values == 0)


def value_counts(weight: NDArray[np.float32], axes: Collection[int] = ()) -> NDArray[np.int64]:
    """Count the different values of a weight, in each output channel where axes are given.

    Args:
        weight: any shape.
        axes: as of `grouped`.

    Returns:
        Shape (channels,); (1,) without axes.

    Example:
        >>> weight = np.float32([[1, 2], [1, 3]])
        >>> value_counts(weight, (1,)).tolist(), value_counts(weight).tolist()
        ([1, 2], [3])
    """
    moved = np.moveaxis(weight, tuple(axes), tuple(range(len(axes))))
    rows = np.sort(moved.reshape(int(np.prod(moved.shape[: len(axes)])), -1), axis=1)
    return np.asarray(1 + np.count_nonzero(np.diff(rows, axis=1), axis=1), np.int64)


def _centroids(
    row: NDArray[np.float32], clusters: int, start: Initialization, generator: np.random.Generator
) -> Floats:
    numbers = Numbers.of(row)
    if len(numbers) <= clusters:
        return numbers.values
    fixed = ZERO if np.any(numbers.values == 0) else NONE
    others = numbers.without(fixed)
    first = start(others, clusters - len(fixed), fixed, generator)
    return settled(numbers, first, fixed)
