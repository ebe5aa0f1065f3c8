"""The gradients of rounding, against the same formulas put together from steps whose gradients are known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from slimedge.compress.qat.gradients import (
    gradient_scale,
    largest_scale,
    rounded_activation,
    rounded_weight,
)
from slimedge.fake_quant import FakeQuant, aligned_range


def straight_through(x):
    return x + tf.stop_gradient(tf.round(x) - x)


def gradients_of(function, *inputs, upstream):
    given = [tf.constant(value, tf.float32) for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(given)
        made = function(*given)
    return made, [gradient.numpy() for gradient in tape.gradient(made, given, output_gradients=upstream)]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, 6.0), (-5.1, 0.0), (-3e-4, 1e-4)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_range_has_the_gradient_of_its_formula_with_rounding_taken_as_straight(low, high, bits):
    low, high, _ = aligned_range(low, high, bits)
    generator = np.random.default_rng(0)
    x = generator.uniform(2 * low - 1e-4, 2 * high + 1e-4, (8, 25)).astype(np.float32)
    upstream = generator.normal(0, 1, x.shape).astype(np.float32)

    def formula(x, low, high):
        scale = (high - low) / (2**bits - 1)
        return scale * straight_through(tf.clip_by_value(x / scale, low / scale, high / scale))

    expected_value, expected = gradients_of(formula, x, low, high, upstream=upstream)
    value, found = gradients_of(
        lambda *given: rounded_activation(*given, bits), x, low, high, upstream=upstream
    )

    step = (high - low) / (2**bits - 1)
    np.testing.assert_allclose(value, expected_value, atol=1e-5 * step)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    share = 1 / np.sqrt(25 * (2**bits - 1))
    np.testing.assert_allclose(found[1:], np.multiply(expected[1:], share), rtol=2e-3, atol=1e-4)


def test_rounding_an_activation_gives_what_the_deployed_layer_gives():
    x = np.random.default_rng(1).normal(0, 2, (4, 50)).astype(np.float32)
    low, high, _ = aligned_range(-1.3, 2.9)
    np.testing.assert_array_equal(
        rounded_activation(tf.constant(x), tf.constant(low, tf.float32), tf.constant(high, tf.float32), 8),
        FakeQuant(low, high)(x),
    )


@pytest.mark.parametrize("end", [0, 1])
def test_beyond_a_range_its_end_moves_the_output_one_to_one(end):
    x = tf.constant([[5.0, 7.0, -9.0, -8.0, -7.0]])
    ends = np.float32([[-2.0, 0.0], [0.0, 3.0]])[end]  # 0 stays on the grid wherever the end goes
    outside = [3, 2][end]

    def total(moved):
        return float(tf.reduce_sum(rounded_activation(x, *tf.constant(ends + moved), 8)))

    _, (_, *found) = gradients_of(
        lambda *given: rounded_activation(*given, 8), x, *ends, upstream=tf.ones_like(x)
    )
    step = np.float32([0.125, 0]) if end == 0 else np.float32([0, 0.125])
    by_differences = (total(step) - total(-step)) / 0.25
    assert by_differences == pytest.approx(outside)
    assert found[end] == pytest.approx(by_differences / np.sqrt(5 * 255))


@pytest.mark.parametrize("limit", [1, 7, 127])
@pytest.mark.parametrize("shape", [(1, 5), (1, 1), (12, 5)])
def test_a_learned_scale_has_the_gradient_of_esser_eq_3(limit, shape):
    generator = np.random.default_rng(2)
    weight = generator.normal(0, 1, (12, 5)).astype(np.float32)
    scale = generator.uniform(0.5, 2, shape).astype(np.float32) / limit
    upstream = generator.normal(0, 1, weight.shape).astype(np.float32)

    level = weight / scale
    slope = np.where(np.abs(level) <= limit, np.rint(level) - level, limit * np.sign(level))
    axes = tuple(axis for axis in (0, 1) if shape[axis] == 1)
    expected = (upstream * slope).sum(axis=axes, keepdims=True) / np.sqrt(60 / np.prod(shape) * limit)

    value, found = gradients_of(
        lambda weight, scale: rounded_weight(weight, scale, limit), weight, scale, upstream=upstream
    )

    np.testing.assert_allclose(value, scale * np.clip(np.rint(level), -limit, limit), rtol=1e-6)
    np.testing.assert_allclose(found[0], np.where(np.abs(level) <= limit, upstream, 0))
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_scale_is_over_the_root_of_weights_times_levels():
    assert float(gradient_scale(400, 127)) == pytest.approx(1 / np.sqrt(400 * 127))


def test_the_largest_scale_takes_the_largest_weight_to_the_largest_integer():
    weight = np.float32([[1.0, 0.0, -3.5], [-7.0, 0.0, 0.5]])
    np.testing.assert_allclose(largest_scale(weight, (1,), 7), [[1.0, 1.0, 0.5]])
    np.testing.assert_allclose(largest_scale(np.zeros((2, 2), np.float32), (1,), 7), [[1.0, 1.0]])
