"""Labels that fit an output are matched to it, and others are refused."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.labels import check_labels, tidied


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
