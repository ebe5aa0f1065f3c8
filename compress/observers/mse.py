"""The range whose grid has the least squared error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.observers.counting import Counting
from slimedge.compress.observers.histogram import OCTAVES, Bins

# Scales that are tried: so many in each octave, then as many between the neighbours of the best one, twice.
OCTAVE_SCALES = 8
REFINEMENTS = 2
# Zero points that are tried for each scale; with more levels than this, evenly spaced ones.
ZERO_POINTS = 256


class Mse(Counting):
    """The affine grid with the least expected squared error of rounding and clipping together.

    Sakr et al., 2022, "Optimal Clipping and Magnitude-aware Differentiation for Improved Quantization-aware Training",
    equation 2, minimize clipping plus step² / 12 over a symmetric range. Here both ends are free, and the rounding
    error is that of the grid itself, which holds 0 exactly: half of what a ReLU gives is 0 and has none.

    Args:
        bits: of the integers.

    Example:
        >>> observer = Mse(bits=2)
        >>> observer.update(np.float32([0, 1, 2, 3] * 100 + [3.5]))
        >>> [round(end, 2) for end in observer.range()]
        [0.0, 3.0]
    """

    def range(self) -> tuple[float, float]:
        """Give the range."""
        low, high = self._histogram.low, self._histogram.high
        if low == high or not low < high:
            return low, high
        return best_range(self._histogram.bins(), low, high, self.bits)


def best_range(bins: Bins, low: float, high: float, bits: int) -> tuple[float, float]:
    """Find the ends of the affine grid that rounds and clips with the least squared error.

    Args:
        bins: of the values.
        low: smallest of them.
        high: largest of them.
        bits: of the integers.

    Returns:
        Ends of a grid that holds 0: (-zero point · scale, (2^bits - 1 - zero point) · scale).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**bits - 1
    widest = (high - low) / levels
    tails = Tails(bins)
    tried: dict[float, _Grid] = {}

    def error_of(scale: float) -> float:
        if scale not in tried:
            tried[scale] = _best_grid(bins, tails, scale, levels, low, high)
        return tried[scale].error

    ratio = 2 ** (1 / OCTAVE_SCALES)
    best = widest
    for step in range(1, OCTAVES * OCTAVE_SCALES):
        scale = widest * ratio**-step
        best = min(best, scale, key=error_of)
        # A smaller scale clips more; where that alone is worse, the search is over.
        if tried[scale].clipping > error_of(best):
            break
    for _ in range(REFINEMENTS):
        around = np.linspace(-1, 1, 2 * OCTAVE_SCALES + 1)
        best = min((min(best * ratio ** float(step), widest) for step in around), key=error_of)
        ratio **= 1 / OCTAVE_SCALES
    zero_point = tried[best].zero_point
    return 0.0 - zero_point * best, (levels - zero_point) * best


@dataclass(frozen=True, slots=True)
class _Grid:
    """The best grid of one scale: its squared error, the least clipping of any such grid, its zero point."""

    error: float
    clipping: float
    zero_point: int


class Tails:
    """Squared distance of all values below, or above, a point: sum of n(x - c)² = S2 - 2cS1 + c²S0."""

    def __init__(self, bins: Bins) -> None:
        counts, centers, width = bins.counts.astype(np.float64), bins.centers, bins.upper - bins.lower
        # The second moment of values spread evenly over a bin has width² / 12 on top.
        moments = np.stack([counts, counts * centers, counts * (centers**2 + width**2 / 12)])
        self._below = np.pad(np.cumsum(moments, axis=1), ((0, 0), (1, 0)))
        self._above = np.pad(np.cumsum(moments[:, ::-1], axis=1), ((0, 0), (1, 0)))[:, ::-1]

    def clipped(
        self, first: NDArray[np.int64], last: NDArray[np.int64], lows: NDArray[Any], highs: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Give the error of moving bins before `first` to `lows` and bins from `last` on to `highs`."""
        below, above = self._below[:, first], self._above[:, last]
        return np.asarray(
            below[2]
            - 2 * lows * below[1]
            + lows**2 * below[0]
            + above[2]
            - 2 * highs * above[1]
            + highs**2 * above[0]
        )


def _best_grid(bins: Bins, tails: Tails, scale: float, levels: int, low: float, high: float) -> _Grid:
    # A grid that covers one end with levels to spare beyond it is no better than one that starts there.
    fewest = max(0, levels - math.ceil(high / scale))
    most = min(levels, math.ceil(-low / scale))
    if fewest > most:
        fewest, most = most, fewest
    points = np.unique(np.linspace(fewest, most, min(most - fewest + 1, ZERO_POINTS)).round())
    lows, highs = -points * scale, (levels - points) * scale
    rounding = np.pad(np.cumsum(bins.counts * rounding_error(bins, scale)), (1, 0))
    centers = bins.centers
    # What lies within half a step beyond an end is rounded to it: that is the clipping error as well.
    first, last = np.searchsorted(centers, lows), np.searchsorted(centers, highs, side="right")
    clipping = tails.clipped(first, last, lows, highs)
    errors = rounding[last] - rounding[first] + clipping
    best = int(np.argmin(errors))
    return _Grid(float(errors[best]), float(clipping.min()), int(points[best]))


def rounding_error(bins: Bins, scale: float) -> NDArray[np.float64]:
    """Give the mean squared error of rounding each bin's values, evenly spread over it, to multiples of `scale`.

    With r the distance to the next multiple, the integral of r² up to x = (n + f) · scale, |f| ≤ 1/2, is
    scale³ · (n / 12 + f³ / 3).

    Args:
        bins: of the values.
        scale: distance of two grid points.

    Returns:
        One error for each bin, in the values' unit squared.
    """
    lower, upper = bins.lower / scale, bins.upper / scale
    width = upper - lower
    # Counted from the grid point below the bin, so that large numbers do not cancel.
    start = np.rint(lower)
    from_, to = lower - start, upper - start
    steps = np.rint(to)
    integral = steps / 12 + ((to - steps) ** 3 - from_**3) / 3
    mean = np.divide(integral, width, out=from_**2, where=width > 0)
    return np.asarray(mean * scale**2)
