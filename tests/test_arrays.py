from __future__ import annotations

import numpy as np
import pytest

from slimedge.runtime.arrays import dequantize, quantize, read_arrays, write_arrays


def test_quantizing_rounds_and_saturates():
    spec = {"name": "x", "dtype": "int8", "scale": 0.5, "zero_point": 3}
    given = quantize(np.float32([-1000, -0.26, -0.24, 0.0, 0.26, 1.0, 1000]), spec)
    assert given.tolist() == [-128, 2, 3, 3, 4, 5, 127]
    assert given.dtype == np.int8


def test_dequantizing_undoes_it():
    spec = {"name": "y", "dtype": "uint8", "scale": 0.25, "zero_point": 128}
    assert dequantize(np.uint8([0, 128, 255]), spec).tolist() == [-32.0, 0.0, 31.75]


def test_an_output_without_a_scale_stays_as_it_is():
    spec = {"name": "y", "dtype": "int64", "scale": None, "zero_point": None}
    assert dequantize(np.int64([7]), spec).dtype == np.int64


def test_integers_without_a_scale_take_whole_numbers_only():
    spec = {"name": "tokens", "dtype": "int8", "scale": None, "zero_point": None}
    assert quantize(np.float64([5, -7]), spec).tolist() == [5, -7]
    with pytest.raises(ValueError, match=r"'tokens' takes whole numbers in -128\.\.\.127"):
        quantize(np.float32([0.5]), spec)


def test_arrays_of_any_name_can_be_handed_over(tmp_path):
    arrays = {name: np.float32([[1, 2]]) for name in ("file", "allow_pickle", "block/input:0", "größe")}
    write_arrays(tmp_path / "a.npz", arrays)
    assert {name: array.tolist() for name, array in read_arrays(tmp_path / "a.npz").items()} == {
        name: [[1, 2]] for name in arrays
    }
