"""Which axes of a weight keep a scale of their own, and along which one blocks of a scale each can lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from slimedge.compress.folding import OUTPUT_AXES

# What a scale for each channel and the operator that applies it take in a file, beside 3 bytes saved a weight.
OPERATOR_BYTES = 200
# Weights that are no kernels or tables: they stay float whatever their shape.
FLOAT_WEIGHTS = frozenset(
    {"bias", "gamma", "beta", "moving_mean", "moving_variance", "mean", "variance", "alpha"}
)


def is_large(name: str, shape: tuple[int, ...], saved_bytes: int) -> bool:
    """Tell whether rounding a weight makes a file smaller.

    Args:
        name: the weight's own name.
        shape: the weight's.
        saved_bytes: by each of its numbers.
    """
    return (
        len(shape) >= 2 and name not in FLOAT_WEIGHTS and saved_bytes * int(np.prod(shape)) > OPERATOR_BYTES
    )


def kept_axes(layer: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Give the axes of a weight that keep a scale of their own, or None for a weight that stays float.

    Args:
        layer: the Keras layer that owns it.
        name: the weight's own name (`kernel`).
        shape: the weight's.

    Returns:
        The output channels of kernels, the features of an Embedding, the last axis of any other weight.
    """
    if len(shape) < 2 or name in FLOAT_WEIGHTS:
        return None
    kind = type(layer).__name__
    axes = OUTPUT_AXES.get(kind, (len(shape) - 1,)) if "pointwise" not in name else (len(shape) - 1,)
    if kind in {"SeparableConv1D", "SeparableConv2D"} and name == "depthwise_kernel":
        axes = (len(shape) - 2, len(shape) - 1)
    if kind == "EinsumDense":
        given, kernel, output = einsum_terms(layer.equation)
        axes = tuple(a for a, letter in enumerate(kernel) if letter in output and letter not in given)
    channels = int(np.prod([shape[axis] for axis in axes]))
    saved = 3 * int(np.prod(shape)) - 4 * channels
    return axes if saved > OPERATOR_BYTES else None


def block_axis(layer: Any, name: str, shape: tuple[int, ...]) -> int | None:
    """Give the axis along which numbers of one scale can lie in blocks, or None where a weight has none.

    Args:
        layer: the Keras layer that owns it.
        name: the weight's own name.
        shape: the weight's, 2 or more axes.

    Returns:
        The last axis over which a product sums; along each row of a table. Convolutions have none: their operators
        want a kernel that no operator has reshaped.
    """
    if name == "embeddings":
        return len(shape) - 1
    if type(layer).__name__ == "EinsumDense":
        _, kernel, output = einsum_terms(layer.equation)
        summed = [axis for axis, letter in enumerate(kernel) if letter not in output]
        return summed[-1] if summed else None
    return 0 if len(shape) == 2 else None


def einsum_terms(equation: str) -> tuple[str, str, str]:
    """The letters of the input, the kernel and the output of an EinsumDense."""
    left, _, output = equation.replace(" ", "").partition("->")
    given, _, kernel = left.partition(",")
    return given, kernel, output
