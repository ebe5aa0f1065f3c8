"""Zeros and shared values of earlier stages through distillation, and on into the integers of quantized training."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from distilling import CLASSES, bound, rows_net
from graph_checks import shaken
from keras import layers

from slimedge.compress.clustering import cluster
from slimedge.compress.distillation import distill
from slimedge.compress.pruning import prune
from slimedge.compress.training import train
from slimedge.fake_quant import FakeQuantWeights
from slimedge.lineage import lineage_of

QUICK = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2}


def wide():
    """A net with enough weights for clusters to be few."""
    inputs = keras.Input((6,), name="row")
    x = layers.Dense(24, activation="relu", name="hidden")(inputs)
    return shaken(
        keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="said")(x), name="wide")
    )


@cache
def made(chain):
    """A net after some stages, without their own training."""
    net = wide()
    if "prune" in chain:
        net = prune(net, None, sparsity=0.5, epochs=0)
    if "cluster" in chain:
        net = cluster(net, None, clusters=5, epochs=0)
    return net


@cache
def distilled(chain, **settings):
    net = made(chain)
    return distill(net, bound(net), teachers=rows_net(8), **QUICK, **settings)


def kernels(net):
    return {layer.name: np.asarray(layer.kernel) for layer in net.layers if hasattr(layer, "kernel")}


CHAINS = [("prune",), ("cluster",), ("prune", "cluster")]


@pytest.mark.parametrize("chain", CHAINS, ids=" ".join)
def test_a_student_keeps_what_its_lineage_says(chain):
    before, after = kernels(made(chain)), kernels(distilled(chain))

    for name, kernel in before.items():
        assert np.mean(after[name] != kernel) > 0.2
        if "prune" in chain:
            assert np.mean(kernel == 0) == pytest.approx(0.5, abs=0.02)
            assert not after[name][kernel == 0].any()
        if "cluster" in chain:
            assert len(np.unique(after[name])) == len(np.unique(kernel)) == 5
            for value in np.unique(kernel):
                assert len(np.unique(after[name][kernel == value])) == 1
    kept = {"prune": "KeepZeros", "cluster": "KeepClusters"}
    assert lineage_of(distilled(chain))[-1].settings["kept"] == [kept[stage] for stage in chain]


def test_zeros_and_shared_values_may_go():
    before = kernels(made(("prune", "cluster")))
    after = kernels(distilled(("prune", "cluster"), keep_zeros=False, keep_clusters=False))

    for name, kernel in before.items():
        assert np.mean(after[name][kernel == 0] != 0) > 0.5
        assert len(np.unique(after[name])) > 20


def test_a_dense_student_keeps_zeros_where_it_is_told_to():
    net = wide()
    kernel = net.get_layer("hidden").kernel
    mask = np.arange(kernel.shape[0] * kernel.shape[1]).reshape(kernel.shape) % 3 > 0
    kernel.assign(kernel.numpy() * mask)

    found = distill(net, bound(net), teachers=rows_net(8), keep_zeros=True, **QUICK)

    np.testing.assert_array_equal(kernels(found)["hidden"] != 0, mask)


def integers(net):
    """The integers of each rounded kernel, by the name of the layer that was rounded."""
    return {
        layer.layer.name: layer.integers()["kernel"][0]
        for layer in net.layers
        if isinstance(layer, FakeQuantWeights)
    }


@pytest.mark.parametrize("chain", CHAINS, ids=" ".join)
def test_zeros_and_shared_values_come_through_distillation_into_trained_integers(chain):
    start = distilled(chain)
    before = kernels(start)

    found = train(start, bound(start), **QUICK)

    rounded = integers(found)
    learned = {
        layer.layer.name: np.asarray(layer.layer.kernel)
        for layer in found.layers
        if isinstance(layer, FakeQuantWeights)
    }
    assert len(rounded) == len(before) == 2
    for name, kernel in before.items():
        (own,) = [each for each in rounded if each.startswith(name)]
        if "prune" in chain:
            assert not rounded[own][kernel == 0].any()
        if "cluster" in chain:
            assert len(np.unique(learned[own])) <= len(np.unique(kernel)) == 5
            assert max(len(np.unique(column)) for column in rounded[own].T) <= 5
    assert [step.name for step in lineage_of(found)] == [*chain, "distill", "quantize", "train"]


def convolutions():
    inputs = keras.Input((6, 6, 4), name="picture")
    x = layers.Conv2D(8, 3, padding="same", name="full")(inputs)
    x = layers.DepthwiseConv2D(5, padding="same", name="depthwise")(x)
    x = layers.DepthwiseConv2D(5, depth_multiplier=2, padding="same", name="doubled")(x)
    x = layers.Conv2DTranspose(6, 3, padding="same", name="transposed")(x)
    x = layers.MultiHeadAttention(2, 6, name="attention")(*[layers.Reshape((36, 6))(x)] * 2)
    x = layers.GlobalAveragePooling1D()(x)
    return shaken(keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="said")(x)))


def test_the_values_of_each_channel_of_any_kernel_are_kept():
    net = cluster(convolutions(), None, clusters=3, granularity="per_channel", epochs=0)

    found = distill(net, bound(net, count=32), **QUICK)

    pairs = zip(net.weights, found.weights, strict=True)
    weights = [(one, other) for one, other in pairs if one.name == "kernel"]
    assert len(weights) == 9
    for one, other in weights:
        first, second = np.asarray(one), np.asarray(other)
        assert np.any(first != second), one.path
        assert len(np.unique(second)) <= len(np.unique(first)), one.path
        assert len(np.unique(first)) < first.size
        for value in np.unique(first):  # numbers of two channels are never equal by chance here
            assert value == 0 or len(np.unique(second[first == value])) == 1, one.path
