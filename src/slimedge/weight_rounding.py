"""Schemes that round weights only: to how many bits each, and the blocks that share a scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

# The most that converters know of activations; grids of more bits lie around 0.
NARROW_BITS = 8

HALF = "fp16"
FOUR_BITS = "weight_only_wi4_afp32"
# Runtimes compute with the rounded weights in float32.
WEIGHT_ONLY_BITS: Mapping[str, int] = {"weight_only_wi8_afp32": 8, FOUR_BITS: 4, HALF: 16}
# The scales of smaller blocks take more bytes than four bits save.
SMALLEST_BLOCK = 16


def largest_integer(bits: int) -> int:
    """Give the end of the symmetric signed grid, 2^(bits - 1) - 1.

    Example:
        >>> largest_integer(8), largest_integer(4)
        (127, 7)
    """
    return int(2 ** (bits - 1) - 1)


def in_blocks(array: NDArray[Number], axis: int, block_size: int) -> NDArray[Number]:
    """Split an axis into two: which block, and which place in it.

    Args:
        array: any shape whose `axis` is a multiple of `block_size`.
        axis: not negative.
        block_size: numbers in a block.

    Example:
        >>> in_blocks(np.zeros((3, 64, 5)), 1, 32).shape
        (3, 2, 32, 5)
    """
    shape = array.shape
    return array.reshape(*shape[:axis], shape[axis] // block_size, block_size, *shape[axis + 1 :])
