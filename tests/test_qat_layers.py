"""The layers that stand in while a graph trains: ranges that follow or learn, BatchNorm with a rounded kernel."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.compress.qat.layers import MOMENTUM, TrainedNorm, TrainedRange, TrainedWeights
from slimedge.fake_quant import FakeQuant, aligned_range

X = np.random.default_rng(0).normal(0.3, 1, (16, 6, 6, 3)).astype(np.float32)


def test_a_following_range_moves_to_the_union_of_all_that_share_it():
    layer = TrainedRange(-1.0, 2.0, 8, "moving_average")
    layer(np.float32([[-3.0, 1.0]]))
    layer(np.float32([[0.5, 4.0]]))
    layer.follow()
    new = 1 - MOMENTUM
    np.testing.assert_allclose(
        [float(end) for end in layer.range()],
        [-1.0 * MOMENTUM + new * -3.0, 2.0 * MOMENTUM + new * 4.0],
        rtol=1e-6,
    )
    before = [float(end) for end in layer.range()]
    layer.follow()  # nothing was seen since
    assert [float(end) for end in layer.range()] == before


def test_a_following_range_keeps_zero_in_it():
    layer = TrainedRange(0.0, 2.0, 8, "moving_average")
    for _ in range(5):
        layer(np.float32([[1.0, 1.5]]))
        layer.follow()
    assert float(layer.range()[0]) == 0.0


@pytest.mark.parametrize("mode", ["moving_average", "learned", "fixed"])
def test_a_range_at_the_start_rounds_as_the_layer_that_it_stands_for(mode):
    low, high, _ = aligned_range(-0.7, 1.9)
    np.testing.assert_array_equal(TrainedRange(low, high, 8, mode)(X), FakeQuant(low, high)(X))


def test_a_frozen_range_stays():
    layer = TrainedRange(-1.0, 2.0, 8, "moving_average")
    layer.frozen = True
    layer(X)
    layer.follow()
    assert [float(end) for end in layer.range()] == [-1.0, 2.0]


def test_a_learned_range_ends_at_its_cap_and_never_crosses_zero():
    layer = TrainedRange(-1.0, 5.9, 8, "learned", cap=6.0)
    layer(X)
    layer.ends[0].assign(-20.0)
    layer.ends[1].assign(3.0)
    low, high = (float(end) for end in layer.range())
    assert -1e-8 < low < 0
    assert high == 6.0


def test_a_scale_that_does_not_train_follows_the_largest_weight():
    layer = TrainedWeights(layers.Dense(4, use_bias=False), {"kernel": (1,)}, 4)
    layer.build((None, 3))
    kernel = np.random.default_rng(1).normal(0, 1, (3, 4)).astype(np.float32)
    layer.layer.kernel.assign(kernel)
    scale = np.abs(kernel).max(axis=0, keepdims=True) / 7
    x = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(layer(x), np.clip(np.rint(kernel / scale), -7, 7) * scale, rtol=1e-6)
    np.testing.assert_allclose(layer.trained().scales["kernel"], scale, rtol=1e-6)


@pytest.fixture(params=["conv", "depthwise", "dense"])
def pair(request):
    """A layer with a bias, and BatchNorm with statistics of its own."""
    keras.utils.set_random_seed(1)
    made = {
        "conv": (lambda: layers.Conv2D(5, 3, name="layer"), (3,)),
        "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer"), (2, 3)),
        "dense": (lambda: layers.Dense(5, name="layer"), (1,)),
    }
    make, axes = made[request.param]
    layer, norm = make(), layers.BatchNormalization(momentum=0.5)
    norm(layer(X))
    generator = np.random.default_rng(2)
    for variable in (*norm.weights, layer.bias):
        variable.assign(generator.uniform(0.4, 1.6, variable.shape))
    both = TrainedNorm(make(), {"kernel": axes}, 8, norm=layers.BatchNormalization(momentum=0.5))
    both.build(X.shape)
    both.layer.set_weights(layer.get_weights())
    both.norm.set_weights(norm.get_weights())
    return layer, norm, both


def test_batchnorm_in_training_normalizes_by_the_batch(pair):
    layer, norm, both = pair
    expected = np.asarray(norm(layer(X), training=True))
    found = np.asarray(both(X, training=True))
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()  # 8 bits of the kernel
    for one, other in zip(norm.weights, both.norm.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)


def test_frozen_batchnorm_computes_what_the_folded_layer_computes(pair):
    layer, norm, both = pair
    both.frozen = True
    found = np.asarray(both(X, training=True))
    expected = np.asarray(norm(layer(X), training=False))
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    weights, scales = both.trained()
    folded = type(layer).from_config(layer.get_config())
    folded.build(X.shape)
    kernel = np.clip(np.rint(weights["kernel"] / scales["kernel"]), -127, 127) * scales["kernel"]
    folded.set_weights([kernel, weights["bias"]])
    np.testing.assert_allclose(found, folded(X), atol=1e-5)
    gain = norm.gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    shape = (1, 1, 3, 2) if "depthwise" in type(layer).__name__.lower() else (-1,)
    np.testing.assert_allclose(
        weights["kernel"], np.asarray(layer.kernel) * np.reshape(gain, shape), rtol=1e-5
    )
