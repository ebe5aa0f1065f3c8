"""Answers are read, paired and scored as a person would by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from slimedge.benchmarks.accuracy import Drop, Task, drop, score, sqnr_db, task_of
from slimedge.errors import InputError


def one_hot(classes: list[int], count: int = 3) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[classes]


def test_accuracy_is_the_share_of_right_classes_with_wilson_s_interval():
    outputs = one_hot([0, 1, 2, 0] * 25)
    labels = np.array([0, 1, 2, 1] * 25)

    accuracy = score(outputs, labels=labels).accuracy

    expected = stats.binomtest(75, 100).proportion_ci(method="wilson")
    assert accuracy.value == 0.75
    assert accuracy.n == 100
    assert (accuracy.low, accuracy.high) == pytest.approx((expected.low, expected.high))


def test_the_difference_is_paired_and_agreement_counts_equal_classes():
    labels = np.zeros(100, np.int64)
    before = one_hot([0] * 90 + [1] * 10)
    after = one_hot([0] * 84 + [1] * 6 + [0] * 1 + [2] * 9)  # loses 6, gains 1, is wrong in another way on 9

    found = score(after, before, labels)

    assert found.accuracy_delta.value == pytest.approx(-0.05)
    assert found.accuracy_delta.low < -0.05 < found.accuracy_delta.high
    assert found.accuracy_delta.p_value == pytest.approx(stats.binomtest(1, 7, 0.5).pvalue)
    assert found.agreement.value == pytest.approx(0.84)
    assert found.agreement.n == 100


def test_the_baseline_itself_has_no_difference_agreement_or_sqnr():
    found = score(one_hot([0, 1]), labels=np.array([0, 1]))

    assert found.accuracy.value == 1.0
    assert found.accuracy_delta is found.agreement is found.sqnr_db is None


def test_one_hot_and_column_labels_mean_the_same_as_classes():
    outputs, classes = one_hot([0, 1, 2, 2]), np.array([0, 1, 2, 1])

    scores = [score(outputs, labels=labels) for labels in (classes, classes[:, None], np.eye(3)[classes])]

    assert {found.accuracy.value for found in scores} == {0.75}


def test_a_probability_is_yes_from_one_half_on():
    outputs = np.array([[0.2], [0.5], [0.9], [0.4]], np.float32)

    assert score(outputs, labels=np.array([0, 1, 1, 1])).accuracy.value == 0.75


def test_a_logit_is_yes_from_zero_on():
    outputs = np.array([[-3.0], [0.2], [0.3], [-0.1]], np.float32)

    assert score(outputs, labels=np.array([0, 1, 1, 1])).accuracy.value == 0.75


def test_a_variant_is_read_as_its_baseline_is():
    logits = np.array([[-3.0], [2.0], [0.4], [0.3]], np.float32)
    clipped = np.clip(logits, 0.0, 1.0)  # looks like probabilities, where 0.3 and 0.4 would be a no

    assert score(clipped[1:], logits[1:], np.array([1, 1, 1])).accuracy.value == 1.0


def test_without_labels_there_are_agreement_and_sqnr_only():
    found = score(one_hot([0, 1, 2, 2]), one_hot([0, 1, 2, 1]))

    assert found.accuracy is found.accuracy_delta is None
    assert found.agreement.value == 0.75
    assert found.sqnr_db == pytest.approx(10 * math.log10(4 / 2))


def test_values_have_sqnr_and_a_mean_absolute_error_in_the_notes():
    targets = np.array([1.5, 2.5, 3.5], np.float32)
    before, after = targets + 0.25, targets + 0.5

    found = score(after[:, None], before[:, None], targets)

    assert found.accuracy is found.agreement is None
    assert found.sqnr_db == pytest.approx(10 * math.log10(np.sum(before**2) / (3 * 0.0625)), abs=1e-4)
    assert found.notes == ("The outputs are values, not classes: mean absolute error 0.5.",)


def test_places_of_one_example_are_not_counted_as_independent():
    outputs = np.eye(2, dtype=np.float32)[np.array([[[0, 1], [1, 1]]])]

    found = score(outputs, labels=np.array([[[0, 1], [1, 0]]]))

    assert found.accuracy is None
    assert found.notes == ("One class a place: 75.00 % of the places are right.",)


def test_several_labels_an_example_are_told_in_the_notes():
    outputs = np.array([[0.9, 0.8, 0.1], [0.2, 0.6, 0.7]], np.float32)

    found = score(outputs, labels=np.array([[1, 1, 0], [1, 1, 1]]))

    assert found.accuracy is None
    assert found.notes == ("Several labels an example: 83.33 % of the labels are right at 0.5.",)


def test_rows_that_are_not_finite_count_as_wrong_and_are_told():
    outputs = one_hot([0, 1, 2])
    outputs[0, 0] = np.nan

    found = score(outputs, one_hot([0, 1, 2]), np.array([0, 1, 2]))

    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.sqnr_db is None
    assert "1 of 3 outputs are not finite" in found.notes[0]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused_by_its_number(label):
    with pytest.raises(
        InputError, match=f"label {label} is not a class of output 'digit', which has 3: 0 to 2"
    ):
        score(one_hot([0, 1]), labels=np.array([0, label]), name="digit")


def test_labels_of_another_shape_are_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"\(2, 7\) do not fit output 'digit' of shape \(2, 3\)"):
        score(one_hot([0, 1]), labels=np.zeros((2, 7)), name="digit")


def test_too_few_labels_are_refused_with_both_counts():
    with pytest.raises(InputError, match="1 labels for 2 outputs"):
        score(one_hot([0, 1]), labels=np.array([0]))


@pytest.mark.parametrize(
    ("shape", "task"), [((4, 3), Task.CLASSES), ((4, 1), Task.PROBABILITY), ((4, 2, 3), Task.VALUES)]
)
def test_without_labels_the_shape_tells_the_task(shape, task):
    assert task_of(np.full(shape, 0.5), None) is task


def test_a_single_number_beyond_one_is_a_value_where_nobody_says_more():
    assert task_of(np.array([[0.5], [7.0]]), None) is Task.VALUES


def test_sqnr_is_the_ratio_of_powers_in_decibels():
    signal = np.array([3.0, -4.0])

    assert sqnr_db(signal, signal + np.array([0.3, 0.4])) == pytest.approx(20.0)


def test_equal_outputs_reach_the_rounding_of_float32_and_no_more():
    signal = np.linspace(-1, 1, 9, dtype=np.float32)

    assert sqnr_db(signal, signal) == pytest.approx(20 * math.log10(2**23))


def test_silence_has_no_sqnr():
    assert sqnr_db(np.zeros(3), np.ones(3)) is None


def test_the_drop_counts_lost_against_gained_answers():
    before, after = one_hot([0, 1, 2, 0, 1, 2, 0, 1]), one_hot([0, 1, 2, 0, 1, 1, 1, 0])
    labels = np.array([0, 1, 2, 1, 1, 2, 0, 0])

    assert drop(after, before, labels) == Drop(1 / 8, math.sqrt(3) / 8)


def test_without_labels_each_answer_that_changed_is_lost():
    assert drop(one_hot([0, 1, 2, 2]), one_hot([0, 1, 2, 0]), None) == Drop(1 / 4, 1 / 4)


def test_numbers_have_no_answers_to_lose():
    assert drop(np.ones((4, 2, 3)), np.ones((4, 2, 3)), None) is None
