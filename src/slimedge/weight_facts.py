"""What the numbers of one weight look like: zeros, few distinct values, patterns of zeros that hardware knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A palette's index has 8 bits at most, and pays only where there are more numbers than places in the palette.
MOST_VALUES = 256
# N of M numbers along the input may be non-zero; the fewest in a share of M first. 2:4 is what NVIDIA's sparse tensor
# cores multiply (Mishra et al., 2021, "Accelerating sparse deep neural networks").
_PATTERNS = ((1, 4), (2, 4), (4, 8))
_FILLED = 0.75
_TRIED = 4096


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """One weight of a model file.

    Attributes:
        name: as in the file.
        shape: of the whole weight, in the file's order.
        dtype: of its numbers as they are stored.
        parameters: numbers in the whole weight.
        nonzero_parameters: those that do not stand for zero.
        distinct_values: how many different numbers it has, zero included; None for a weight of so few numbers, or of
            so many different ones, that a palette would not make it smaller.
        pattern: `2:4` where of 4 numbers in a row along the input at most 2 are not zero; likewise `1:4` and `4:8`.
        sparse: whether only some of its numbers are stored, with their places.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    parameters: int
    nonzero_parameters: int
    distinct_values: int | None = None
    pattern: str | None = None
    sparse: bool = False


def totals(weights: Iterable[WeightFacts]) -> tuple[int, int]:
    """Add up the numbers of weights: all of them, and those that do not stand for zero."""
    weights = tuple(weights)
    return sum(each.parameters for each in weights), sum(each.nonzero_parameters for each in weights)


def nonzero(values: NDArray[Any], points: NDArray[Any] | None = None, axis: int = 0) -> NDArray[np.bool_]:
    """Tell which numbers do not stand for zero; a quantized one stands for zero where it is its zero point.

    Args:
        values: any shape and type.
        points: zero points, one or as many as `values` has places along `axis`; any other count is not applied, as
            of scales for each block.
        axis: that the zero points lie along.

    Returns:
        Booleans of the same shape.
    """
    if points is None or not np.any(points):
        return values.astype(bool)
    if points.size == 1:
        return np.asarray(values != points.reshape(-1)[0])
    if points.ndim != 1 or not 0 <= axis < values.ndim or values.shape[axis] != points.size:
        return values.astype(bool)
    shape = [1] * values.ndim
    shape[axis] = points.size
    return np.asarray(values != points.reshape(shape))


def distinct_values(values: NDArray[Any], kept: NDArray[np.bool_], bits: int, size: int) -> int | None:
    """Count the different numbers of a weight that a palette would make smaller.

    Args:
        values: any shape and type; of a sparse weight those that are stored.
        kept: of the same shape, which of them do not stand for zero (`nonzero`).
        bits: that one number takes.
        size: numbers in the whole weight.

    Returns:
        The count, zero included, if an index into so many values takes fewer bits than a number and is one of 8 bits at
        most, and more than 256 numbers of the weight are not zero; else None.

    Example:
        >>> weight = np.tile(np.float32([0.0, 0.5, -0.25]), 200)
        >>> distinct_values(weight, nonzero(weight), 32, weight.size)
        3
    """
    most = min(MOST_VALUES, 1 << max(bits - 1, 0))
    if values.dtype.itemsize not in (1, 2, 4, 8):
        return None
    # As bits, so that types of other libraries can be compared; the zeros of both signs are counted apart.
    coded = np.ascontiguousarray(values[kept]).view(np.dtype(f"u{values.dtype.itemsize}"))
    if coded.size <= MOST_VALUES or len(np.unique(coded[:_TRIED])) > most:
        return None
    count = len(np.unique(coded)) + int(coded.size < size)
    return count if count <= most else None


def pattern(kept: NDArray[np.bool_], axis: int | None) -> str | None:
    """Find the pattern that the zeros of a weight keep to.

    Where most numbers are zero, they keep to patterns by chance; so a pattern must be filled to three quarters.

    Args:
        kept: any shape, which numbers are not zero.
        axis: that the input lies along; None where there is none.

    Returns:
        `1:4`, `2:4`, `4:8`, or None; None as well for a weight of 256 numbers or fewer.

    Example:
        >>> pattern(np.tile([True, False, False, True], (64, 4)), 1)
        '2:4'
    """
    if axis is None or kept.size <= MOST_VALUES:
        return None
    rows, share = np.moveaxis(kept, axis, -1), np.count_nonzero(kept) / kept.size
    for most, group in _PATTERNS:
        if rows.shape[-1] % group == 0 and _FILLED * most / group <= share <= most / group:
            counts = np.count_nonzero(rows.reshape(-1, group), axis=-1)
            if counts.max() <= most:
                return f"{most}:{group}"
    return None
