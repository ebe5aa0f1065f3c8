"""Does a float array lie on a grid of integers? A weight rounded in Keras is found again wherever it has moved.

Weight-only quantization leaves a weight at integers times one scale a channel, or one a block of the numbers that are
summed up. Transposing, reshaping and scaling channels keep that, so integers and scales can be read off a converted
file, exactly, whatever rounding chose them: the scale of a group is its largest number over a whole number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.weight_rounding import WEIGHT_ONLY_BITS, in_blocks, largest_integer

# Of a level, relative: float32 rounds integer · scale, a factor that a converter folds in, the same for the number that
# the scale is read off, and the two quotients; each by at most 6e-8.
TOLERANCE = 4.8e-7
# Below this a scale for each channel takes more than is saved.
SMALLEST_SIZE = 64
# How far, in units of its last place, the scale may be from the quotient that it is read off: three roundings.
NEIGHBOURS = (0, 1, -1, 2, -2)
# Most arrays are no grid; a few numbers of a few channels show that.
FIRST_LINES = 4
FIRST_NUMBERS = 64


@dataclass(frozen=True, slots=True)
class Grid:
    """An array as integers.

    Attributes:
        values: int8, the array's shape.
        scale: float32; one for each channel, or the array's shape with the blocks counted along `axis`.
        axis: along which the channels lie, or the blocks.
        block: how many numbers along `axis` share a scale; None for a scale for each channel.
    """

    values: NDArray[np.int8]
    scale: NDArray[np.float32]
    axis: int
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Rounding:
    """What weights were rounded to.

    Attributes:
        bits: of each: 4 and 8 are integers, 16 is float16.
        block_size: how many share a scale; None for a scale for each channel.
    """

    bits: int
    block_size: int | None = None

    def form_of(self, array: NDArray[np.float32]) -> Grid | NDArray[np.float16] | None:
        """Give an array in fewer bits, or None where that would change a number."""
        if self.bits == 16:
            return halves_of(array)
        return grid_of(array, largest=largest_integer(self.bits), block_size=self.block_size)


def rounding_of(scheme: str | None, block_size: int | None = None) -> Rounding | None:
    """Give what a scheme rounds weights to, None for one that rounds more than weights and for a float model.

    Example:
        >>> rounding_of("weight_only_wi4_afp32", 32)
        Rounding(bits=4, block_size=32)
    """
    bits = WEIGHT_ONLY_BITS.get(scheme or "")
    return None if bits is None else Rounding(bits, block_size)


def is_weight(array: NDArray[np.generic]) -> bool:
    """Tell whether an array is large enough to be kept in fewer bits."""
    return array.dtype == np.float32 and array.ndim >= 2 and array.size >= SMALLEST_SIZE


def grid_of(array: NDArray[np.float32], *, largest: int = 127, block_size: int | None = None) -> Grid | None:
    """Give the integers of which an array consists, or None where it is no grid along any axis.

    Args:
        array: float32 of rank 2 or more; a smaller one is left as it is.
        largest: of the integers, without sign: 127 of 8 bits, 7 of 4.
        block_size: look for blocks of so many numbers, too, where no axis has a scale for each channel.

    Example:
        >>> found = grid_of(np.float32([[0.5, 127.0], [63.5, -2.0]]).repeat(20, 0))
        >>> found.axis, found.scale.tolist(), found.values[[0, 20]].tolist()
        (1, [0.5, 1.0], [[1, 127], [127, -2]])
    """
    if not is_weight(array) or not array.any():
        return None
    axes = tuple(reversed(range(array.ndim)))
    found = (_by_channel(array, axis, largest) for axis in axes)
    grid = next(filter(None, found), None)
    if grid is None and block_size is not None:
        found = (_by_block(array, axis, block_size, largest) for axis in axes)
        grid = next(filter(None, found), None)
    return grid


def _by_channel(array: NDArray[np.float32], axis: int, largest: int) -> Grid | None:
    if array.shape[axis] * 4 >= array.size * 3:  # as many scales as weights save nothing
        return None
    scale = _scale_of(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1), largest)
    if scale is None:
        return None
    shape = [-1 if other == axis else 1 for other in range(array.ndim)]
    return Grid(_integers(array, scale.reshape(shape)), scale, axis)


def _by_block(array: NDArray[np.float32], axis: int, size: int, largest: int) -> Grid | None:
    if array.shape[axis] % size:
        return None
    split = in_blocks(array, axis, size)
    turned = np.moveaxis(split, axis + 1, -1)
    scale = _scale_of(turned.reshape(-1, size), largest)
    if scale is None:
        return None
    scale = scale.reshape(turned.shape[:-1])
    integers = _integers(split, np.expand_dims(scale, axis + 1)).reshape(array.shape)
    return Grid(integers, scale, axis, size)


def halves_of(array: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """Give an array as float16, or None where that would change a number.

    Example:
        >>> halves_of(np.full((8, 8), 0.1, np.float32)) is None
        True
    """
    if not is_weight(array):
        return None
    with np.errstate(over="ignore"):
        halves = array.astype(np.float16)
    return halves if np.array_equal(halves.astype(np.float32), array) else None


def _integers(array: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.asarray(np.rint(array / scale), np.int8)


def _scale_of(lines: NDArray[np.float32], largest: int) -> NDArray[np.float32] | None:
    """The scale of each line, of shape (lines,), or None where one of them is no grid.

    The end of a line's grid is tried as the place of its largest number first, then every other place: rounding need
    not use the whole grid.
    """
    if lines.shape[1] > FIRST_NUMBERS or len(lines) > FIRST_LINES:
        first = lines[:FIRST_LINES, :FIRST_NUMBERS]
        if first.size < lines.size and _scale_of(np.ascontiguousarray(first), largest) is None:
            return None
    tops = np.abs(lines).max(axis=1)
    scale = np.zeros(len(lines), np.float32)
    open_ = np.flatnonzero(tops)
    for place in (largest, *range(1, largest)):
        if not len(open_):
            break
        steps = (tops[open_] / place).astype(np.float32)
        fits = _is_on(lines[open_, :FIRST_NUMBERS], steps)
        fits[fits] = _is_on(lines[open_[fits]], steps[fits])
        scale[open_[fits]] = steps[fits]
        open_ = open_[~fits]
    if len(open_):
        return None
    scale[scale == 0] = scale.max() or 1.0
    return _sharpened(lines, scale)


def _is_on(lines: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.bool_]:
    levels = lines / scale[:, None]
    nearest = np.rint(levels)
    return np.asarray(np.all(np.abs(levels - nearest) <= TOLERANCE * np.abs(nearest), axis=1))


def _sharpened(lines: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move each scale to that neighbour which gives most numbers back to the last bit."""
    best, fewest = scale.copy(), np.full(len(scale), lines.shape[1] + 1)
    open_ = np.arange(len(scale))
    for steps in NEIGHBOURS:
        near = (scale[open_].view(np.int32) + steps).view(np.float32)  # scales are positive
        held = lines[open_]
        wrong = np.count_nonzero(np.rint(held / near[:, None]) * near[:, None] != held, axis=1)
        better = wrong < fewest[open_]
        best[open_[better]], fewest[open_[better]] = near[better], wrong[better]
        open_ = open_[fewest[open_] > 0]
        if not len(open_):
            break
    return best
