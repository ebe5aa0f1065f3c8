"""Constants and hard sigmoids become affine layers that compute the same and fold away where they can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from graph_checks import assert_same, kinds, shaken
from keras import layers, ops

from slimedge.compress.constants import (
    constants_to_rescaling,
    merge_rescalings,
    name_activations,
    scale_before_product,
    scale_before_relu,
    split_hard_sigmoid,
)
from slimedge.compress.folding import rescaling_affine
from slimedge.compress.static import simplify
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model


def model(function: Callable[[Any], Any], shape: tuple[int, ...] = (4, 4, 3)) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


def affine(graph: Graph, index: int = 0) -> tuple[Any, Any]:
    """Factor and summand of a node."""
    factor, summand = rescaling_affine(graph.nodes[index].layer)
    return factor.tolist(), summand.tolist()


VECTOR = np.array([1.0, 2.0, -4.0], np.float32)
OPERATIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "a sum": (lambda x: x + 3.0, (1, 3)),
    "a sum from the left": (lambda x: 3 + x, (1, 3)),
    "a difference": (lambda x: x - 2.0, (1, -2)),
    "a difference from the left": (lambda x: 2.0 - x, (-1, 2)),
    "a product": (lambda x: x * 0.5, (0.5, 0)),
    "a quotient": (lambda x: x / 8, (0.125, 0)),
    "a negative": (lambda x: -x, (-1, 0)),
    "a number for each channel": (lambda x: x * VECTOR, ([1, 2, -4], 0)),
    "a quotient by channel": (lambda x: x / VECTOR, ([1, 0.5, -0.25], 0)),
    "a sum with axes of 1": (lambda x: ops.add(x, VECTOR.reshape(1, 1, 1, 3)), (1, [1, 2, -4])),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_with_a_constant_is_affine(kind: str) -> None:
    function, expected = OPERATIONS[kind]
    network = model(function)
    graph = constants_to_rescaling(from_model(network))
    assert kinds(graph) == ["Rescaling"]
    assert affine(graph) == expected
    assert_same(network, graph)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 2.0 / (x + x),
        lambda x: x / np.zeros(3, np.float32),
        lambda x: x + np.ones((4, 1), np.float32) * np.arange(4, dtype=np.float32)[:, None],
        lambda x: x + np.ones((2, 1, 1, 1), np.float32)[:1].repeat(4, axis=1),
        lambda x: x[..., :1] * VECTOR,
        lambda x: x * x,
        lambda x: layers.Add()([x, x]),
        lambda x: ops.cast(x, "float16") + 1.0,
    ],
)
def test_an_operation_that_is_not_affine_by_channel_stays(function: Callable[[Any], Any]) -> None:
    graph = from_model(model(function))
    assert kinds(constants_to_rescaling(graph))[-1] == kinds(graph)[-1]


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "silu", "tanh", "hard_sigmoid", "hard_silu"])
def test_a_function_of_keras_ops_becomes_an_activation(name: str) -> None:
    network = model(lambda x: getattr(ops, name)(8.0 * x - 4.0))
    graph = name_activations(from_model(network))
    assert kinds(graph)[-1] == "Activation"
    assert graph.nodes[-1].layer.config["activation"] == name
    assert_same(network, graph)


def test_a_hard_sigmoid_is_the_line_of_the_paper_between_its_ends() -> None:
    graph = split_hard_sigmoid(from_model(model(layers.Activation("hard_sigmoid"), (9,))))
    assert kinds(graph) == ["Rescaling", "ReLU"]
    x = np.array([[-9, -3, -1.5, -1, 0, 1, 2, 3, 9]], np.float32)
    expected = np.clip(x + 3, 0, 6) / 6  # Howard et al., 2019
    np.testing.assert_allclose(to_model(graph)(x), expected, atol=1e-6)


def test_half_precision_stays_as_it_is() -> None:
    def function(x: Any) -> Any:
        x = ops.relu6(ops.cast(x, "float16"))
        return layers.Activation("hard_sigmoid", dtype="float16")(x)

    graph = from_model(model(function))
    assert kinds(split_hard_sigmoid(name_activations(graph))) == kinds(graph)


def test_a_shared_hard_sigmoid_is_split_at_each_call() -> None:
    shared = layers.Activation("hard_sigmoid")
    network = model(lambda x: shared(4 * shared(x)))
    graph = split_hard_sigmoid(from_model(network))
    assert kinds(graph) == ["Rescaling", "ReLU", "Multiply", "Rescaling", "ReLU"]
    assert len({node.layer for node in graph.nodes}) == 5
    assert_same(network, graph)


def test_a_factor_goes_before_a_relu_and_moves_its_end() -> None:
    network = model(lambda x: layers.ReLU(6.0, name="relu")(40 * x - 10) * 0.25)
    graph = scale_before_relu(constants_to_rescaling(from_model(network)))
    assert kinds(graph) == ["Rescaling", "Rescaling", "Rescaling", "ReLU"]
    assert graph.nodes[-1].layer.config["max_value"] == 1.5
    assert affine(graph, 2) == (0.25, 0)
    assert_same(network, graph)


STAYING: dict[str, Callable[[Any], Any]] = {
    "negative": lambda x: ops.relu(x) * -2.0,
    "zero": lambda x: ops.relu(x) * 0.0,
    "one for each channel": lambda x: ops.relu(x) * VECTOR,
    "with a summand": lambda x: layers.Rescaling(2.0, offset=1.0)(ops.relu(x)),
    "behind a ReLU that leaks": lambda x: layers.ReLU(negative_slope=0.1)(x) * 2.0,
    "behind a ReLU of two uses": lambda x: ops.add(*(y := ops.relu(x), y * 2.0)),
    "behind another function": lambda x: ops.tanh(x) * 2.0,
}


@pytest.mark.parametrize("factor", STAYING)
def test_a_factor_stays_where_it_is(factor: str) -> None:
    graph = constants_to_rescaling(name_activations(from_model(model(STAYING[factor]))))
    assert kinds(scale_before_relu(graph)) == kinds(graph)


def test_a_factor_of_a_product_goes_to_the_operand_that_a_relu_makes() -> None:
    network = model(lambda x: (x * ops.relu6(9 * x)) / 6)
    graph = scale_before_product(constants_to_rescaling(name_activations(from_model(network))))
    assert kinds(graph) == ["Rescaling", "Activation", "Rescaling", "Multiply"]
    assert_same(network, graph)


def test_a_factor_of_a_product_stays_where_the_operand_has_another_use() -> None:
    def function(x: Any) -> Any:
        gate = ops.relu6(x)
        return ops.add(x * gate / 6, gate)

    graph = constants_to_rescaling(name_activations(from_model(model(function))))
    assert kinds(scale_before_product(graph)) == kinds(graph)


def test_two_affine_layers_in_a_row_become_one() -> None:
    network = model(lambda x: (2 * x - VECTOR) / 4 + 1)
    graph = merge_rescalings(constants_to_rescaling(from_model(network)))
    assert kinds(graph) == ["Rescaling"]
    assert affine(graph) == (0.5, [0.75, 0.5, 2])
    assert_same(network, graph)


def test_what_somebody_sees_between_two_affine_layers_stays() -> None:
    inputs = keras.Input((4, 4, 3))
    between = inputs * 2.0
    network = keras.Model(inputs, [between, between + 1.0])
    graph = merge_rescalings(constants_to_rescaling(from_model(network)))
    assert kinds(graph) == ["Rescaling", "Rescaling"]
    assert_same(network, graph)


HARD_SWISH: dict[str, Callable[[Any], Any]] = {
    "the activation": layers.Activation("hard_silu"),
    "its other name": layers.Activation("hard_swish"),
    "the operation": ops.hard_silu,
    "by hand": lambda x: x * ops.relu6(x + 3.0) / 6.0,
    "by hand, the other way round": lambda x: ops.relu6(3.0 + x) * (1 / 6) * x,
    "of keras.applications": lambda x: x * (layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)),
}


@pytest.mark.parametrize("written", HARD_SWISH)
def test_every_way_to_write_hard_swish_is_a_line_a_relu_and_a_product(written: str) -> None:
    network = shaken(model(lambda x: HARD_SWISH[written](layers.Conv2D(4, 3)(20.0 * x - 10.0))))
    graph, _, _ = simplify(from_model(network))
    assert kinds(graph) == ["DepthwiseConv2D", "Conv2D", "DepthwiseConv2D", "ReLU", "Multiply"]
    assert graph.nodes[3].layer.config["max_value"] == 1.0
    assert_same(network, graph)


@pytest.mark.parametrize(
    "written",
    [layers.Activation("hard_sigmoid"), ops.hard_sigmoid, lambda x: layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)],
)
def test_a_hard_sigmoid_behind_a_convolution_costs_no_layer(written: Callable[[Any], Any]) -> None:
    network = shaken(model(lambda x: written(layers.Conv2D(4, 3)(x))))
    graph, _, _ = simplify(from_model(network))
    assert kinds(graph) == ["Conv2D", "ReLU"]
    assert_same(network, graph)
