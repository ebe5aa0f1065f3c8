"""BatchNorm's statistics measured again: against plain numpy, over batches of unequal size, shared, frozen, stacked."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from slimedge.artifact import Step
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.data import Data
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of, with_lineage


def bound(network: keras.Model, inputs: np.ndarray) -> Data:
    return Data.load({input_specs(network)[0].name: inputs}).bind(input_specs(network), checks="types")


def numbers(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(2).normal(0.5, 2, (count, *shape)).astype(np.float32)


def statistics(network: keras.Model, name: str) -> tuple[np.ndarray, np.ndarray]:
    norm = network.get_layer(name)
    return norm.moving_mean.numpy(), norm.moving_variance.numpy()


def test_the_first_norm_gets_the_mean_and_variance_of_all_examples_together():
    x = inputs = keras.Input((5, 5, 3), name="x")
    x = layers.Conv2D(4, 3, name="conv")(x)
    network = keras.Model(inputs, layers.BatchNormalization(name="norm")(x))
    given = numbers(100, 5, 5, 3)
    found = with_measured_norms(network, bound(network, given), batch_size=32)  # the last batch is one of 4
    made = np.asarray(network.get_layer("conv")(given), np.float64)
    mean, variance = statistics(found, "norm")
    np.testing.assert_allclose(mean, made.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, made.var(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(network.get_layer("norm").moving_mean, np.zeros(4))


def test_the_second_norm_sees_what_the_first_one_makes_of_its_batch():
    x = inputs = keras.Input((6,), name="x")
    x = layers.BatchNormalization(name="first", epsilon=1e-5)(x)
    x = layers.Dense(3, activation="relu", name="dense")(layers.Dropout(0.9)(x))
    network = keras.Model(inputs, layers.BatchNormalization(name="second")(x))
    given = numbers(64, 6)
    found = with_measured_norms(network, bound(network, given), batch_size=64)
    normal = (given - given.mean(axis=0)) / np.sqrt(given.var(axis=0) + 1e-5)
    dense = network.get_layer("dense")
    made = np.maximum(normal @ dense.kernel.numpy() + dense.bias.numpy(), 0)
    mean, variance = statistics(found, "second")
    np.testing.assert_allclose(mean, made.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance, made.var(axis=0), rtol=1e-4)


def test_a_shared_norm_gets_the_statistics_of_all_its_calls():
    one, other = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    norm = layers.BatchNormalization(name="norm")
    network = keras.Model([one, other], layers.Add(name="sum")([norm(one), norm(other)]))
    given = {"a": numbers(32, 4), "b": 3 * numbers(32, 4) + 1}
    data = Data.load(given).bind(input_specs(network), checks="types")
    mean, variance = statistics(with_measured_norms(network, data, batch_size=8), "norm")
    both = np.concatenate(list(given.values()))
    np.testing.assert_allclose(mean, both.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance, both.var(axis=0), rtol=1e-4)


def test_masked_steps_do_not_count():
    inputs = keras.Input((4, 2), name="x")
    masked = layers.Masking()(inputs)
    network = keras.Model(inputs, layers.BatchNormalization(name="norm")(masked))
    given = numbers(16, 4, 2)
    given[:, 2:] = 0
    mean, variance = statistics(with_measured_norms(network, bound(network, given)), "norm")
    np.testing.assert_allclose(mean, given[:, :2].mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(variance, given[:, :2].var(axis=(0, 1)), rtol=1e-4)


def test_a_frozen_norm_a_model_without_one_and_the_lineage_stay():
    inputs = keras.Input((4,), name="x")
    x = layers.BatchNormalization(name="moves")(layers.BatchNormalization(name="frozen")(inputs))
    network = keras.Model(inputs, x)
    network.get_layer("frozen").trainable = False
    with_lineage(network, [Step("prune", {})])
    found = with_measured_norms(network, bound(network, numbers(32, 4)))
    np.testing.assert_array_equal(statistics(found, "frozen")[0], np.zeros(4))
    assert np.all(statistics(found, "moves")[0] != 0)
    assert lineage_of(found) == (Step("prune", {}),)
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    plain = keras.Model(inputs, layers.Dense(2)(inputs))
    assert with_measured_norms(plain, bound(plain, numbers(32, 4))) is plain


def test_only_so_many_examples_are_looked_at_and_the_seed_draws_them():
    inputs = keras.Input((1,), name="x")
    network = keras.Model(inputs, layers.BatchNormalization(name="norm")(inputs))
    data = bound(network, numbers(500, 1))
    means = [
        statistics(with_measured_norms(network, data, examples=50, seed=seed), "norm")[0]
        for seed in (0, 0, 1)
    ]
    assert means[0] == means[1] != means[2]
