"""Soft targets: divergences at a temperature against numpy and Keras, and slopes that do not vanish."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax

from slimedge.compress.distilling.logits import soft_targets

GENERATOR = np.random.default_rng(0)


def logits(*shape, scale=3.0):
    return GENERATOR.normal(0, scale, shape).astype(np.float32)


def slope(loss, made, taught):
    made = tf.Variable(made)
    with tf.GradientTape() as tape:
        found = loss(made, tf.constant(taught))
    return np.asarray(tape.gradient(found, made))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 2, 5)])
def test_classes_diverge_by_the_squared_temperature_times_kullback_leibler(shape, temperature):
    made, taught = logits(*shape), logits(*shape)

    found = float(soft_targets("softmax", temperature)(made, taught))

    p, q = (softmax(each.astype(np.float64) / temperature, axis=-1) for each in (taught, made))
    assert found == pytest.approx(temperature**2 * np.mean(np.sum(p * np.log(p / q), axis=-1)), rel=1e-4)


def test_classes_diverge_as_in_keras():
    made, taught = logits(16, 10), logits(16, 10)

    found = float(soft_targets("softmax", 3.0)(made, taught))

    # Named by its text, this loss takes logits for probabilities in Keras 3.15.
    peer = keras.distillation.LogitsDistillation(temperature=3.0, loss=keras.losses.KLDivergence())
    assert found == pytest.approx(float(peer.compute_loss(taught, made)), rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_each_yes_or_no_diverges_likewise(temperature):
    made, taught = logits(7, 3), logits(7, 3)

    found = float(soft_targets("sigmoid", temperature)(made, taught))

    p, q = (expit(each.astype(np.float64) / temperature) for each in (taught, made))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert found == pytest.approx(temperature**2 * divergence.mean(), rel=1e-4)


def test_numbers_differ_by_their_square_relative_to_the_teachers():
    made, taught = logits(8, 2), logits(8, 2)

    loss = soft_targets("identity", 4.0)

    assert float(loss(made, taught)) == pytest.approx(
        np.mean((made - taught) ** 2) / np.mean(taught**2), rel=1e-5
    )
    assert float(loss(100 * made, 100 * taught)) == pytest.approx(float(loss(made, taught)), rel=1e-4)


@pytest.mark.parametrize(("function", "finish"), [("softmax", softmax), ("sigmoid", None)])
def test_the_slope_is_the_temperature_times_the_difference_of_what_is_soft(function, finish):
    made, taught = logits(4, 3), logits(4, 3)

    found = slope(soft_targets(function, 2.0), made, taught)

    soft = expit if finish is None else lambda each: finish(each, axis=-1)
    examples = 4 if function == "softmax" else 4 * 3
    np.testing.assert_allclose(
        found, 2.0 * (soft(made / 2.0) - soft(taught / 2.0)) / examples, rtol=1e-3, atol=1e-6
    )


def test_a_student_that_is_sure_of_the_wrong_class_still_has_a_slope():
    made, taught = np.float32([[60.0, 0.0]]), np.float32([[0.0, 60.0]])

    found = slope(soft_targets("softmax", 1.0), made, taught)

    np.testing.assert_allclose(found, [[1.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "identity"])
def test_nothing_is_left_where_both_say_the_same(function):
    made = logits(5, 4)

    assert float(soft_targets(function, 4.0)(made, made)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(slope(soft_targets(function, 4.0), made, made), 0, atol=1e-6)
