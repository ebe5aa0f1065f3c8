"""Grids of kernels: the scale of each channel, rounding to it, and what the int32 bias beside it can hold."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from slimedge.weight_rounding import largest_integer

# A bias is stored as int32 in units of input scale · kernel scale; two bits are kept as headroom.
LARGEST_BIAS = 2**29
# Shares of the largest weight that are tried as the end of the grid.
SHARES = np.linspace(0.3, 1.0, 71)


def kernel_scale(
    kernel: NDArray[np.float32],
    axes: Collection[int],
    floor: NDArray[np.float64] | None = None,
    *,
    bits: int = 8,
    per_tensor: bool = False,
    least_error: bool = False,
) -> NDArray[np.float32]:
    """Give the symmetric scale of each channel.

    max|w| / q; with `least_error` the end of the grid is the share of max|w| with the least sum of squared errors
    (Banner et al., 2019, "Post training 4-bit quantization of convolutional networks for rapid-deployment", section
    3.1, searched instead of approximated).

    Args:
        kernel: float32, any shape.
        axes: axes that keep a scale of their own.
        floor: smallest scale that the layer's int32 bias can bear, of the result's shape; a channel of zeros
            gets the largest scale of its layer.
        bits: of the integers.
        per_tensor: whether all channels have the scale of the largest.
        least_error: whether the grid may end before the largest weight, which pays for few bits.

    Returns:
        float32, the kernel's rank, size 1 on the other axes.
    """
    limit = largest_integer(bits)
    reduced = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    whole = tuple(range(kernel.ndim)) if per_tensor else reduced
    largest = np.max(np.abs(kernel), axis=whole, keepdims=True).astype(np.float64) / limit
    if least_error:
        largest = largest * _best_share(kernel, largest, whole, limit)
    top = float(largest.max()) or 1.0
    scale = np.where(largest > 0, largest, top)
    if per_tensor:
        scale = np.broadcast_to(
            scale, [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
        )
        floor = None if floor is None else np.full(scale.shape, floor.max())
    return np.asarray(scale if floor is None else np.maximum(scale, floor), np.float32)


def _best_share(
    kernel: NDArray[np.float32], scale: NDArray[np.float64], reduced: tuple[int, ...], limit: int
) -> NDArray[np.float64]:
    """The share of each scale that rounds its weights with the least squared error."""
    safe = np.where(scale > 0, scale, 1.0)
    best, least = np.ones_like(safe), np.full(safe.shape, np.inf)
    for share in SHARES[::-1]:
        step = safe * share
        error = np.sum(
            np.square(kernel - np.clip(np.rint(kernel / step), -limit, limit) * step),
            axis=reduced,
            keepdims=True,
        )
        better = error < least
        best, least = np.where(better, share, best), np.where(better, error, least)
    return best


def on_grid(weight: NDArray[np.float32], scale: NDArray[np.float32], bits: int = 8) -> NDArray[np.float32]:
    """Round a weight to its symmetric grid, as `FakeQuantWeights` does."""
    limit = largest_integer(bits)
    return np.asarray(np.clip(np.rint(weight / scale), -limit, limit) * scale, np.float32)


def snapped_bias(
    bias: NDArray[np.float32], input_scale: float, scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Round a bias to what the runtimes' int32 bias can hold: multiples of input scale · kernel scale.

    Without it the Keras graph and the files differ at each rounding tie that the bias decides.

    Args:
        bias: float32, shape (channels,).
        input_scale: of the layer's input.
        scale: of the kernel, one per channel, any rank.
    """
    unit = np.float64(input_scale) * scale.astype(np.float64).reshape(-1)
    return np.asarray(np.rint(bias / unit) * unit, np.float32)


def bias_floor(
    kernel: NDArray[np.float32],
    axes: Collection[int],
    bias: NDArray[np.float32] | None,
    input_scale: float,
) -> NDArray[np.float64] | None:
    """Give the smallest scale of each channel with which its bias fits into int32, or None without a bias."""
    if bias is None:
        return None
    shape = [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
    return np.asarray(np.abs(bias).reshape(shape) / (input_scale * LARGEST_BIAS), np.float64)
