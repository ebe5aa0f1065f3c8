"""Every mistake that values can hold has its own sentence, and real data passes without one."""

from __future__ import annotations

import numpy as np
import pytest
from data_cases import ESCAPE, IMAGE, IMAGES, RANDOM, UNIT, model, refusal
from pictures import FASHION_MNIST, HOW_TO_GET_IT, classes

from slimedge.data import Data
from slimedge.data_values import Values, look_at, neighbour_correlation, noise_level
from slimedge.errors import InputError

# ---- what is right passes ----


@pytest.mark.parametrize(
    ("given", "specs", "options"),
    [
        (UNIT, IMAGE, {}),
        (UNIT * 2 - 1, IMAGE, {}),
        ((UNIT - 0.45) / 0.22, IMAGE, {}),
        (UNIT * 255 - 103.9, IMAGE, {}),
        (UNIT.astype(np.float16), IMAGE, {}),
        (UNIT > 0.5, IMAGE, {}),
        (UNIT[:1], IMAGE, {}),
        (UNIT[..., 0], model(28, 28), {}),
        (UNIT, model(28, 28), {}),
        (UNIT, model(None, None, 1), {}),
        (UNIT * 255, IMAGE, {"preprocessing": True}),
        (IMAGES, IMAGE, {"preprocessing": {"image"}}),
        (RANDOM.normal(size=(20, 6)).astype(np.float32) * 100, model(6), {}),
        (RANDOM.integers(0, 200, (20, 6)).astype(np.float32), model(6), {}),
        (RANDOM.random((20, 128, 9), np.float32) * 200, model(128, 9), {}),
        (RANDOM.random((20, 8, 8, 1), np.float32), model(8, 8, 1), {}),
        (RANDOM.integers(0, 50, (20, 6)), model(6, dtype="int32"), {}),
        (np.arange(20, dtype=np.float32)[:, None], model(1, dtype="int64"), {}),
    ],
)
def test_data_as_people_train_on_is_not_complained_about(given, specs, options):
    assert len(Data.load(given).bind(specs, **options)) == len(given)


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason=HOW_TO_GET_IT)
def test_every_real_picture_is_far_from_noise():
    images = Data.load(FASHION_MNIST, part="test").arrays()[0]["x"][..., np.newaxis]

    correlations = [neighbour_correlation(image[np.newaxis]) for image in images[:2000]]

    assert np.mean(np.array(correlations) > noise_level((28, 28))) > 0.99


# ---- NaN and infinity ----


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted_and_the_first_is_named(bad):
    images = UNIT.copy()
    images[7, 3, 3] = images[7, 4, 4] = images[12, 0, 0] = bad

    expected = "input 'image' holds NaN or infinity in 2 of 20 examples looked at, first in example 7; clean the data"
    assert refusal(images).startswith(expected)
    assert refusal(images, checks="types").startswith(expected)


def test_the_example_that_is_named_is_the_source_s_own():
    images = UNIT.copy()
    images[7] = np.nan
    drawn = Data.load((images, classes(20))).take(20, seed=5)
    assert drawn.indices[7] != 7

    with pytest.raises(InputError, match="in 1 of 20 examples looked at, first in example 7"):
        drawn.bind(IMAGE)


def test_every_row_of_an_array_is_looked_at():
    many = np.tile(UNIT, (150, 1, 1, 1))
    many[2999, 5, 5] = np.nan

    assert "in 1 of 3,000 examples looked at, first in example 2999" in refusal(many)


# ---- range ----


def test_raw_bytes_for_a_model_that_does_not_scale_them():
    message = refusal(IMAGES)

    assert message.startswith(
        "input 'image' holds raw bytes in 0…255, and the model does not scale them itself"
    )
    assert "--scale 1/255" in message
    assert message.endswith(ESCAPE)
    assert "lies in 0…255, as raw pixels do" in refusal(UNIT * 255)
    assert "holds raw bytes in 0…255" in refusal(IMAGES.reshape(20, 784), model(784))
    assert "lies in 0…255, as raw pixels do" in refusal(IMAGES.astype(np.float32), model(28, 28))


