"""Calibration observers: each sees a stream of batches and gives the range of one activation.

All use constant memory, whatever the number of batches. A new observer is a class here (or in a file
of its own) and a line in `OBSERVERS`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slimedge.registry import Registry

OBSERVERS = Registry(
    "observer",
    {
        "minmax": "slimedge.compress.observers:MinMax",
        "moving_average": "slimedge.compress.observers:MovingAverage",
        "percentile": "slimedge.compress.observers:Percentile",
    },
)


class Observer(Protocol):
    """Sees batches of one tensor, then tells its range."""

    def update(self, batch: NDArray[np.float32]) -> None:
        """See one more batch (any shape)."""

    def range(self) -> tuple[float, float]:
        """Give the lowest and highest real value of the range."""


class MinMax:
    """The smallest and largest value ever seen."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def update(self, batch: NDArray[np.float32]) -> None:
        """See one more batch."""
        self._low = min(self._low, float(batch.min()))
        self._high = max(self._high, float(batch.max()))

    def range(self) -> tuple[float, float]:
        """Give the range."""
        return self._low, self._high


class MovingAverage:
    """Exponential moving average of each batch's smallest and largest value (Jacob et al., 2018, section 3.1).

    Args:
        momentum: share of the old value that is kept at each batch, in 0…1.
    """

    def __init__(self, momentum: float = 0.9) -> None:
        self.momentum = momentum
        self._range: tuple[float, float] | None = None

    def update(self, batch: NDArray[np.float32]) -> None:
        """See one more batch."""
        low, high = float(batch.min()), float(batch.max())
        if self._range is not None:
            kept, new = self.momentum, 1 - self.momentum
            low, high = kept * self._range[0] + new * low, kept * self._range[1] + new * high
        self._range = (low, high)

    def range(self) -> tuple[float, float]:
        """Give the range."""
        return self._range or (np.inf, -np.inf)


class Percentile:
    """The range that leaves out the rarest values at both ends, from a streaming histogram.

    The histogram has a fixed number of bins around zero; when a value falls outside, bins are merged in
    pairs until it fits, so memory is constant and no batch is kept. An end is exact to one bin, and never
    beyond the smallest and largest value seen.

    Args:
        percentile: share of the values inside the range, in percent.
        bins: number of bins, even.
    """

    def __init__(self, percentile: float = 99.99, bins: int = 4096) -> None:
        self.percentile = percentile
        self._counts = np.zeros(bins, np.int64)
        self._limit = 0.0
        self._seen = MinMax()

    def update(self, batch: NDArray[np.float32]) -> None:
        """See one more batch."""
        self._seen.update(batch)
        largest = float(np.max(np.abs(batch)))
        if largest == 0.0:
            self._counts[len(self._counts) // 2] += batch.size
            return
        if self._limit == 0.0:
            self._limit = largest
        while largest > self._limit:
            self._widen()
        counts, _ = np.histogram(batch, bins=len(self._counts), range=(-self._limit, self._limit))
        self._counts += counts

    def _widen(self) -> None:
        """Double the histogram's range: pairs of bins become one, around zero."""
        bins = len(self._counts)
        pairs = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.zeros_like(self._counts)
        self._counts[bins // 4 : bins // 4 + bins // 2] = pairs
        self._limit *= 2

    def range(self) -> tuple[float, float]:
        """Give the range."""
        low, high = self._seen.range()
        total = int(self._counts.sum())
        if total == 0 or self._limit == 0.0:
            return low, high
        cut = total * (1 - self.percentile / 100) / 2
        width = 2 * self._limit / len(self._counts)
        below = np.cumsum(self._counts)
        first = int(np.searchsorted(below, cut, side="right"))
        last = int(np.searchsorted(below, total - cut, side="left"))
        return max(low, -self._limit + first * width), min(high, -self._limit + (last + 1) * width)
