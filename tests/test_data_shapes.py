"""Data that do not fit a model by name, shape or type are refused with a sentence of their own."""

from __future__ import annotations

import numpy as np
import pytest
from data_cases import IMAGE, IMAGES, UNIT, model, refusal

from slimedge.data import Data

# ---- names and counts ----


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": UNIT}, "the data lacks input 'mask'; it holds image, and the model needs image, mask"),
        (
            {"image": UNIT, "mask": UNIT, "masc": UNIT},
            "the data holds 'masc', which is no input of the model; did you mean 'mask'; its inputs are image, mask",
        ),
        (
            {"image": UNIT, "masc": UNIT},
            "the data holds 'masc', which is no input of the model; did you mean 'mask'",
        ),
        (UNIT, "the data is one array without a name, and the model has 2 inputs: image, mask; give each"),
    ],
)
def test_inputs_are_missing_or_unknown_by_name(given, message):
    assert refusal(given, [*IMAGE, *model(28, 28, 1, name="mask")]).startswith(message)


def test_no_examples_at_all():
    assert refusal(UNIT[:0]).startswith("the data holds no examples; give at least one")


# ---- shape ----


def test_a_channel_axis_is_given_where_it_is_missing():
    bound = Data.load(UNIT[..., 0]).bind(IMAGE).arrays()[0]["image"]

    assert np.array_equal(bound, UNIT)


def test_pictures_are_laid_flat_row_by_row_for_a_flat_input():
    bound = Data.load(UNIT).bind(model(784)).arrays()[0]["image"]

    assert np.array_equal(bound, np.stack([image.ravel() for image in UNIT]))


@pytest.mark.parametrize(
    ("given", "specs", "cause"),
    [
        (UNIT, model(32, 28, 1), "axis 1 (height) is 28 and must be 32; give examples of the model's size"),
        (UNIT, model(32, 30, 1), "axis 1 (height) is 28 and must be 32, axis 2 (width) is 28 and must be 30"),
        (UNIT, model(28, 28, 3), "axis 3 (channels) is 1 and must be 3"),
        (np.moveaxis(UNIT, -1, 1), IMAGE, "its channels come first and the model wants them last"),
        (UNIT, model(1, 28, 28), "its channels come last and the model wants them first"),
        (UNIT[..., 0], model(28, 28, 3), "the channel axis is missing and the model wants 3 channels"),
        (UNIT[0], IMAGE, "the array is one example without a batch axis"),
        (UNIT[None], IMAGE, "there is an axis too many in front; if these are batches"),
        (UNIT.reshape(20, -1), IMAGE, "an example has 1 axis and the model wants 3 axes"),
        (UNIT.reshape(20, 14, 56), model(14, 50), "axis 2 is 56 and must be 50"),
        (UNIT, model(100), "an example has 3 axes and the model wants 1 axis"),
    ],
)
def test_a_wrong_shape_names_the_axis_or_the_cause(given, specs, cause):
    message = refusal(given, specs)

    assert message.startswith("input 'image' takes examples of shape (")
    assert cause in message


# ---- type ----


@pytest.mark.parametrize(
    ("given", "specs", "message"),
    [
        (UNIT.astype(np.float64), IMAGE, "float64; convert it with .astype('float32')."),
        (
            IMAGES.astype(np.int64),
            IMAGE,
            "int64, which are no bytes of an image; if the numbers are meant as they",
        ),
        (UNIT.astype(np.complex64), IMAGE, "complex (complex64); give its real part or its size"),
        (UNIT.astype(object), IMAGE, "of Python objects (often rows of different length)"),
        (UNIT.astype(str), IMAGE, "text; turn it into numbers of type float32 first"),
        (UNIT.astype(bytes), IMAGE, "byte strings; turn it into numbers"),
        (np.zeros((20, 28, 28, 1), "M8[s]"), IMAGE, "dates; turn it into numbers"),
        (np.zeros((20, 28, 28, 1), [("r", "f4")]), IMAGE, "convert it with .astype('float32')"),
    ],
)
def test_a_wrong_type_says_how_to_convert(given, specs, message):
    assert message in refusal(given, specs)


@pytest.mark.parametrize("values", [[0.5, 2.0], [3.0, np.nan], [1e12, 0.0], [-1.0, 0.0]])
def test_an_integer_input_takes_only_what_fits(values):
    message = refusal(np.array(values, np.float32)[:, None], model(1, dtype="uint32"))

    assert "takes uint32" in message or "NaN" in message


def test_an_input_that_takes_no_numbers_is_refused():
    assert "takes string, which slimedge cannot feed" in refusal(UNIT, model(28, 28, 1, dtype="string"))