def test_scaled_pixels_for_a_model_that_scales_them_itself():
    assert "lies in 0…1, and the model scales pixels in 0…255 itself" in refusal(UNIT, preprocessing=True)
    assert "lies in -1…1, and" in refusal(UNIT * 2 - 1, preprocessing=True)
    assert "was scaled to 0…1, and the model scales pixels in 0…255 itself; leave --scale" in refusal(
        IMAGES, scale="1/255", preprocessing=True
    )
    assert len(Data.load(UNIT, scale=255).bind(IMAGE, preprocessing=True)) == 20


def test_pixels_that_were_scaled_twice():
    assert "after --scale 0.00392157: it was scaled twice; leave --scale" in refusal(UNIT, scale="1/255")


def test_preprocessing_may_concern_one_input_of_two():
    specs = [*model(28, 28, 1, name="a"), *model(28, 28, 1, name="b")]

    bound = Data.load({"a": IMAGES, "b": UNIT}).bind(specs, preprocessing={"a"})

    assert bound.arrays()[0]["a"].max() == 255
    with pytest.raises(InputError, match="input 'b' holds raw bytes"):
        Data.load({"a": IMAGES, "b": IMAGES}).bind(specs, preprocessing={"a"})


# ---- noise and constants ----


@pytest.mark.parametrize(
    "noise",
    [
        RANDOM.random((50, 28, 28, 1), np.float32),
        RANDOM.normal(size=(50, 28, 28, 1)).astype(np.float32),
        RANDOM.random((3, 224, 224, 3), np.float32),
        RANDOM.random((1, 32, 32, 3), np.float32),
    ],
)
def test_random_noise_is_no_calibration_data(noise):
    message = refusal(noise, model(*noise.shape[1:]))

    assert message.startswith(
        "input 'image' looks like random noise: neighbouring pixels are unrelated in every"
    )
    assert message.endswith(ESCAPE)


def test_noise_among_real_pictures_is_left_alone():
    mixed = np.concatenate([RANDOM.random((50, 28, 28, 1), np.float32), UNIT])

    assert len(Data.load(mixed).bind(IMAGE)) == 70


def test_the_correlation_is_that_of_numpy():
    image = RANDOM.random((1, 20, 20, 1)).cumsum(axis=1)
    plane = image[0, :, :, 0]
    across = np.corrcoef(plane[:, :-1].ravel(), plane[:, 1:].ravel())[0, 1]
    down = np.corrcoef(plane[:-1].ravel(), plane[1:].ravel())[0, 1]

    assert neighbour_correlation(image) == pytest.approx((across + down) / 2)


def test_examples_that_are_all_equal():
    assert refusal(UNIT[:1].repeat(20, axis=0)) == (
        f"all 20 examples looked at of input 'image' are equal; give real data, or {ESCAPE}"
    )
    assert "are equal" in refusal(np.zeros((5, 3), np.float32), model(3))


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (IMAGES, {}),
        (UNIT, {"preprocessing": True}),
        (RANDOM.random((20, 28, 28, 1), np.float32), {}),
        (np.zeros((20, 28, 28, 1), np.float32), {}),
    ],
)
def test_what_can_only_be_guessed_can_be_overruled(given, options):
    assert refusal(given, **options).endswith(ESCAPE)
    assert len(Data.load(given).bind(IMAGE, checks="types", **options)) == 20


# ---- summaries ----


def test_a_summary_in_pieces_is_that_of_the_whole():
    rows = np.arange(20)
    images = UNIT.copy()
    images[11] = np.nan

    whole = look_at(rows, images)
    pieces = Values()
    for start in range(0, 20, 6):
        pieces = look_at(rows[start : start + 6], images[start : start + 6], pieces)

    for name in ("n", "low", "high", "whole", "not_finite", "first_not_finite", "constant", "correlation"):
        assert getattr(whole, name) == getattr(pieces, name), name
