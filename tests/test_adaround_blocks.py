"""AdaRound of blocks: where a graph is cut, and that a block's output comes nearer to the float one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.compress.adaround import ADAROUND
from slimedge.compress.adaround_blocks import ADAROUND_BLOCKS
from slimedge.compress.blocks import blocks_of
from slimedge.compress.calibration import Watch, calibrate
from slimedge.compress.inserting import insert
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, Plan, planned
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Two residual blocks between a first and a last layer."""
    keras.utils.set_random_seed(4)
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    for block in ("one", "two"):
        y = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"{block}_a")(x)
        y = layers.DepthwiseConv2D(3, padding="same", name=f"{block}_b")(y)
        x = layers.ReLU(name=f"{block}_relu")(layers.Add(name=f"{block}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(4, name="classes")(x))


@pytest.fixture(scope="module")
def data(network: keras.Model) -> Data:
    images = np.random.default_rng(1).random((128, 8, 8, 3), np.float32)
    return Data.load(images).bind(input_specs(network), checks="types")


@pytest.fixture(scope="module")
def plan(network: keras.Model, data: Data) -> Plan:
    graph = simplify(from_model(network))[0]
    placement = place(graph)
    return planned(graph, placement, calibrate(graph, placement, data), Bits(4, 8))


@pytest.fixture(scope="module")
def layerwise(plan: Plan, data: Data) -> Plan:
    return ADAROUND.refine(plan, data)


def block_errors(plan: Plan, data: Data) -> list[float]:
    """Mean squared error at the end of each block, of the whole rounded graph."""
    ends = [block.outputs[0] for block in blocks_of(plan.graph, plan.placement.groups, list(plan.kernels))]
    exact, rounded = Watch(plan.graph, ends), Watch(insert(plan, trainable=False), ends)
    batch = next(iter(data.batches(128)))[0]
    return [
        float(np.mean((one - other) ** 2))
        for one, other in zip(exact.run(batch), rounded.run(batch), strict=True)
    ]


def test_a_graph_is_cut_where_one_tensor_goes_on_and_enough_kernels_came_before(plan):
    blocks = blocks_of(plan.graph, plan.placement.groups, list(plan.kernels))

    assert [[node.source for node in block.nodes if node.layer.weights] for block in blocks] == [
        ["stem", "one_a", "one_b"],
        ["two_a", "two_b"],
        ["classes"],
    ]
    assert [node for block in blocks for node in block.nodes] == list(plan.graph.nodes)
    for before, behind in itertools.pairwise(blocks):
        assert before.outputs == behind.inputs


def test_every_layer_of_a_chain_can_be_a_block(plan):
    blocks = blocks_of(plan.graph, plan.placement.groups, list(plan.kernels), least=1)

    kernels = [[node.source for node in block.nodes if node.layer.weights] for block in blocks]
    assert kernels[:3] == [["stem"], ["one_a", "one_b"], ["two_a", "two_b"]]


def test_the_blocks_come_nearer_to_the_float_model_than_layer_by_layer(plan, layerwise, data):
    blockwise = ADAROUND_BLOCKS.refine(plan, data)

    *found, _ = block_errors(blockwise, data)
    *before, _ = block_errors(layerwise, data)
    assert np.all(np.less(found, np.multiply(before, 0.99)))
    assert any(
        not np.array_equal(blockwise.kernels[layer].rounded(), layerwise.kernels[layer].rounded())
        for layer in plan.kernels
    )
    for layer, kernel in blockwise.kernels.items():
        integers = kernel.value / kernel.scale
        np.testing.assert_allclose(integers, np.rint(integers), atol=1e-4)
        assert np.abs(integers).max() <= 7.001
        assert np.abs(integers - layer.weight("kernel") / kernel.scale).max() < 4


def test_without_a_step_it_is_adaround_of_the_layers(plan, layerwise, data):
    none = replace(ADAROUND_BLOCKS, steps=0)

    for start in (plan, layerwise):
        kept = none.refine(start, data)
        for layer in plan.kernels:
            np.testing.assert_array_equal(kept.kernels[layer].rounded(), layerwise.kernels[layer].rounded())


def test_weights_that_pruning_made_zero_stay_zero(network, data):
    pruned = keras.models.clone_model(network)
    zeros = {}
    for layer in network.layers:
        weights = layer.get_weights()
        if weights:
            zeros[layer.name] = np.random.default_rng(2).random(weights[0].shape) < 0.5
            weights[0] = np.where(zeros[layer.name], 0, weights[0])
            pruned.get_layer(layer.name).set_weights(weights)
    graph = simplify(from_model(pruned))[0]
    placement = place(graph)
    plan = planned(graph, placement, calibrate(graph, placement, data), Bits(4, 8))

    rounded = ADAROUND_BLOCKS.refine(plan, data)

    for layer, kernel in rounded.kernels.items():
        assert np.all(kernel.rounded()[zeros[layer.name]] == 0)
        assert not np.array_equal(kernel.rounded(), plan.kernels[layer].rounded())


def test_it_starts_from_the_integers_that_were_chosen_before(plan, data):
    none = replace(ADAROUND_BLOCKS, steps=0)
    chosen = plan.with_kernels(
        {layer: replace(kernel, value=kernel.rounded()) for layer, kernel in plan.kernels.items()}
    )

    kept = none.refine(chosen, data)

    for layer in plan.kernels:
        np.testing.assert_array_equal(kept.kernels[layer].rounded(), plan.kernels[layer].rounded())


def test_a_descent_that_ends_worse_leaves_what_was_there(layerwise, data):
    wild = replace(ADAROUND_BLOCKS, steps=100, learning_rate=1.0, trust=0.0)

    kept = wild.refine(layerwise, data)

    for found, before in zip(block_errors(kept, data)[:1], block_errors(layerwise, data)[:1], strict=True):
        assert found <= before


def test_a_block_that_would_take_too_long_is_left(layerwise, data, monkeypatch):
    monkeypatch.setattr("slimedge.compress.adaround_blocks.OPERATIONS", 1e6)

    kept = ADAROUND_BLOCKS.refine(layerwise, data)

    assert kept.kernels == layerwise.kernels
