"""Bias correction from BatchNorm's statistics comes near to what the data would say, without looking at any."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.compress.analytic_bias_correction import moments_of
from slimedge.compress.calibration import Watch, calibrate
from slimedge.compress.inserting import insert
from slimedge.compress.methods import METHODS
from slimedge.compress.patches import mean_product
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, Plan, planned
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.graph import Graph, Layer
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs

METHOD = METHODS["bias_correction_analytic"]


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (512, 8, 8, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """ReLU, ReLU6, a sum of branches, pooling, and BatchNorms that know the numbers which they see."""
    keras.utils.set_random_seed(5)

    def normalized(x, name):
        return layers.BatchNormalization(momentum=0.0, name=name)(x)

    x = inputs = keras.Input((8, 8, 4), name="image")
    x = normalized(layers.Conv2D(12, 3, padding="same", use_bias=False, name="first")(x), "first_bn")
    x = layers.ReLU(name="first_relu")(x)
    y = normalized(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x), "depthwise_bn")
    y = layers.ReLU(6.0, name="depthwise_relu")(y)
    y = normalized(layers.Conv2D(12, 1, name="pointwise")(y), "pointwise_bn")
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, y]))
    x = normalized(layers.Conv2D(16, 3, groups=2, name="grouped")(x), "grouped_bn")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="grouped_relu")(x))
    model = keras.Model(inputs, layers.Dense(5, name="classes")(x))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(generator.uniform(0.3, 2, layer.gamma.shape))
            layer.beta.assign(generator.normal(0.5, 1, layer.beta.shape))
    model(images(0), training=True)
    return model


@pytest.fixture(scope="module")
def data(network: keras.Model) -> Data:
    return Data.load(images(1)).bind(input_specs(network), checks="types")


@pytest.fixture(scope="module")
def graph(network: keras.Model) -> Graph:
    return simplify(from_model(network))[0]


def plan_of(graph: Graph, data: Data) -> Plan:
    placement = place(graph)
    return planned(graph, placement, calibrate(graph, placement, data), Bits(3, 8))


def mean_output(graph: Graph, data: Data) -> np.ndarray:
    watch = Watch(graph, graph.outputs)
    return np.concatenate([watch.run(batch)[0] for batch, _ in data.batches(64)]).mean(axis=0)


def means_of_inputs(graph: Graph, data: Data) -> dict[str, np.ndarray]:
    nodes = [node for node in graph.nodes if node.layer.weights]
    arrays = Watch(graph, [node.inputs[0] for node in nodes]).run(next(iter(data.batches(512)))[0])
    return {
        node.source: array.reshape(-1, array.shape[-1]).mean(axis=0)
        for node, array in zip(nodes, arrays, strict=True)
    }


def test_the_mean_of_each_channel_is_known_behind_every_batchnorm(graph, data):
    known, seen = moments_of(graph), means_of_inputs(graph, data)

    inputs = {node.source: known.get(node.inputs[0]) for node in graph.nodes if node.layer.weights}
    assert inputs.pop("first") is None
    assert set(inputs) == {"depthwise", "pointwise", "grouped", "classes"}
    for name, moments in inputs.items():
        # Not normal at the border, where the depthwise kernel sees zeros.
        np.testing.assert_allclose(moments.mean, seen[name], atol=0.2, err_msg=name)
        assert np.abs(moments.mean - seen[name]).mean() < 0.05


@pytest.mark.parametrize("method", ["equalization", "bias_absorption", "smoothing"])
def test_what_is_known_follows_channels_that_other_methods_move(method, graph, data):
    other = METHODS[method].prepare(graph, data)
    known, seen = moments_of(other), means_of_inputs(other, data)

    for node in other.nodes:
        if node.layer.weights and node.source != "first":
            mean = known[node.inputs[0]].mean
            assert np.abs(mean - seen[node.source]).max() <= 0.1 * np.abs(seen[node.source]).max()


def test_the_mean_error_of_the_outputs_falls(graph, data):
    exact, plan = mean_output(graph, data), plan_of(graph, data)

    corrected = METHOD.refine(plan, data)

    before = np.abs(mean_output(insert(plan, trainable=False), data) - exact)
    after = np.abs(mean_output(insert(corrected, trainable=False), data) - exact)
    assert after.mean() < 0.5 * before.mean()


def test_the_examples_are_not_looked_at(network, graph, data):
    plan = plan_of(graph, data)
    other = Data.load(100 * images(2)).bind(input_specs(network), checks="types")

    one, two = METHOD.refine(plan, data), METHOD.refine(plan, other)

    assert all(np.array_equal(one.kernels[layer].bias, two.kernels[layer].bias) for layer in one.kernels)


def test_a_layer_of_unknown_input_keeps_its_bias_and_a_second_correction_changes_nothing(graph, data):
    plan = plan_of(graph, data)
    once = METHOD.refine(plan, data)
    twice = METHOD.refine(once, data)

    changed = {
        node.source: not np.array_equal(once.kernels[node.layer].bias, plan.kernels[node.layer].bias)
        for node in graph.nodes
        if node.layer in plan.kernels
    }
    assert changed == {"first": False} | dict.fromkeys(("depthwise", "pointwise", "grouped", "classes"), True)
    assert all(np.array_equal(once.kernels[layer].bias, twice.kernels[layer].bias) for layer in once.kernels)


def test_without_batchnorm_nothing_is_known(graph):
    plain = {node.layer: replace(node.layer, moments=None) for node in graph.nodes}

    assert not moments_of(
        replace(graph, nodes=tuple(replace(node, layer=plain[node.layer]) for node in graph.nodes))
    )


@pytest.mark.parametrize(
    "made",
    [
        lambda: layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False),
        lambda: layers.Conv2D(6, 3, groups=2, padding="same", use_bias=False),
        lambda: layers.Conv2D(6, 3, dilation_rate=2, padding="valid", use_bias=False),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False),
        lambda: layers.Dense(6, use_bias=False),
    ],
    ids=["strided", "grouped", "dilated", "depthwise", "dense"],
)
def test_an_even_input_gives_the_mean_that_the_layer_itself_gives(made):
    operation = made()
    level = np.random.default_rng(0).normal(size=4)
    given = np.broadcast_to(level, (1, 7, 7, 4)).astype(np.float32)
    exact = np.asarray(operation(given)).reshape(-1, operation(given).shape[-1]).mean(axis=0)
    kernel = np.asarray(operation.kernel)

    layer = Layer(type(operation), operation.get_config())

    np.testing.assert_allclose(mean_product(layer, kernel, level, given.shape), exact, rtol=1e-4, atol=1e-5)
