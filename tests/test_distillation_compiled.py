"""Students that were compiled: their own optimizer and losses, against Keras' own steps."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from distilling import CLASSES, bound, numbers, rows_net, sampled
from graph_checks import shaken
from keras import layers
from refusals import refusal_of

from slimedge.compress.distillation import distill
from slimedge.lineage import lineage_of

COUNT = 96
CLASS = np.arange(COUNT) % CLASSES
VALUE = np.random.default_rng(3).normal(0, 1, (COUNT, 1)).astype(np.float32)


def two_headed():
    inputs = keras.Input((6,), name="row")
    x = layers.Dense(4, activation="relu", name="hidden")(inputs)
    kind = layers.Dense(CLASSES, activation="softmax", name="kind")(x)
    return shaken(keras.Model(inputs, {"kind": kind, "value": layers.Dense(1, name="value")(x)}))


def optimizer():
    """Another learning rate in the second step, and momentum from the first one."""
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.05])
    return keras.optimizers.SGD(rate, momentum=0.9)


def absolute(labels, made):
    return keras.ops.mean(keras.ops.abs(labels - made), axis=-1)


@pytest.mark.parametrize(
    ("net", "labels", "loss"),
    [
        (rows_net, CLASS, "sparse_categorical_crossentropy"),
        (rows_net, CLASS, keras.losses.SparseCategoricalCrossentropy()),
        (
            lambda: rows_net(activation=None),
            CLASS,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ),
        (
            two_headed,
            {"kind": CLASS, "value": VALUE},
            {"kind": "sparse_categorical_crossentropy", "value": absolute},
        ),
    ],
    ids=["name", "object", "logits", "by output"],
)
def test_steps_are_those_that_keras_takes(net, labels, loss):
    student, peer = net(), net()
    for model in (student, peer):
        model.compile(optimizer(), loss)

    found = distill(
        student,
        bound(student, labels, COUNT),
        teachers=[],
        label_weight=1,
        compiled=True,
        epochs=2,
        batch_size=COUNT,
        validation=0.0,
    )

    start = numbers(peer)
    for _ in range(2):
        peer.train_on_batch(sampled(peer, COUNT)["row"], labels)
    assert not any(map(np.array_equal, start, numbers(peer)))
    for one, other in zip(numbers(found), numbers(peer), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert lineage_of(found)[-1].settings["optimizer"] == "SGD"


def test_the_optimizer_of_the_student_stays_as_it_was():
    student = rows_net()
    student.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    student.train_on_batch(sampled(student)["row"], CLASS)
    before = [np.asarray(variable) for variable in student.optimizer.variables]

    distill(student, bound(student, CLASS), compiled=True, epochs=1)

    assert int(student.optimizer.iterations) == 1
    assert all(map(np.array_equal, before, map(np.asarray, student.optimizer.variables)))


def test_a_student_that_was_not_compiled_is_refused():
    said = refusal_of(distill, rows_net(), bound(rows_net()), compiled=True)

    assert "model 'net4' was not compiled, so it has no optimizer of its own; call its compile first" in said
