"""A histogram of a stream of float32 numbers in constant memory, as exact for small values as for large ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bins in an octave, from one power of two to the next: an end is known to one part in a thousand.
OCTAVE_BINS = 1024
# As many as a float32 has bits of significand: what is smaller vanishes when it is added to the largest value.
OCTAVES = 24
SIDE_BINS = OCTAVES * OCTAVE_BINS
# Values counted at a time: the working arrays stay in a processor's cache.
PIECE = 1 << 17

# float32: 23 bits of fraction, of which the upper ten number the bin in its octave.
_SHIFT = 23 - 10
# A bin's number on its side, 1 … SIDE_BINS, or 0 for zero, and at bit 15 the side.
_SIGN = 15
_NUMBER = np.uint64((1 << 16) - 1)
# The bits of the largest float32 below the smallest bin, with the lowest ones cleared: number 0.
_BELOW = np.int32((int(np.float32(2.0**-OCTAVES).view(np.int32)) >> _SHIFT) - 1 << _SHIFT)
_HALF = 32
_BOTH = (1 << _HALF) + 1  # writes a constant into both halves of a word
_BASES = np.uint64(int(_BELOW) * _BOTH)
_SIGNS = np.uint64((1 << 31) * _BOTH)
_SMALLEST_EXPONENT = -100  # 2^100 and 2^-128 are float32 numbers


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of a histogram that hold something, from the lowest to the highest.

    Attributes:
        lower: end nearer to minus infinity, shape (n,), float64.
        upper: the other end; a bin whose ends are both 0 holds what counts as 0.
        counts: of values, int64.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin, shape (n,)."""
        return (self.lower + self.upper) / 2

    @property
    def total(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())


class Histogram:
    """Counts a stream of numbers in bins that are a thousandth of their value wide.

    Each octave below the largest magnitude has 1,024 bins of equal width, for each sign, as in HdrHistogram (Tene,
    2012). The bins are those of the number line, not of the data: two histograms of the same numbers are equal, in
    whatever order and batches these came. When the largest magnitude grows, the lowest octaves fall to zero. So one
    huge value costs none of the others its place, as it does where bins are of one width. At most 0.4 MB.

    Example:
        >>> histogram = Histogram()
        >>> histogram.update(np.float32([0, 1, 1, -3]))
        >>> histogram.bins().counts
        array([1, 1, 2])
        >>> histogram.bins().lower
        array([-3.00195312,  0.        ,  1.        ])
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self._exponent = _SMALLEST_EXPONENT
        self._zeros = 0
        # By sign, made when the first value of that sign comes; row i is bin i of the number line below 2^exponent.
        self._sides: list[NDArray[np.int64] | None] = [None, None]

    def update(self, batch: NDArray[Any]) -> None:
        """Count one more batch (any shape, float32, finite, not empty)."""
        low, high = float(batch.min()), float(batch.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._make_room(max(-low, high))
        values = np.ascontiguousarray(batch, np.float32).reshape(-1)
        if values.size % 2:
            self._count(np.append(values[-1:], np.float32(0)), signed=low < 0)
            self._zeros -= 1
            values = values[:-1]
        for start in range(0, values.size, PIECE):
            self._count(values[start : start + PIECE], signed=low < 0)

    def _make_room(self, largest: float) -> None:
        """Raise the highest octave to that of `largest`; what the lowest octaves held becomes zero."""
        exponent = int(np.frexp(largest)[1])
        octaves = exponent - self._exponent
        if octaves <= 0:
            return
        self._exponent = exponent
        lost = min(octaves, OCTAVES) * OCTAVE_BINS
        for side in self._sides:
            if side is not None:
                self._zeros += int(side[:lost].sum())
                side[:-lost] = side[lost:]
                side[-lost:] = 0

    def _count(self, values: NDArray[np.float32], *, signed: bool) -> None:
        """Count an even number of values.

        The upper bits of a float32 are its octave and its place in it, so they number its bin. Two of them are worked
        on in each 64-bit word, which is the type that `np.bincount` takes.
        """
        scaled = values * np.float32(2.0**-self._exponent)
        sign = scaled.view(np.uint64) & _SIGNS if signed else None
        if sign is not None:
            np.abs(scaled, out=scaled)
        # Positive floats are in the order of their bits, and integers compare faster: they have no NaN.
        bits = scaled.view(np.int32)
        np.maximum(bits, _BELOW, out=bits)
        words = scaled.view(np.uint64)
        words -= _BASES
        if sign is not None:
            words |= sign >> np.uint64(31 - _SIGN - _SHIFT)
        numbers = np.empty(values.size, np.int64)
        upper, lower = numbers.view(np.uint64).reshape(2, -1)
        np.right_shift(words, _HALF + _SHIFT, out=upper)
        np.right_shift(words, _SHIFT, out=lower)
        lower &= _NUMBER
        counts = np.bincount(numbers)
        for at, side in ((0, 0), (1 << _SIGN, 1)):
            found = counts[at : at + 1 + SIDE_BINS]
            if found.any():
                self._zeros += int(found[0])
                if self._sides[side] is None:
                    self._sides[side] = np.zeros(SIDE_BINS, np.int64)
                self._sides[side][: found.size - 1] += found[1:]

    def bins(self) -> Bins:
        """Give the bins that hold something."""
        steps = 1 + np.arange(OCTAVE_BINS) / OCTAVE_BINS
        edges = np.concatenate([*(steps * 2.0**-octave for octave in range(OCTAVES, 0, -1)), [1.0]])
        edges = np.ldexp(edges, self._exponent)
        positive, negative = (self._side(sign) for sign in (0, 1))
        above, below = np.flatnonzero(positive), np.flatnonzero(negative)[::-1]
        zero = [0.0] if self._zeros else []
        return Bins(
            np.concatenate([-edges[below + 1], zero, edges[above]]),
            np.concatenate([-edges[below], zero, edges[above + 1]]),
            np.concatenate([negative[below], [self._zeros] * len(zero), positive[above]]).astype(np.int64),
        )

    def _side(self, sign: int) -> NDArray[np.int64]:
        side = self._sides[sign]
        return np.zeros(SIDE_BINS, np.int64) if side is None else side
