"""A histogram of a stream of float32 numbers in constant memory, as exact for small values as for large ones."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bins in an octave, from one power of two to the next: an end is known to one part in a thousand.
OCTAVE_BINS = 1024
# As many as a float32 has bits of significand: what is smaller vanishes when it is added to the largest value.
OCTAVES = 24
SIDE_BINS = OCTAVES * OCTAVE_BINS
# Values counted at a time: the working arrays stay in a processor's cache, and there are more of them than of bins.
PIECE = 1 << 16
# So many values are all counted. After them one in four of the stream is, for four, and after four times as many one in
# sixteen, or in the next number that has no divisor in common with the size of an example, so that each of its places
# comes as often as the others: a share of 0.0001 is then known to 5 % of itself or better, which moves an end by less
# than other calibration examples would.
COUNTED_ALL = 1 << 22
THINNED = (1, 4, 16)

# float32: 23 bits of fraction, of which the upper ten number the bin in its octave.
_SHIFT = 23 - 10
_MAGNITUDE = np.int32(2**31 - 1)
# The bits of the largest float32 below the smallest bin, with the lowest ones cleared: the bin of what counts as 0.
_BELOW = np.int32(((int(np.float32(2.0**-OCTAVES).view(np.int32)) >> _SHIFT) - 1) << _SHIFT)
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

    def without_zero(self) -> Bins:
        """Give the other bins than that of zero."""
        kept = self.lower < self.upper
        return Bins(self.lower[kept], self.upper[kept], self.counts[kept])


class Histogram:
    """Counts a stream of numbers in bins that are a thousandth of their value wide.

    Each octave below the largest magnitude has 1,024 bins of equal width, for each sign, as in HdrHistogram (Tene,
    2012). The bins are those of the number line, not of the data: two histograms of the same numbers are equal, in
    whatever order and batches these came. (Beyond 4 million values only some of each example count, for the others, at
    places that move from one example to the next.) When the largest magnitude grows, the lowest octaves fall to zero.
    So one huge value costs none of the others its place, as it does where bins are of one width. At most 0.7 MB.

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
        self._examples = 0
        # Values that are not counted yet, and for how many each of them stands.
        self._waiting: list[NDArray[np.float32]] = []
        self._waiting_size = 0
        self._weight = 1
        self._exponent = _SMALLEST_EXPONENT
        self._zeros = 0
        # By sign, made when the first value of that sign comes; row i is bin i of the number line below 2^exponent.
        self._sides: list[NDArray[np.int64] | None] = [None, None]

    def update(self, batch: NDArray[Any]) -> None:
        """Count one more batch (examples first, float32, finite, not empty); the ends are those of all values."""
        rows = np.ascontiguousarray(batch, np.float32).reshape(len(batch), -1)
        self.low, self.high = min(self.low, float(rows.min())), max(self.high, float(rows.max()))
        start = 0
        while start < len(rows):
            step, last = _thinning(self._examples, rows.shape[1])
            end = min(len(rows), start + last - self._examples)
            self._take(rows[start:end], step)
            self._examples += end - start
            start = end

    def _take(self, rows: NDArray[np.float32], step: int) -> None:
        if step != self._weight:
            self._flush()
            self._weight = step
        self._append(rows.reshape(-1)[-self._examples * rows.shape[1] % step :: step])

    def _append(self, values: NDArray[np.float32]) -> None:
        whole = values.size - values.size % PIECE
        for start in range(0, whole, PIECE):
            self._count(values[start : start + PIECE])
        self._waiting.append(values[whole:].copy())
        self._waiting_size += values.size - whole
        if self._waiting_size >= PIECE:
            self._flush()

    def _flush(self) -> None:
        waiting = np.concatenate([np.empty(0, np.float32), *self._waiting])
        self._waiting, self._waiting_size = [], 0
        if waiting.size:
            self._count(waiting)

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

    def _count(self, values: NDArray[np.float32]) -> None:
        """Count values, each for as many as the present weight says.

        The upper bits of a positive float32 are its octave and its place in it: they number its bin.
        """
        low, high = float(values.min()), float(values.max())
        signed = low < 0
        self._make_room(max(-low, high))
        scaled = values * np.float32(2.0**-self._exponent)
        numbers = scaled.view(np.int32)
        if signed:
            sides = numbers < 0
            numbers &= _MAGNITUDE
        # Positive floats are in the order of their bits, and integers compare faster.
        np.maximum(numbers, _BELOW, out=numbers)
        numbers -= _BELOW
        numbers >>= _SHIFT
        if signed:
            numbers += sides * np.int32(1 + SIDE_BINS)
        counts = np.bincount(numbers) * self._weight
        for side, found in enumerate((counts[: 1 + SIDE_BINS], counts[1 + SIDE_BINS :])):
            if found.size:
                self._zeros += int(found[0])
                self._side(side)[: found.size - 1] += found[1:]

    def _side(self, sign: int) -> NDArray[np.int64]:
        """The counts of one sign, made when its first value comes."""
        side = self._sides[sign]
        if side is None:
            side = self._sides[sign] = np.zeros(SIDE_BINS, np.int64)
        return side

    def bins(self, merged: int = 1) -> Bins:
        """Give the bins that hold something.

        Args:
            merged: neighbours that are made one bin, a power of two up to the bins of an octave.
        """
        self._flush()
        steps = 1 + np.arange(0, OCTAVE_BINS, merged) / OCTAVE_BINS
        octaves = [steps * 2.0**-octave for octave in range(OCTAVES, 0, -1)]
        edges = np.ldexp(np.concatenate([*octaves, [1.0]]), self._exponent)
        nothing = np.zeros(SIDE_BINS, np.int64)
        positive, negative = (
            (nothing if side is None else side).reshape(-1, merged).sum(axis=1) for side in self._sides
        )
        above, below = np.flatnonzero(positive), np.flatnonzero(negative)[::-1]
        zero = [0] if self._zeros else []
        return Bins(
            np.concatenate([-edges[below + 1], zero, edges[above]]),
            np.concatenate([-edges[below], zero, edges[above + 1]]),
            np.concatenate([negative[below], [self._zeros] * len(zero), positive[above]]).astype(np.int64),
        )


def _thinning(example: int, size: int) -> tuple[int, int]:
    """Of how many values of an example one counts, and the example from which on it is another number.

    What counts depends on an example's place in the stream alone, never on how that is cut into batches.
    """
    for least in THINNED[:-1]:
        last = -(-COUNTED_ALL * least // size)
        if example < last:
            return _without_common_divisor(least, size), last
    return _without_common_divisor(THINNED[-1], size), sys.maxsize


def _without_common_divisor(least: int, size: int) -> int:
    return next(number for number in itertools.count(least) if math.gcd(number, size) == 1)
