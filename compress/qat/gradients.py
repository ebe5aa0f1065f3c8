"""Rounding with a gradient for what is rounded and for the ends of the grid.

Rounding itself has no slope; the straight-through estimator (Bengio et al., 2013) takes it as 1. What is left of the
formula then also has a slope in the scale: learned step size (Esser et al., 2020, "Learned Step Size Quantization",
eq. 3), with an offset as in LSQ+ (Bhalgat et al., 2020, eq. 4) and trained thresholds (Jain et al., 2019, eq. 6).
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


def rounded_activation(x: Any, low: Any, high: Any, bits: int) -> Any:
    """Round to the grid of low…high, with gradients for all three.

    With s = (high - low) / (2^bits - 1), y = s · round(x / s) inside, low below and high above, so

        dy/dx = 1, dy/dhigh = -dy/dlow = (y - x) / (high - low)   inside,
        dy/dlow = 1 below,   dy/dhigh = 1 above.

    Args:
        x: any shape, float32.
        low: scalar, at most 0.
        high: scalar, at least 0, above `low`.
        bits: of the grid.

    Returns:
        What `slimedge.fake_quant.FakeQuant` gives. The gradients of low and high are multiplied with
        `gradient_scale` of the size of one example.

    Example:
        >>> x, low, high = tf.constant([-3.0, 0.6, 9.0]), tf.constant(-1.0), tf.constant(2.0)
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = rounded_activation(x, low, high, 2)
        >>> y.numpy().tolist(), tape.gradient(y, x).numpy().tolist()
        ([-1.0, 1.0, 2.0], [0.0, 1.0, 0.0])
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def rounding(x: Any, low: Any, high: Any) -> tuple[Any, Any]:
        y = tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits)

        def gradients(upstream: Any) -> tuple[Any, Any, Any]:
            inside, under, over = tf.quantization.fake_quant_with_min_max_vars_gradient(
                upstream, x, low, high, num_bits=bits
            )
            error = tf.reduce_sum(inside * (y - x)) / (high - low)
            count = tf.cast(tf.size(x), tf.float32) / tf.cast(tf.shape(x)[0], tf.float32)
            scale = gradient_scale(count, 2**bits - 1)
            return inside, (under - error) * scale, (over + error) * scale

        return y, gradients

    return rounding(x, low, high)


def rounded_weight(weight: Any, scale: Any, limit: int) -> Any:
    """Round to a symmetric grid, with gradients for the weight and the scale.

    w' = s · clip(round(w / s), -q, q), so dw'/dw = 1 and dw'/ds = w'/s - w/s inside, 0 and ±q outside.

    Args:
        weight: any shape, float32.
        scale: positive, size 1 on the axes that share a scale.
        limit: q, the largest integer.

    Returns:
        The rounded weight. The gradient of the scale is multiplied with `gradient_scale` of the number of weights
        that share it.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def rounding(weight: Any, scale: Any) -> tuple[Any, Any]:
        level = weight / scale
        whole = tf.clip_by_value(tf.round(level), -limit, limit)

        def gradients(upstream: Any) -> tuple[Any, Any]:
            inside = tf.abs(level) <= limit
            slope = whole - tf.where(inside, level, 0.0)
            shared = [axis for axis, size in enumerate(scale.shape) if size == 1]
            total = (
                tf.reduce_sum(upstream * slope, axis=shared, keepdims=True) if shared else upstream * slope
            )
            count = math.prod(weight.shape) / math.prod(scale.shape)
            return tf.where(inside, upstream, 0.0), total * gradient_scale(count, limit)

        return whole * scale, gradients

    return rounding(weight, scale)


def gradient_scale(count: Any, limit: int) -> Any:
    """Give 1 / sqrt(N·Q): it brings the steps of a scale to those of the N numbers that share it.

    Reference: Esser et al., 2020, section 2.2.
    """
    return tf.math.rsqrt(tf.cast(count, tf.float32) * float(limit))


def largest_scale(weight: Any, axes: tuple[int, ...], limit: int) -> Any:
    """Give max|w| / q for each channel, and no gradient; a channel of zeros has the layer's largest scale.

    Args:
        weight: float32, any shape.
        axes: that keep a scale of their own.
        limit: q, the largest integer.
    """
    reduced = [axis for axis in range(len(weight.shape)) if axis not in axes]
    largest = tf.reduce_max(tf.abs(tf.stop_gradient(weight)), axis=reduced, keepdims=True) / limit
    top = tf.reduce_max(largest)
    return tf.where(largest > 0, largest, tf.where(top > 0, top, 1.0))
