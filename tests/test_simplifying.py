"""Rewrites before quantization: what is computed stays, and every step of it becomes visible."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest
from graph_checks import assert_same, kinds
from keras import layers

from slimedge.compress.simplifying import (
    split_activations,
    split_separable,
    split_swish,
    strip_training_only,
)
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import output_specs


def test_dropout_noise_and_augmentation_go() -> None:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.RandomFlip(name="flip")(x)
    x = layers.GaussianNoise(0.1, name="noise")(x)
    x = layers.Conv2D(4, 3, name="conv")(layers.RandomRotation(0.1, name="turn")(x))
    network = keras.Model(inputs, layers.Dropout(0.5, name="drop")(x))
    graph, removed = strip_training_only(from_model(network))
    assert kinds(graph) == ["Conv2D"]
    assert removed == ("flip", "noise", "turn", "drop")
    assert_same(network, graph)


def hard_to_name() -> dict[str, keras.Model]:
    inputs = keras.Input((4,), name="x")
    made, shared = layers.Dense(3, name="made")(inputs), layers.Dense(4, name="shared")
    _, state = layers.GRU(3, return_state=True)(layers.Reshape((2, 2))(inputs))
    drop = layers.Dropout
    found = {
        "its input is an output as well": [made, drop(0.5, name="dropped")(made)],
        "another one takes the name": [drop(0.5, name="one")(made), drop(0.5, name="two")(made)],
        "it follows the input": [drop(0.5, name="dropped")(drop(0.1)(inputs)), made],
        "it follows a shared layer": [drop(0.5, name="dropped")(shared(shared(inputs)))],
        "it follows one of several outputs": [drop(0.5, name="state")(state)],
    }
    return {reason: keras.Model(inputs, outputs) for reason, outputs in found.items()}


@pytest.mark.parametrize("reason", list(hard_to_name()))
def test_an_output_keeps_its_name_where(reason: str) -> None:
    network = hard_to_name()[reason]
    graph, _ = strip_training_only(from_model(network))
    names = [spec.name for spec in output_specs(network)]
    assert [spec.name for spec in output_specs(to_model(graph))] == names
    assert_same(network, graph)


@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax", "gelu"])
def test_an_activation_argument_becomes_a_layer(activation: str) -> None:
    inputs = keras.Input((6, 6, 3))
    network = keras.Model(inputs, layers.Conv2D(4, 3, activation=activation, name="conv")(inputs))
    graph = split_activations(from_model(network))
    assert kinds(graph) == ["Conv2D", "Activation"]
    assert graph.nodes[0].layer.config["activation"] == "linear"
    assert [node.source for node in graph.nodes] == ["conv", "conv"]
    assert_same(network, graph)


def test_a_shared_layer_is_split_once() -> None:
    dense = layers.Dense(4, activation="relu")
    inputs = keras.Input((4,))
    network = keras.Model(inputs, dense(dense(inputs)))
    graph = split_activations(from_model(network))
    assert kinds(graph) == ["Dense", "Activation"] * 2
    assert len({node.layer for node in graph.nodes}) == 2
    assert len({node.name for node in graph.nodes}) == 4
    assert_same(network, graph)


def test_a_taken_name_is_not_given_again() -> None:
    inputs = keras.Input((4,))
    x = layers.Dense(4, activation="silu", name="a")(inputs)
    x = layers.Dense(4, name="a_silu")(x)
    network = keras.Model(inputs, layers.Dense(4, name="a_silu_sigmoid")(x))
    assert_same(network, split_swish(split_activations(from_model(network))))


def test_an_activation_with_weights_stays_inside() -> None:
    inputs = keras.Input((6, 6, 3))
    prelu = layers.PReLU(shared_axes=[1, 2], alpha_initializer="normal")
    network = keras.Model(inputs, layers.Conv2D(4, 3, activation=prelu)(inputs))
    graph = split_swish(split_activations(from_model(network)))
    assert kinds(graph) == ["Conv2D"]
    assert_same(network, graph)


def test_an_activation_that_is_a_layer_without_weights_is_split() -> None:
    inputs = keras.Input((6, 6, 3))
    network = keras.Model(inputs, layers.Conv2D(4, 3, activation=layers.LeakyReLU(0.3))(inputs))
    graph = split_swish(split_activations(from_model(network)))
    assert kinds(graph) == ["Conv2D", "LeakyReLU"]
    assert_same(network, graph)


@pytest.mark.parametrize("name", ["swish", "silu", "hard_swish", "hard_silu"])
def test_swish_is_a_sigmoid_and_a_product(name: str) -> None:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, activation=name)(inputs)
    network = keras.Model(inputs, layers.Activation(name)(x))
    graph = split_swish(split_activations(from_model(network)))
    assert kinds(graph) == ["Conv2D", "Activation", "Multiply", "Activation", "Multiply"]
    gate = "hard_sigmoid" if name.startswith("hard") else "sigmoid"
    assert {graph.nodes[index].layer.config["activation"] for index in (1, 3)} == {gate}
    assert_same(network, graph)


SEPARABLE: dict[str, tuple[tuple[int, ...], Callable[[], keras.Layer]]] = {
    "plain": ((9, 9, 3), lambda: layers.SeparableConv2D(5, 3)),
    "strided, same": ((9, 8, 3), lambda: layers.SeparableConv2D(5, 3, strides=2, padding="same")),
    "multiplied": ((9, 9, 3), lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)),
    "dilated": ((9, 9, 3), lambda: layers.SeparableConv2D(5, 3, dilation_rate=2, activation="relu")),
    "1D": ((12, 3), lambda: layers.SeparableConv1D(5, 3, strides=2, depth_multiplier=2, activation="tanh")),
}


@pytest.mark.parametrize("kind", SEPARABLE)
def test_a_separable_convolution_is_a_depthwise_and_a_pointwise_one(kind: str) -> None:
    shape, make = SEPARABLE[kind]
    inputs = keras.Input(shape)
    network = keras.Model(inputs, make()(inputs))
    graph = split_separable(from_model(network))
    dimensions = "1D" if len(shape) == 2 else "2D"
    assert kinds(graph) == [f"DepthwiseConv{dimensions}", f"Conv{dimensions}"]
    assert to_model(graph).layers[1].output.shape == graph.nodes[0].output.shape
    assert_same(network, graph)
