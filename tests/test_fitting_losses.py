"""The losses, against the sums that they stand for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from slimedge.compress.fitting.losses import distillation, of_your_own, supervision

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 3, (6, 4)).astype(np.float32)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_distilling_a_softmax_is_the_divergence_of_both_distributions():
    exact = softmax(GENERATOR.normal(0, 3, (6, 4))).astype(np.float32)
    expected = (exact * np.log(exact / softmax(LOGITS))).sum(axis=1).mean()
    assert float(distillation("softmax")(LOGITS, exact)) == pytest.approx(expected, rel=1e-4)
    assert float(distillation("softmax")(LOGITS, softmax(LOGITS))) == pytest.approx(0, abs=1e-6)


def test_distilling_a_sigmoid_is_the_divergence_of_each_yes_and_no():
    exact = sigmoid(GENERATOR.normal(0, 2, (6, 4))).astype(np.float32)
    made = sigmoid(LOGITS)
    expected = (exact * np.log(exact / made) + (1 - exact) * np.log((1 - exact) / (1 - made))).mean()
    assert float(distillation("sigmoid")(LOGITS, exact)) == pytest.approx(expected, rel=1e-4)


def test_distilling_numbers_does_not_depend_on_their_size():
    exact = GENERATOR.normal(0, 1, (6, 4)).astype(np.float32)
    for factor in (1, 1000):
        assert float(distillation("identity")(1.1 * factor * exact, factor * exact)) == pytest.approx(
            0.01, rel=1e-4
        )


def test_classes_are_learned_by_cross_entropy():
    classes = np.array([0, 1, 2, 3, 0, 1])
    expected = -np.log(softmax(LOGITS)[np.arange(6), classes]).mean()
    for function in ("softmax", "identity"):
        assert float(supervision(function, classes=True)(tf.constant(LOGITS), classes)) == pytest.approx(
            expected, rel=1e-5
        )
    shown = supervision("identity", classes=True, probabilities=True)
    assert float(shown(tf.constant(softmax(LOGITS)), classes)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("probabilities", [False, True])
def test_yes_and_no_of_one_number_are_learned_by_cross_entropy(probabilities):
    truth = np.array([0, 1, 1, 0, 1, 0])
    made = LOGITS[:, :1]
    chance = sigmoid(made)[:, 0]
    expected = -np.log(np.where(truth == 1, chance, 1 - chance)).mean()
    loss = supervision("identity" if probabilities else "sigmoid", classes=True, probabilities=probabilities)
    given = sigmoid(made) if probabilities else made
    assert float(loss(tf.constant(given), truth)) == pytest.approx(expected, rel=1e-4)


def test_targets_are_learned_by_squares_and_shares_by_cross_entropy():
    targets = softmax(GENERATOR.normal(0, 1, (6, 4))).astype(np.float32)
    square = float(supervision("identity", classes=False)(tf.constant(LOGITS), targets))
    assert square == pytest.approx(np.mean((LOGITS - targets) ** 2), rel=1e-5)
    shares = float(supervision("softmax", classes=False)(tf.constant(LOGITS), targets))
    assert shares == pytest.approx(-(targets * np.log(softmax(LOGITS))).sum(axis=1).mean(), rel=1e-5)
    each = float(supervision("sigmoid", classes=False)(tf.constant(LOGITS), targets))
    chance = sigmoid(LOGITS)
    assert each == pytest.approx(
        -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).mean(), rel=1e-4
    )


def test_a_loss_of_your_own_gets_labels_and_what_the_model_gives():
    targets = np.zeros((6, 4), np.float32)
    loss = of_your_own("sigmoid", keras.losses.MeanAbsoluteError())
    assert float(loss(tf.constant(LOGITS), targets)) == pytest.approx(sigmoid(LOGITS).mean(), rel=1e-5)
