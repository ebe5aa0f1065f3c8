"""The range whose grid keeps the most of a distribution's shape."""

from __future__ import annotations

import numpy as np

from slimedge.compress.observers.counting import Counting
from slimedge.compress.observers.histogram import OCTAVE_BINS, OCTAVES, Bins

# Thresholds that are tried in each octave.
OCTAVE_THRESHOLDS = 16
# With fewer values in a bin, on the average, the divergence is that of the sample's noise: n bins of N values lose
# n / 2N nats by chance alone (Miller, 1955), more where more bins lie in a level, which favours narrow ranges.
LEAST_AVERAGE = 128


class Entropy(Counting):
    """The clipping threshold with the least Kullback-Leibler divergence between values and rounded values.

    The method of TensorRT (Migacz, 2017, "8-bit Inference with TensorRT"): the reference has what is clipped in its
    last bin; the candidate spreads what a level holds over the level's bins. Here the levels are those of the affine
    grid of the range, a level's share of a bin is as its width, and zeros are left out: each grid holds them exactly.

    Args:
        bits: of the integers; there are 2^bits levels. Where the bins are no more than the levels, nothing is clipped.

    Example:
        >>> observer = Entropy(bits=4)
        >>> observer.update(np.float32([*np.linspace(0, 1, 20001), 20]))
        >>> [round(end, 1) for end in observer.range()]
        [0.0, 1.1]
    """

    def range(self) -> tuple[float, float]:
        """Give the range."""
        low, high = self._histogram.low, self._histogram.high
        bins = self._histogram.bins().without_zero()
        if not low < high or not bins.total:
            return low, high
        merged = 1
        while merged < OCTAVE_BINS and bins.total < LEAST_AVERAGE * len(bins.counts):
            merged *= 2
            bins = self._histogram.bins(merged).without_zero()
        return best_range(bins, low, high, self.bits)


def best_range(bins: Bins, low: float, high: float, bits: int) -> tuple[float, float]:
    """Find the threshold on the magnitude whose range diverges least; the widest one of equals.

    Args:
        bins: of the values, without zero.
        low: smallest of the values.
        high: largest of them.
        bits: of the integers.

    Returns:
        (max(low, -threshold), min(high, threshold)).
    """
    largest = max(-low, high)
    best, least = (low, high), np.inf
    for step in range(OCTAVES * OCTAVE_THRESHOLDS):
        threshold = largest * 2 ** (-step / OCTAVE_THRESHOLDS)
        ends = max(low, -threshold), min(high, threshold)
        found = divergence(bins, *ends, bits)
        if found < least:
            best, least = ends, found
        elif np.isinf(found):
            break  # a narrower one clips more values, and has fewer bins
    return best


def divergence(bins: Bins, low: float, high: float, bits: int) -> float:
    """Give the Kullback-Leibler divergence of rounding to a range: sum of p · log(p / q).

    Args:
        bins: of the values, without zero.
        low: end of the range.
        high: other end.
        bits: of the integers.

    Returns:
        Nats; infinity for a range that is not to be taken: one with fewer bins than levels, or one that clips more
        values than an even share for each level.
    """
    centers, widths = bins.centers, bins.upper - bins.lower
    first, last = np.searchsorted(centers, low), np.searchsorted(centers, high, side="right")
    inside = bins.counts[first:last].astype(np.float64)
    clipped = bins.total - inside.sum()
    if clipped and (inside.size < 2**bits or clipped * 2**bits > bins.total):
        return np.inf
    scale = (max(high, 0.0) - min(low, 0.0)) / (2**bits - 1)
    level = np.rint(centers[first:last] / scale)
    starts = np.flatnonzero(np.diff(level, prepend=np.nan) != 0)
    sizes = np.diff(starts, append=level.size)
    shares = np.add.reduceat(inside, starts) / np.add.reduceat(widths[first:last], starts)
    candidate = widths[first:last] * np.repeat(shares, sizes)
    reference = inside.copy()
    reference[0] += bins.counts[:first].sum()
    reference[-1] += bins.counts[last:].sum()
    reference /= reference.sum()
    candidate /= candidate.sum()
    return float(np.sum(reference * np.log(reference / candidate)))
