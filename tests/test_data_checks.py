"""Every mistake that calibration data can hold has its own sentence, and real data passes without one."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import FASHION_MNIST, HOW_TO_GET_IT, classes, pictures

from slimedge.artifact import TensorSpec
from slimedge.data import Data
from slimedge.data_checks import Values, look_at, neighbour_correlation, noise_level
from slimedge.errors import InputError
from slimedge.labels import check_labels, tidied

IMAGES = pictures(20)
UNIT = IMAGES[..., np.newaxis].astype(np.float32) / 255
RANDOM = np.random.default_rng(0)
ESCAPE = 'pass --no-range-checks (checks="types" in Python) if it is meant so.'


def model(*shape: int | None, dtype: str = "float32", name: str = "image") -> list[TensorSpec]:
    return [TensorSpec(name, (None, *shape), dtype)]


IMAGE = model(28, 28, 1)


def refusal(given, specs=IMAGE, *, scale=None, **bound) -> str:
    with pytest.raises(InputError) as caught:
        Data.load(given, scale=scale).bind(specs, **bound)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


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


# ---- labels ----


def out(*shape: int | None, name: str = "out") -> list[TensorSpec]:
    return [TensorSpec(name, (None, *shape), "float32")]


def test_one_hot_labels_become_classes_and_say_so():
    labels, notice = tidied(np.eye(4)[[2, 0, 3]])

    assert labels.tolist() == [2, 0, 3]
    assert notice == "the labels were one-hot rows of 4; they are used as classes 0…3."


def test_several_classes_at_once_are_targets_and_not_one_hot():
    labels, notice = tidied(np.array([[1, 1, 0], [0, 0, 0]]))

    assert notice is None
    assert check_labels(labels, out(3))["out"].dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "outputs", "expected"),
    [
        (np.array([0, 9]), out(10), np.array([0, 9])),
        (np.array([[0], [9]]), out(10), np.array([0, 9])),
        (np.array([False, True]), out(1), np.array([0, 1])),
        (np.array([17, 35]), out(1), np.array([[17.0], [35.0]])),
        (np.array([0.5, 1.5]), out(1), np.array([[0.5], [1.5]])),
        (np.array([0.5, 1.5]), out(), np.array([0.5, 1.5])),
        (np.zeros((2, 5, 5), np.int8), out(5, 5, 3), np.zeros((2, 5, 5))),
        (np.zeros((2, 5, 5, 3)), out(None, None, 3), np.zeros((2, 5, 5, 3))),
    ],
)
def test_labels_that_fit_are_matched_to_the_output(labels, outputs, expected):
    found = check_labels(tidied(labels)[0], outputs)

    assert list(found) == ["out"]
    assert np.array_equal(found["out"], expected)


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (
            np.array([1, 10]),
            out(10),
            "the labels go from 1 to 10, and output 'out' has 10 classes, 0…9; count classes",
        ),
        (
            np.array([0, 12]),
            out(10),
            "has 10 classes, 0…9; give labels of the classes that this model was trained",
        ),
        (np.array([-1, 3]), out(10), "the labels go from -1 to 3"),
        (
            np.array([0.0, 3.0]),
            out(10),
            "the labels are float32 of shape (n), and output 'out' gives (n, 10); turn",
        ),
        (
            np.array([[0.5, 1.5]]),
            out(10),
            "shape (n, 2), and output 'out' gives (n, 10); give targets of that shape",
        ),
        (np.zeros((2, 5)), out(10), "the labels are float32 of shape (n, 5)"),
        (
            np.zeros((2, 5), int),
            out(10, 3),
            "the labels have shape (n, 5), and output 'out' gives (n, 10, 3)",
        ),
        (np.array(["cat"]), out(10), "the labels are of type <U3; number the classes from 0"),
        (
            np.array([0.1, np.nan]),
            out(1),
            "the labels hold NaN or infinity in 1 of 2 examples, first in example 1",
        ),
        (
            np.array([1, 2]),
            [*out(3, name="a"), *out(3, name="b")],
            "the model has 2 outputs (a, b) and the labels name none; give them by output name",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, outputs, message):
    with pytest.raises(InputError) as caught:
        check_labels(tidied(labels)[0], outputs)

    assert message in str(caught.value)


def test_labels_for_an_output_that_is_not_there_are_refused():
    with pytest.raises(
        InputError, match="there are labels for 'c', and the model's outputs are out; rename them"
    ):
        check_labels({"c": np.array([0])}, out(3))
