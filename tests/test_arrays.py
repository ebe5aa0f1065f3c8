from __future__ import annotations

import numpy as np
import pytest

from slimedge.runtime.arrays import (
    batches,
    dequantize,
    joined_outputs,
    quantize,
    random_arrays,
    read_arrays,
    repeated,
    with_grids,
    write_arrays,
)


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


def test_a_grid_is_filled_in_for_integers_that_have_none():
    bare = {"scale": None, "zero_point": None}
    own = {"name": "own", "dtype": "int8", "scale": 0.5, "zero_point": 1}
    real = {"name": "real", "dtype": "float32", **bare}
    codes = {"name": "codes", "dtype": "uint8", **bare}
    grids = {name: [0.25, 128] for name in ("own", "real", "codes")}
    assert with_grids([own, real, codes], grids) == [own, real, {**codes, "scale": 0.25, "zero_point": 128}]
    assert with_grids([codes], {}) == [codes]


def test_random_numbers_are_shares_on_a_scale_and_0_or_1_elsewhere():
    image = {"name": "image", "shape": [None, None, 500], "dtype": "int8", "scale": 0.1, "zero_point": 0}
    words = {"name": "words", "shape": [None, 500], "dtype": "int32", "scale": None, "zero_point": None}
    arrays = random_arrays([image, words], 3, seed=0)
    assert arrays["image"].shape == (3, 1, 500)
    assert 0 <= arrays["image"].min() < 0.1
    assert 0.9 < arrays["image"].max() < 1
    assert arrays["words"].shape == (3, 500)
    assert set(arrays["words"].ravel()) == {0, 1}


def test_too_few_examples_are_taken_again_and_too_many_left_out():
    two = np.float32([[1, 2], [3, 4]])
    assert repeated({"x": two}, 3)["x"].tolist() == [[1, 2], [3, 4], [1, 2]]
    assert repeated({"x": two}, 1)["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize("size", [None, 1, 3, 7, 50])
def test_what_is_cut_to_batches_is_the_same_when_joined(size):
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    pieces = list(batches({"x": x}, size))
    assert {len(piece["x"]) for piece in pieces} == {size or 7}
    spec = {"name": "x", "dtype": "float32", "scale": None}
    assert joined_outputs(pieces, [spec], 7)["x"].tolist() == x.tolist()


def test_an_output_without_a_batch_is_told():
    spec = {"name": "loss", "dtype": "float32", "scale": None}
    with pytest.raises(ValueError, match="output 'loss' has no batch"):
        joined_outputs([{"loss": np.float32(1)}], [spec], 1)


def test_arrays_of_any_name_can_be_handed_over(tmp_path):
    arrays = {name: np.float32([[1, 2]]) for name in ("file", "allow_pickle", "block/input:0", "größe")}
    write_arrays(tmp_path / "a.npz", arrays)
    assert {name: array.tolist() for name, array in read_arrays(tmp_path / "a.npz").items()} == {
        name: [[1, 2]] for name in arrays
    }
