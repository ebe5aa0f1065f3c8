"""What every registered observer must do."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.compress.observers import OBSERVERS, histogram, maker
from slimedge.errors import InputError

GENERATOR = np.random.default_rng(5)
STREAM = (GENERATOR.laplace(0.2, 1, (500, 40)) * np.linspace(0.5, 2, 500)[:, None]).astype(np.float32)
RELU = np.maximum(STREAM, 0)
BITS = (4, 8, 16)

pytestmark = pytest.mark.parametrize("name", OBSERVERS)


def range_of(name: str, *batches: np.ndarray, bits: int = 8) -> tuple[float, float]:
    observer = maker(name)(bits)
    for batch in batches:
        observer.update(batch)
    return observer.range()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(
    "values", [STREAM, RELU, -RELU, STREAM + 30], ids=["both", "relu", "negative", "far"]
)
def test_the_range_lies_in_what_was_seen_and_zero_to_a_step(name, values, bits):
    low, high = range_of(name, values, bits=bits)
    step = (max(values.max(), 0) - min(values.min(), 0)) / (2**bits - 1)
    assert min(values.min(), 0) - step <= low < high <= max(values.max(), 0) + step


@pytest.mark.parametrize("counted_all", [histogram.COUNTED_ALL, 5000])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("values", [STREAM, RELU, -RELU], ids=["both", "relu", "negative"])
def test_the_range_is_the_same_however_the_stream_is_cut(name, values, bits, counted_all, monkeypatch):
    monkeypatch.setattr(histogram, "COUNTED_ALL", counted_all)
    whole = range_of(name, values, bits=bits)
    for size in (1, 7, 64, 130):
        batches = [values[start : start + size] for start in range(0, len(values), size)]
        assert range_of(name, *batches, bits=bits) == whole


def test_the_order_of_the_stream_does_not_matter_but_to_an_average(name):
    found, turned = range_of(name, STREAM), range_of(name, STREAM[::-1])
    assert (found == turned) == (name != "moving_average")


@pytest.mark.parametrize("value", [0.0, 2.5, -1.0, 1e-30, 3e38])
def test_one_value_is_its_own_range(name, value):
    found = range_of(name, np.full((3, 4), value, np.float32), np.full((3, 4), value, np.float32))
    assert found == (np.float32(value), np.float32(value))


@pytest.mark.parametrize("bits", BITS)
def test_two_values_are_kept(name, bits):
    low, high = range_of(name, np.float32([[0, 3]] * 200), bits=bits)
    assert low == pytest.approx(0, abs=1e-6)
    assert high == pytest.approx(3, rel=2e-3)


def test_numbers_too_small_for_a_float32_grid_are_borne(name):
    low, high = range_of(name, np.float32([[0, 1e-40, -1e-42]]))
    assert -1e-39 < low <= 0 <= high < 1e-39


def test_a_huge_outlier_is_borne(name):
    low, high = range_of(name, np.append(STREAM, np.float32([[1e30] * 40]), axis=0))
    assert np.isfinite([low, high]).all()
    assert low <= 0 < high


def test_memory_has_a_bound_however_long_the_stream(name):
    def kept(observer: object) -> int:
        found = [*vars(observer).values()]
        found += [inner for value in found if hasattr(value, "__dict__") for inner in vars(value).values()]
        found += [array for value in found if isinstance(value, list) for array in value]
        return sum(value.nbytes for value in found if isinstance(value, np.ndarray))

    observer = maker(name)(8)
    for scale in range(50):
        observer.update(STREAM * np.float32(1.3**scale))
        assert kept(observer) <= 700_000


def test_before_any_batch_there_is_no_range(name):
    low, high = maker(name)(8).range()
    assert low > high


def test_what_it_was_given_is_not_changed(name):
    given = STREAM.copy()
    range_of(name, given)
    np.testing.assert_array_equal(given, STREAM)


def test_a_setting_that_is_no_number_is_one_sentence(name):
    with pytest.raises(InputError, match=f"observer '{name}:much'"):
        maker(f"{name}:much")
