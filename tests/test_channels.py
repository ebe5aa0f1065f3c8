"""Channels that hang together: found, and taken out without changing what the others compute."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from channel_nets import NETS
from graph_checks import shaken
from keras import layers
from small_models import examples

from slimedge.canonical import canonical
from slimedge.compress.channels.groups import groups_of
from slimedge.compress.channels.removing import without, zeroed
from slimedge.compress.channels.rules import RULES
from slimedge.compress.channels.tracing import trace
from slimedge.compress.channels.units import Units
from slimedge.errors import InputError
from slimedge.export.worker import keras_outputs
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model

# Every layer that makes channels which can go, by net; the heads of attention among them.
MAKERS = {
    "plain_convolutions": {"first", "second"},
    "residual": {"stem", "inner", "outer"},
    "concatenated": {"one", "other", "both"},
    "added_to_branches": {"branch2", "branch4", "branch10", "all"},
    "depthwise": {"conv", "separable"},
    "grouped": {"wide", "in_groups"},
    "shuffled": {"wide"},
    "flattened": {"conv", "hidden"},
    "generator": {"seed", "up"},
    "squeezed_and_excited": {"conv", "reduce", "expand"},
    "shared": {"both", "then"},
    "called_on_both_sides": {"before", "again"},
    "nested": {"inner", "outer"},
    "attention": {"project", "attend", "einsum"},
    "recurrent": {"table", "both_ways", "gru", "rnn"},
    "operations": {"conv", "next"},
    "normalized_channel_by_channel": {"conv"},
}


def traced(network):
    graph = from_model(network)
    tracing = trace(graph, RULES)
    return graph, tracing, groups_of(graph, tracing)


def every_other(groups):
    return {int(unit) for group in groups for unit in group.units[1::2]}


@pytest.mark.parametrize("name", NETS)
def test_a_net_without_channels_is_the_net_with_zeros_there(name):
    network = canonical(shaken(NETS[name]()))
    graph, tracing, groups = traced(network)
    assert {layer for group in groups for layer in group.layers} == MAKERS[name]
    removed = every_other(groups)
    smaller = without(graph, tracing, removed)
    small, empty = to_model(smaller), to_model(zeroed(graph, tracing, removed))
    inputs = examples(network, count=3)
    whole, found, expected = (keras_outputs(each, inputs) for each in (network, small, empty))
    for output, array in expected.items():
        span = np.ptp(array)
        np.testing.assert_allclose(found[output], array, atol=1e-5 * span)
        assert np.abs(array - whole[output]).max() > 1e-3 * span
    assert small.count_params() < network.count_params()
    # The shapes of the graph are those that Keras finds.
    remade = from_model(small)
    assert [node.output.shape for node in smaller.nodes] == [node.output.shape for node in remade.nodes]


@pytest.mark.parametrize("name", NETS)
def test_what_is_left_is_what_was_there(name):
    network = canonical(shaken(NETS[name]()))
    graph, tracing, groups = traced(network)
    small = to_model(without(graph, tracing, every_other(groups)))
    for layer in small.layers:
        for before, after in zip(network_weights(graph, layer.name), layer.weights, strict=True):
            assert np.isin(np.asarray(after), before).all()


def network_weights(graph, name):
    return next((([array for _, array in one.weights]) for one in graph.calls() if one.name == name), [])


def test_the_weights_of_a_pruned_convolution_are_those_that_numpy_cuts():
    network = shaken(NETS["plain_convolutions"]())
    graph, tracing, groups = traced(network)
    group = next(group for group in groups if group.layers == ("first",))
    small = to_model(without(graph, tracing, {int(group.units[1]), int(group.units[4])}))
    kernel, bias = (np.asarray(weight) for weight in network.get_layer("first").weights)
    np.testing.assert_array_equal(small.get_layer("first").kernel, np.delete(kernel, [1, 4], axis=3))
    np.testing.assert_array_equal(small.get_layer("first").bias, np.delete(bias, [1, 4]))
    taken = np.asarray(network.get_layer("second").kernel)
    np.testing.assert_array_equal(small.get_layer("second").kernel, np.delete(taken, [1, 4], axis=2))
    norm = next(layer for layer in small.layers if isinstance(layer, layers.BatchNormalization))
    assert norm.gamma.shape == (4,)


def test_a_flattened_channel_takes_its_rows_of_every_place_along():
    network = shaken(NETS["flattened"]())
    graph, tracing, groups = traced(network)
    group = next(group for group in groups if group.layers == ("conv",))
    small = to_model(without(graph, tracing, {int(group.units[2])}))
    kernel = np.asarray(network.get_layer("hidden").kernel).reshape(4, 4, 5, 7)
    expected = np.delete(kernel, 2, axis=2).reshape(64, 7)
    np.testing.assert_array_equal(small.get_layer("hidden").kernel, expected)


def test_a_sum_ties_the_channels_of_its_summands():
    _, _, groups = traced(NETS["residual"]())
    assert {frozenset(group.layers): len(group.units) for group in groups} == {
        frozenset({"stem", "outer"}): 6,
        frozenset({"inner"}): 4,
    }


def test_a_grouped_convolution_loses_the_same_place_in_each_group():
    _, _, groups = traced(NETS["grouped"]())
    assert {group.layers: (len(group.units), group.width) for group in groups} == {
        ("wide",): (2, 4),
        ("in_groups",): (3, 4),
    }


def test_a_head_of_attention_is_one_unit():
    _, _, groups = traced(NETS["attention"]())
    sizes = sorted(len(group.units) for group in groups)
    assert sizes == [4, 7, 8]


@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization(),
        layers.Softmax(),
        layers.GroupNormalization(2),
        layers.UnitNormalization(),
        layers.Activation("softmax"),
    ],
    ids=lambda layer: layer.name,
)
def test_what_computes_with_all_channels_together_keeps_them(layer):
    inputs = keras.Input((6,))
    x = layer(layers.Dense(8)(inputs))
    with pytest.raises(InputError, match="no channels that can go"):
        traced(keras.Model(inputs, layers.Dense(2)(x)))


def test_channels_that_are_an_output_stay():
    inputs = keras.Input((6,))
    x = layers.Dense(8, name="shown")(inputs)
    with pytest.raises(InputError, match="no channels that can go"):
        traced(keras.Model(inputs, [x, layers.Dense(2)(x)]))


def test_a_layer_that_is_not_known_keeps_what_it_touches():
    class Reversed(layers.Layer):
        def call(self, x):
            return x[..., ::-1]

    inputs = keras.Input((6,))
    x = Reversed()(layers.Dense(8, name="before")(inputs))
    x = layers.Dense(4, name="after")(x)
    _, _, groups = traced(keras.Model(inputs, layers.Dense(2)(x)))
    assert [group.layers for group in groups] == [("after",)]


def test_ties_reach_through_other_ties():
    units = Units()
    one, other, third = units.new(3), units.new(3), units.new(3)
    units.tie(one, other)
    units.tie(other[::-1], third)
    units.fix(third[:1])
    assert units.roots(one)[2] == 0
    assert [len(group) for group in units.groups()] == [2]
    assert units.roots(one)[0] == units.roots(third)[2]
