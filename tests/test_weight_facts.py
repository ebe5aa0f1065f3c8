"""Zeros, distinct values and patterns of weights, counted one number at a time."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

from slimedge.weight_facts import WeightFacts, distinct_values, nonzero, pattern, totals

GENERATOR = np.random.default_rng(4)


def few(count: int, size: int = 600, dtype: str = "float32") -> np.ndarray:
    """Numbers of which exactly `count` differ, in any order, none of them zero."""
    return GENERATOR.permutation(np.resize(np.arange(1, count + 1), size)).astype(dtype)


def told(weight: np.ndarray, bits: int | None = None) -> int | None:
    return distinct_values(weight, nonzero(weight), bits or 8 * weight.dtype.itemsize, weight.size)


def test_a_number_at_its_zero_point_stands_for_zero() -> None:
    values = GENERATOR.integers(-3, 4, (4, 5, 3)).astype(np.int8)
    for axis in range(3):
        points = GENERATOR.integers(-1, 2, values.shape[axis]).astype(np.int8)
        points[0] = 1  # so that they are not all zero
        expected = [
            values[place] != points[place[axis]] for place in itertools.product(*map(range, values.shape))
        ]
        assert nonzero(values, points, axis).ravel().tolist() == expected
    assert nonzero(values, np.int8([2])).sum() == sum(int(value != 2) for value in values.ravel())


def test_zero_points_that_do_not_fit_are_not_applied() -> None:
    values = np.int8([[0, 1, 2], [3, 0, 1]])
    expected = [[False, True, True], [True, False, True]]
    for points, axis in ((np.int8([1, 1]), 1), (np.int8([[1, 1, 1]]), 1), (np.int8([1, 1]), 7)):
        assert nonzero(values, points, axis).tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", ml_dtypes.bfloat16])
def test_distinct_values_are_those_of_a_set(dtype: str) -> None:
    weight = few(16).astype(dtype)
    assert told(weight) == len({float(value) for value in weight}) == 16


def test_zero_counts_as_one_value_whatever_its_sign() -> None:
    weight = few(15)
    weight[:50] = 0.0
    weight[50:90] = -0.0  # what a mask leaves of a negative number
    assert told(weight) == 16


def test_zeros_that_are_not_stored_count_as_one_value() -> None:
    stored = few(7)
    assert distinct_values(stored, nonzero(stored), 32, stored.size) == 7
    assert distinct_values(stored, nonzero(stored), 32, 10 * stored.size) == 8


@pytest.mark.parametrize(("dtype", "bits", "most"), [("float32", 32, 256), ("int8", 8, 128), ("int8", 4, 8)])
def test_more_values_than_a_palette_holds_are_not_told(dtype: str, bits: int, most: int) -> None:
    numbers = np.arange(most + 1) - most // 2 + (bits == 32) * 10_000  # no zero in the floats
    enough, more = (np.resize(numbers[:count], 3000).astype(dtype) for count in (most, most + 1))
    assert told(enough, bits) == most
    assert told(more, bits) is None


def test_many_values_that_come_late_are_seen() -> None:
    weight = np.concatenate([few(10, 5000), np.arange(1, 400, dtype=np.float32)])
    assert told(weight) is None


def test_where_few_numbers_are_not_zero_few_values_say_nothing() -> None:
    weight = np.zeros(5000, np.float32)
    weight[:256] = few(4, 256)
    assert told(weight) is None
    weight[256] = 1.0
    assert told(weight) == 5


def keeps(kept: np.ndarray, most: int, group: int) -> bool:
    """Look at each group of each row."""
    return all(
        sum(row[start : start + group]) <= most
        for row in kept.tolist()
        for start in range(0, len(row), group)
    )


@pytest.mark.parametrize("wanted", ["1:4", "2:4", "4:8"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pattern_is_found_along_its_axis_only(wanted: str, axis: int) -> None:
    most, group = map(int, wanted.split(":"))
    rows = np.array(
        [GENERATOR.permutation(np.arange(group) < most) for _ in range(6 * 10 * 16 // group)]
    ).reshape(60, 16)
    assert keeps(rows, most, group)
    if wanted == "4:8":
        assert not keeps(rows, 2, 4)  # so that it is no 2:4
    kept = np.moveaxis(rows.reshape(6, 10, 16), -1, axis)
    assert pattern(kept, axis) == wanted
    rows[7, :group] = np.arange(group) <= most  # one too many
    assert pattern(np.moveaxis(rows.reshape(6, 10, 16), -1, axis), axis) is None
    assert pattern(kept, None) is None
    assert pattern(np.moveaxis(kept, axis, 0), 1) is None  # ten numbers, or six: no groups of 4


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5, 0.9, 1.0])
def test_zeros_anywhere_are_no_pattern(share: float) -> None:
    kept = GENERATOR.random((64, 64)) >= share
    assert pattern(kept, 1) is None
    assert pattern(kept, 0) is None


def test_few_numbers_left_keep_to_a_pattern_by_chance_which_is_not_told() -> None:
    kept = np.zeros((64, 16), bool)
    kept[::3, 5] = True
    assert keeps(kept, 1, 4)
    assert pattern(kept, 1) is None


def test_totals_are_sums() -> None:
    weights = (WeightFacts("a", (2, 3), "int8", 6, 4), WeightFacts("b", (5,), "float32", 5, 0))
    assert totals(iter(weights)) == (11, 4)
    assert totals(()) == (0, 0)
