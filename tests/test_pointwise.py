"""What is affine per channel and has no neighbour to fold into becomes a 1×1 depthwise convolution."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from graph_checks import assert_same, kinds, shaken
from keras import layers

from slimedge.compress.pointwise import affine_to_depthwise
from slimedge.graph_reading import from_model


def normalization(axis: object, shape: tuple[int, ...], *, invert: bool = False) -> keras.Layer:
    layer = layers.Normalization(axis=axis, invert=invert)
    rows = np.arange(shape[0], dtype=np.float32).reshape((-1, *(1 for _ in shape[1:])))
    layer.adapt(np.random.default_rng(0).normal(2, 3, (40, *shape)).astype(np.float32) + rows)
    return layer


AFFINE: dict[str, tuple[tuple[int, ...], Callable[[], keras.Layer], bool]] = {
    "BatchNorm of a picture": ((5, 5, 3), layers.BatchNormalization, True),
    "BatchNorm of a sequence": ((5, 3), layers.BatchNormalization, True),
    "BatchNorm along rows": ((3, 5, 3), lambda: layers.BatchNormalization(axis=1), False),
    "BatchNorm of a row": ((5,), layers.BatchNormalization, True),
    "BatchNorm of a volume": ((2, 2, 2, 3), layers.BatchNormalization, False),
    "Rescaling": ((5, 5, 3), lambda: layers.Rescaling(0.5, offset=-1.0), True),
    "Rescaling by channel": ((5, 5, 3), lambda: layers.Rescaling([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]), True),
    "Rescaling by an array": ((5, 5, 3), lambda: layers.Rescaling(np.float32([1, 2, 3])), True),
    "Rescaling by column": ((3, 3, 3), lambda: layers.Rescaling([[1.0], [2.0], [3.0]]), False),
    "Normalization": ((5, 5, 3), lambda: normalization(-1, (5, 5, 3)), True),
    "Normalization, inverted": ((5, 3), lambda: normalization(-1, (5, 3), invert=True), True),
    "Normalization of everything": ((5, 5, 3), lambda: normalization(None, (5, 5, 3)), True),
    "Normalization along rows": ((4, 4), lambda: normalization(1, (4, 4)), False),
    "Normalization by place": ((3, 3, 9), lambda: normalization((1, 2), (3, 3, 9)), False),
    "Normalization by given numbers": (
        (5, 5, 3),
        lambda: layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
        True,
    ),
}


@pytest.mark.parametrize("kind", AFFINE)
def test_what_is_affine_per_channel_becomes_a_depthwise_convolution(kind: str) -> None:
    shape, make, becomes = AFFINE[kind]
    inputs = keras.Input(shape)
    network = keras.Model(inputs, layers.Dense(2)(make()(inputs)))
    if isinstance(network.layers[1], layers.BatchNormalization):
        shaken(network)
    graph = affine_to_depthwise(from_model(network))
    assert_same(network, graph)
    assert any(kind.startswith("DepthwiseConv") for kind in kinds(graph)) is becomes


def test_other_types_than_float32_stay() -> None:
    inputs = keras.Input((4, 4, 3), dtype="uint8")
    graph = from_model(keras.Model(inputs, layers.Rescaling(1 / 255)(inputs)))
    assert kinds(affine_to_depthwise(graph)) == ["Rescaling"]


def test_among_float_layers_only_it_stays() -> None:
    x = inputs = keras.Input((5, 4))
    for _ in range(2):
        x = layers.Rescaling(0.5, offset=1.0)(layers.LayerNormalization()(x))
    graph = from_model(keras.Model(inputs, layers.LayerNormalization()(x)))
    assert kinds(affine_to_depthwise(graph)) == kinds(graph)


def test_a_row_of_numbers_is_a_picture_of_one_pixel_and_the_relu_behind_sees_it_too() -> None:
    inputs = keras.Input((5,))
    x = layers.Dense(4, name="dense")(inputs)
    gate = layers.ReLU(max_value=1.0)(layers.Rescaling(0.5, offset=0.25)(x))
    network = shaken(keras.Model(inputs, layers.Multiply()([x, gate])))
    graph = affine_to_depthwise(from_model(network))
    assert kinds(graph) == ["Dense", "Reshape", "DepthwiseConv2D", "ReLU", "Reshape", "Multiply"]
    assert [node.output.shape for node in graph.nodes[1:5]] == [(None, 1, 1, 4)] * 3 + [(None, 4)]
    assert_same(network, graph)


@pytest.mark.parametrize(
    ("layer", "learns"), [(layers.Rescaling(0.5), False), (layers.BatchNormalization(), True)]
)
def test_only_what_was_learnt_goes_on_learning(layer: keras.Layer, learns: bool) -> None:
    inputs = keras.Input((5, 5, 3))
    graph = affine_to_depthwise(from_model(keras.Model(inputs, layers.Conv2D(2, 3)(layer(inputs)))))
    assert graph.nodes[0].layer.config["trainable"] is learns
