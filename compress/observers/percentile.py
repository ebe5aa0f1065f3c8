"""The range without the rarest values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from slimedge.compress.observers import Setting
from slimedge.compress.observers.counting import Counting


class Percentile(Counting):
    """The range that leaves out the rarest values, as many at each end.

    An end is exact to one bin of the histogram, a thousandth of it, and never beyond the smallest and largest value.

    Args:
        bits: of the integers; the range is the same for all.
        percentile: share of the values inside the range, in percent, over 0 and at most 100.

    Example:
        >>> observer = Percentile(percentile=50)
        >>> observer.update(np.arange(1, 101, dtype=np.float32))
        >>> observer.range()
        (26.0, 75.0625)
    """

    setting: ClassVar[Setting | None] = Setting("the share of the values inside, in percent,", 0, 100, 99.9)

    def __init__(self, bits: int = 8, percentile: float = 99.99) -> None:
        super().__init__(bits)
        self.percentile = percentile

    def __repr__(self) -> str:
        return f"Percentile(bits={self.bits}, percentile={self.percentile:g})"

    def range(self) -> tuple[float, float]:
        """Give the range."""
        bins, low, high = self._histogram.bins(), self._histogram.low, self._histogram.high
        if not low < high:
            return low, high
        total = bins.total
        cut = total * (1 - self.percentile / 100) / 2
        below = np.cumsum(bins.counts)
        first = min(int(np.searchsorted(below, cut, side="right")), len(below) - 1)
        last = int(np.searchsorted(below, total - cut, side="left"))
        return max(low, float(bins.lower[first])), min(high, float(bins.upper[last]))
