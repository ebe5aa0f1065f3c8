"""Scales of kernels: the largest weight for 8 bits, the least squared error for fewer."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.compress.kernels import kernel_scale, on_grid


def squared_error(weights: np.ndarray, scale: float, limit: int) -> float:
    return float(np.sum((weights - np.clip(np.round(weights / scale), -limit, limit) * scale) ** 2))


def test_a_kernel_of_few_bits_has_the_scale_with_the_least_squared_error():
    weights = np.random.default_rng(0).standard_t(4, (200, 3)).astype(np.float32)

    scale = kernel_scale(weights, (1,), bits=4, least_error=True)

    for channel in range(3):
        column = weights[:, channel].astype(np.float64)
        tried = np.linspace(0.05, 1, 400) * np.abs(column).max() / 7
        best = min(squared_error(column, step, 7) for step in tried)
        assert squared_error(column, float(scale[0, channel]), 7) <= 1.02 * best


def test_scales_per_tensor_are_all_that_of_the_largest_weight():
    weights = np.float32([[1.27, 0.1], [-0.5, 0.2]])

    assert kernel_scale(weights, (1,), per_tensor=True).tolist() == [[pytest.approx(0.01)] * 2]


def test_a_floor_lifts_every_scale_of_a_tensor_alike():
    weights = np.float32([[1.27, 0.1]])

    scale = kernel_scale(weights, (1,), np.float64([[0.002, 0.5]]), per_tensor=True)

    assert scale.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (4, 7), (2, 1)])
def test_rounding_stays_inside_the_symmetric_grid(bits, limit):
    weights = np.float32([-1000, -0.4, 0.4, 0.6, 1000])

    assert on_grid(weights, np.float32([1.0]), bits).tolist() == [-limit, 0, 0, 1, limit]
