"""Clusters in training: the mean gradient for each, to the last bit one value, and zeros that stay."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from slimedge.compress.clusters.groups import grouped, value_counts
from slimedge.compress.clusters.keeping import Clustered, ClusterKeeper
from slimedge.errors import CheckError


def weight_of(shape=(40, 30), seed=0):
    generator = np.random.default_rng(seed)
    weight = generator.normal(0, 0.1, shape).astype(np.float32)
    weight[generator.random(shape) < 0.3] = 0
    return weight


def held(weight, clusters=8, axes=()):
    variable = keras.Variable(grouped(weight, clusters, axes=axes).weight(), name="kernel")
    keeper = ClusterKeeper(clusters, [Clustered(variable, axes)])
    keeper.start(keras.Sequential())
    return variable, keeper


@pytest.mark.parametrize("axes", [(), (1,)])
def test_a_centroid_has_the_mean_gradient_of_its_weights_and_zero_has_none(axes):
    variable, keeper = held(weight_of(), axes=axes)
    values = variable.numpy()
    gradient = np.random.default_rng(1).normal(0, 1, values.shape).astype(np.float32)

    given = np.asarray(keeper.gradient(variable, tf.constant(gradient)))

    columns = [slice(None)] if not axes else [slice(column, column + 1) for column in range(values.shape[1])]
    for column in columns:
        part, of, made = values[:, column], gradient[:, column], given[:, column]
        for value in np.unique(part):
            expected = 0 if value == 0 else of[part == value].mean(dtype=np.float64)
            np.testing.assert_allclose(made[part == value], expected, rtol=1e-4, atol=1e-6)


def test_the_mean_gradient_is_the_derivative_to_the_centroid_over_the_number_of_its_weights():
    weight = weight_of((12, 5))
    groups = grouped(weight, 6)
    variable, keeper = held(weight, clusters=6)
    features = tf.constant(np.random.default_rng(2).normal(0, 1, (7, 12)).astype(np.float32))
    centroids = tf.Variable(groups.centroids)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.tanh(features @ tf.gather(centroids, groups.members)))
    by_centroid = np.asarray(tf.convert_to_tensor(tape.gradient(loss, centroids)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.tanh(features @ variable.value))

    means = np.asarray(keeper.gradient(variable, tape.gradient(loss, variable.value)))

    counts = np.bincount(groups.members.reshape(-1))
    expected = np.where(groups.centroids == 0, 0, by_centroid / counts)
    np.testing.assert_allclose(means, expected[groups.members], rtol=1e-4, atol=1e-6)


def test_gradients_of_other_variables_stay_as_they_are():
    _, keeper = held(weight_of())
    gradient = tf.ones((3,))

    assert keeper.gradient(keras.Variable(np.zeros(3, np.float32)), gradient) is gradient


def test_rows_of_a_table_that_were_looked_up_count_with_all_the_others():
    variable, keeper = held(np.float32([[1, 2], [1, 3], [2, 2]]), clusters=3)
    looked_up = tf.IndexedSlices(tf.constant([[3.0, 6.0]]), tf.constant([1]), tf.constant([3, 2]))

    means = np.asarray(keeper.gradient(variable, looked_up))

    assert means == pytest.approx(np.float32([[1.5, 0], [1.5, 6], [0, 0]]))


def test_weights_that_the_optimizer_moved_apart_by_a_bit_are_one_value_again():
    variable, keeper = held(weight_of((300, 200)))
    before = variable.numpy()
    moved = before * np.float32(1.5)
    generator = np.random.default_rng(3)
    variable.assign(
        np.nextafter(moved, np.where(generator.random(moved.shape) < 0.5, -1, 1), dtype=np.float32)
    )

    keeper.project()

    after = variable.numpy()
    assert len(np.unique(after)) == 8
    assert np.all(after[before == 0] == 0)
    np.testing.assert_allclose(after, moved, rtol=1e-6)
    keeper.check()


def test_many_equal_weights_keep_their_value_exactly():
    weight = np.full((1000, 1000), 0.1, np.float32)
    weight[0, 0] = 0.5
    variable, keeper = held(weight, clusters=2)

    for _ in range(3):
        keeper.project()

    assert np.array_equal(variable.numpy(), weight)


def test_steps_of_adam_keep_the_clusters_even_without_projection():
    variable, keeper = held(weight_of(), axes=(1,))
    before = variable.numpy()
    optimizer = keras.optimizers.Adam(0.01)
    generator = np.random.default_rng(4)
    for _ in range(5):
        gradient = tf.constant(generator.normal(0, 1, before.shape).astype(np.float32))
        optimizer.apply([keeper.gradient(variable, gradient)], [variable])

    after = variable.numpy()
    assert np.all(value_counts(after, (1,)) == value_counts(before, (1,)))
    assert np.mean(after[before != 0] != before[before != 0]) > 0.99
    keeper.check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weight: np.where(weight == 0, np.float32(0.5), weight), "of its zeros are not 0"),
        (
            lambda weight: weight + np.linspace(0, 1, weight.size).reshape(weight.shape) * weight,
            "instead of 8",
        ),
    ],
)
def test_clusters_that_were_lost_are_an_error(change, said):
    variable, keeper = held(weight_of())
    variable.assign(change(variable.numpy()))

    with pytest.raises(CheckError, match=said):
        keeper.check()
