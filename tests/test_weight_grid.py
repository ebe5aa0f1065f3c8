"""Integers that a float array was made of are found again, exactly, and none are found where there are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from slimedge.export.weight_grid import grid_of, halves_of

Array = np.ndarray
LARGEST = 127


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


@pytest.mark.parametrize(("largest", "reached"), [(127, 100), (7, 5), (7, 1)])
def test_a_grid_need_not_be_used_to_its_end(largest: int, reached: int) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(-reached, reached + 1, (50, 4)).astype(np.int8)
    values[0] = reached
    scale = generator.uniform(1e-3, 2e-2, 4).astype(np.float32)
    found = grid_of(values * scale, largest=largest)
    assert found is not None
    np.testing.assert_array_equal(found.values.astype(np.float32) * found.scale, values * scale)
    assert np.abs(found.values).max() <= largest


@pytest.mark.parametrize("largest", [127, 7])
def test_numbers_are_given_back_to_the_last_bit(largest: int) -> None:
    generator = np.random.default_rng(3)
    values = generator.integers(-largest, largest + 1, (64, 500)).astype(np.float32)
    array = values * generator.lognormal(-5, 3, 500).astype(np.float32)
    found = grid_of(array, largest=largest)
    assert found is not None
    np.testing.assert_array_equal(found.values * found.scale, array)


def test_numbers_that_differ_a_little_are_no_grid() -> None:
    array = np.random.default_rng(0).uniform(1, 1 + 1e-5, (50, 4)).astype(np.float32)
    assert grid_of(array) is None
    assert grid_of(array, largest=7) is None


def blocks(*shape: int, axis: int, size: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """4-bit integers, the scale of each block along the axis, and their product."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-7, 8, shape).astype(np.int8)
    coarse = list(shape)
    coarse[axis] //= size
    scale = generator.uniform(1e-3, 2e-2, coarse).astype(np.float32)
    return values, scale, values * np.repeat(scale, size, axis)


@pytest.mark.parametrize(("shape", "axis"), [((64, 20), 0), ((20, 64), 1), ((3, 96, 5), 1)])
def test_blocks_are_found_along_any_axis(shape: tuple[int, ...], axis: int) -> None:
    values, scale, array = blocks(*shape, axis=axis, size=32)
    assert grid_of(array, largest=7) is None
    found = grid_of(array, largest=7, block_size=32)
    assert found is not None
    assert (found.axis, found.block) == (axis, 32)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.values * np.repeat(found.scale, 32, axis), array)
    np.testing.assert_allclose(found.scale, scale, rtol=3e-7)


def test_a_matrix_on_one_grid_has_no_blocks_even_where_they_are_asked_for() -> None:
    found = grid_of(on_grid(64, 32)[2], block_size=32)
    assert found is not None
    assert found.block is None


def test_halves_are_found_where_every_number_is_one() -> None:
    array = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float16)
    array[0] = [0, -0.0, 6e-8, 65504, -65504, 3e-5]  # zeros, the least subnormal, the ends, a subnormal
    found = halves_of(array.astype(np.float32))
    assert found is not None
    np.testing.assert_array_equal(found.view(np.uint16), array.view(np.uint16))
    for odd in (65520, 1e-8, 0.1, np.nan):
        changed = array.astype(np.float32)
        changed[3, 3] = odd
        assert halves_of(changed) is None


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
