"""Integers that a float array was made of are found again, exactly, and none are found where there are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from slimedge.export.weight_grid import LARGEST, grid_of

Array = np.ndarray


def on_grid(*shape: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Integers, scales along the last axis, and their product in float32; each channel reaches ±127."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-LARGEST, LARGEST + 1, shape).astype(np.int8)
    values.reshape(-1, shape[-1])[0] = generator.choice([-LARGEST, LARGEST], shape[-1])
    scale = generator.uniform(1e-3, 2e-2, shape[-1]).astype(np.float32)
    return values, scale, values.astype(np.float32) * scale


def dequantized(array: Array) -> Array:
    found = grid_of(array)
    assert found is not None
    shape = [-1 if axis == found.axis else 1 for axis in range(array.ndim)]
    return found.values.astype(np.float32) * found.scale.reshape(shape)


@pytest.mark.parametrize("shape", [(20, 6), (3, 3, 4, 8), (5, 7, 9)])
def test_integers_scales_and_axis_are_those_that_it_was_made_of(shape: tuple[int, ...]) -> None:
    values, scale, array = on_grid(*shape)
    found = grid_of(array)
    assert found is not None
    assert found.axis == len(shape) - 1
    assert found.values.dtype == np.int8
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_allclose(found.scale, scale, rtol=2e-7)
    np.testing.assert_allclose(dequantized(array), array, rtol=3e-7)


MOVES: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda array: array.transpose(3, 2, 0, 1),
    "channels in the middle": lambda array: np.moveaxis(array, -1, 1),
    "flattened before the channels": lambda array: array.reshape(-1, array.shape[-1]),
    "flattened behind the channels": lambda array: np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1),
    "with axes of size 1": lambda array: array[None, :, :, None],
    "reversed": lambda array: array[::-1, :, :, ::-1],
}


@pytest.mark.parametrize("move", MOVES)
def test_moving_the_numbers_keeps_the_integers(move: str) -> None:
    values, _, array = on_grid(3, 3, 4, 8)
    found = grid_of(np.ascontiguousarray(MOVES[move](array)))
    assert found is not None
    np.testing.assert_array_equal(found.values, MOVES[move](values))


def test_a_factor_for_each_channel_goes_into_its_scale() -> None:
    values, scale, array = on_grid(3, 3, 4, 8)
    factor = np.random.default_rng(1).uniform(0.3, 3, 8).astype(np.float32)
    found = grid_of(array * factor)
    assert found is not None
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_allclose(found.scale, scale * factor, rtol=4e-7)


def test_a_negative_factor_turns_the_integers_around() -> None:
    values, scale, array = on_grid(20, 6)
    sign = np.float32([1, -1, 1, -1, -1, 1])
    found = grid_of(array * sign)
    assert found is not None
    np.testing.assert_array_equal(found.values, values * sign.astype(np.int8))
    np.testing.assert_allclose(found.scale, scale, rtol=2e-7)


def test_a_channel_of_zeros_stays_zeros_beside_the_others() -> None:
    values, _, array = on_grid(20, 6)
    values[:, 2], array[:, 2] = 0, 0
    found = grid_of(array)
    assert found is not None
    np.testing.assert_array_equal(found.values, values)
    assert np.all(found.scale > 0)
    np.testing.assert_array_equal(dequantized(array)[:, 2], 0)


def test_one_number_off_the_grid_is_no_grid() -> None:
    _, scale, array = on_grid(40, 30)
    assert grid_of(array) is not None
    array[39, 29] += 0.01 * scale[29]  # behind the numbers that are looked at first
    assert grid_of(array) is None


def test_a_grid_of_which_no_number_is_at_the_end_is_no_grid() -> None:
    values = np.random.default_rng(0).integers(-100, 101, (50, 4)).astype(np.float32)
    values[0] = 99
    assert grid_of(values * np.float32(0.013)) is None


NO_GRIDS: dict[str, Array] = {
    "random floats": np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32),
    "float64": on_grid(20, 6)[2].astype(np.float64),
    "integers": on_grid(20, 6)[0],
    "one axis": on_grid(20, 6)[2].reshape(-1),
    "few numbers": on_grid(15, 4)[2],
    "zeros": np.zeros((20, 6), np.float32),
    "as many channels as numbers": np.random.default_rng(0).normal(size=(1, 100)).astype(np.float32),
    "empty": np.zeros((0, 6), np.float32),
}


@pytest.mark.parametrize("name", NO_GRIDS)
def test_these_stay_float(name: str) -> None:
    assert grid_of(NO_GRIDS[name]) is None
