"""A convolution or dense layer as a product of matrices: what its kernel is multiplied with, position by position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.graph import Layer

# Kinds whose products are formed here; transposed convolutions are not.
KINDS = frozenset({"Conv1D", "Conv2D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D"})


def as_matrix(layer: Layer, kernel: NDArray[Any]) -> NDArray[Any]:
    """Give a kernel as one matrix for each group of channels that sees inputs of its own.

    Args:
        layer: of a kind in `KINDS`.
        kernel: its kernel, or an array of the same shape.

    Returns:
        Shape (groups, inputs, outputs); the inputs are ordered as `patches` gives them.
    """
    if layer.kind.startswith("Depthwise"):
        *window, channels, multiplier = kernel.shape
        return np.moveaxis(kernel, -2, 0).reshape(channels, int(np.prod(window)), multiplier)
    groups = int(layer.config.get("groups", 1))
    flat = kernel.reshape(-1, groups, kernel.shape[-1] // groups)
    return np.moveaxis(flat, 1, 0)


def as_kernel(layer: Layer, matrix: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Give a kernel of `shape` from the matrix that `as_matrix` makes of it.

    Example:
        >>> import keras
        >>> layer = Layer(keras.layers.DepthwiseConv2D, {})
        >>> kernel = np.arange(3 * 3 * 4 * 2).reshape(3, 3, 4, 2)
        >>> np.array_equal(as_kernel(layer, as_matrix(layer, kernel), kernel.shape), kernel)
        True
    """
    if layer.kind.startswith("Depthwise"):
        *window, channels, multiplier = shape
        return np.moveaxis(matrix.reshape(channels, *window, multiplier), 0, -2)
    return np.moveaxis(matrix, 0, 1).reshape(shape)


def patches(layer: Layer, inputs: Any) -> NDArray[np.float32]:
    """Give what a kernel is multiplied with at every position of every example.

    Args:
        layer: of a kind in `KINDS`, channels last.
        inputs: float32, the layer's input, shape (examples, …, channels).

    Returns:
        Shape (positions, groups, inputs), so that the sum over inputs with `as_matrix` is the layer's output without
        bias.
    """
    array = np.asarray(inputs, np.float32)
    if layer.kind == "Dense":
        return array.reshape(-1, 1, array.shape[-1])
    windows = _windows(layer, array)
    channels = array.shape[-1]
    if layer.kind.startswith("Depthwise"):
        return np.swapaxes(windows.reshape(-1, windows.shape[-1] // channels, channels), 1, 2)
    groups = int(layer.config.get("groups", 1))
    split = windows.reshape(-1, windows.shape[-1] // channels, groups, channels // groups)
    return np.swapaxes(split, 1, 2).reshape(len(split), groups, -1)


def mean_product(
    layer: Layer, kernel: NDArray[Any], level: NDArray[np.float64], shape: tuple[int | None, ...]
) -> NDArray[np.float64]:
    """Give what an input with one number in each channel becomes, without bias, on average over positions.

    Args:
        layer: of a kind in `OUTPUT_AXES`, channels last, not transposed.
        kernel: its kernel, or an array of the same shape.
        level: of each channel, shape (channels,).
        shape: of the input; where it leaves sizes open, the zeros beyond the border are not counted.

    Returns:
        float64, shape (output channels,).
    """
    matrix = as_matrix(layer, kernel)
    lines = level.reshape(len(matrix), 1, -1)
    share = _inside(layer, matrix.shape[1] // lines.shape[-1], shape)
    products = (lines * share[:, None]).reshape(len(matrix), 1, -1) @ matrix
    return np.asarray(products, np.float64).reshape(-1)


def _inside(layer: Layer, taps: int, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """At which share of positions each element of the window lies on the input, shape (taps,)."""
    sizes = [size for size in shape[1:-1] if size is not None]
    padded = layer.kind in KINDS - {"Dense"} and layer.config["padding"] != "valid"
    if not padded or len(sizes) < len(shape) - 2:
        return np.ones(taps)
    windows = _windows(layer, np.ones((1, *sizes, 1), np.float32)).reshape(-1, taps)
    return np.asarray(windows.mean(axis=0), np.float64)


def _windows(layer: Layer, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows of a convolution, shape (…, height · width · channels)."""
    import tensorflow as tf

    size, strides, rates = (_pair(layer.config[name]) for name in ("kernel_size", "strides", "dilation_rate"))
    padding = layer.config["padding"].upper()
    if array.ndim == 3:
        array = array[:, None]
    if padding == "CAUSAL":
        array = np.pad(array, ((0, 0), (0, 0), (rates[1] * (size[1] - 1), 0), (0, 0)))
        padding = "VALID"
    made = tf.image.extract_patches(array, [1, *size, 1], [1, *strides, 1], [1, *rates, 1], padding)
    return np.asarray(made)


def _pair(setting: Any) -> tuple[int, int]:
    """Sizes along height and width; a sequence has a height of 1."""
    sizes = (setting,) if isinstance(setting, int) else tuple(setting)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
