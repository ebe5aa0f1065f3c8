"""Does a float array lie on an int8 grid? A weight that was rounded in Keras is found again wherever it has moved.

Weight-only quantization rounds a weight to integers times one scale a channel, the largest at ±127. Transposing,
reshaping and scaling channels keep that, so the integers can be read off a converted file, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 127
# Two roundings of float32: one of integer · scale, one of a converter that folded a factor in.
TOLERANCE = 4e-7
# Below this a scale for each channel takes more than is saved.
SMALLEST_SIZE = 64


@dataclass(frozen=True, slots=True)
class Grid:
    """An array as integers.

    Attributes:
        values: int8, the array's shape.
        scale: float32, one for each channel.
        axis: along which the channels lie.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    axis: int


def grid_of(array: NDArray[np.float32]) -> Grid | None:
    """Give the integers of which an array consists, or None where it is no grid along any axis.

    Args:
        array: float32 of rank 2 or more; a smaller one is left as it is.

    Example:
        >>> found = grid_of(np.float32([[0.5, 127.0], [63.5, -2.0]]).repeat(20, 0))
        >>> found.axis, found.scale.tolist(), found.values[[0, 20]].tolist()
        (1, [0.5, 1.0], [[1, 127], [127, -2]])
    """
    if array.dtype != np.float32 or array.ndim < 2 or array.size < SMALLEST_SIZE or not array.any():
        return None
    for axis in reversed(range(array.ndim)):
        if array.shape[axis] * 4 >= array.size * 3:  # as many scales as weights save nothing
            continue
        lines = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
        scale = (np.abs(lines).max(axis=1) / LARGEST).astype(np.float32)
        scale[scale == 0] = scale.max()
        column = scale[:, None]
        # Most arrays are no grid; a few numbers of each channel show that.
        if _is_on(lines[:, :64], column) and _is_on(lines, column):
            shape = [-1 if other == axis else 1 for other in range(array.ndim)]
            values = np.rint(array / scale.reshape(shape)).astype(np.int8)
            return Grid(values, scale, axis)
    return None


def _is_on(lines: NDArray[np.float32], scale: NDArray[np.float32]) -> bool:
    levels = lines / scale
    return bool(np.all(np.abs(levels - np.rint(levels)) <= TOLERANCE * LARGEST))
