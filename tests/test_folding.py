"""BatchNorm and its like go into the layer before them, exactly, and only where nobody else sees that layer."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from graph_checks import assert_same, kinds, shaken
from keras import layers

from slimedge.compress.folding import batchnorm_affine, fold_affine, scale_outputs
from slimedge.compress.simplifying import split_activations
from slimedge.graph import Graph, Layer
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model


def folded(network: keras.Model) -> tuple[Graph, tuple[str, ...]]:
    """The folded graph, seen to compute what the model computes."""
    graph, names = fold_affine(split_activations(from_model(network)))
    assert_same(network, graph)
    return graph, names


LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], keras.Layer]]] = {
    "Conv1D": ((8, 3), lambda: layers.Conv1D(5, 3)),
    "Conv2D": ((6, 6, 3), lambda: layers.Conv2D(5, 3, use_bias=False)),
    "grouped Conv2D": ((6, 6, 4), lambda: layers.Conv2D(6, 3, groups=2)),
    "Conv3D": ((4, 4, 4, 2), lambda: layers.Conv3D(3, 2)),
    "Conv1DTranspose": ((6, 3), lambda: layers.Conv1DTranspose(5, 3, strides=2)),
    "Conv2DTranspose": ((4, 4, 3), lambda: layers.Conv2DTranspose(5, 3, strides=2)),
    "Conv3DTranspose": ((3, 3, 3, 2), lambda: layers.Conv3DTranspose(3, 2, use_bias=False)),
    "DepthwiseConv1D": ((8, 3), lambda: layers.DepthwiseConv1D(3, depth_multiplier=2)),
    "DepthwiseConv2D": ((6, 6, 3), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "Dense": ((7,), lambda: layers.Dense(5)),
    "Dense on a sequence": ((4, 7), lambda: layers.Dense(5, use_bias=False)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("affine", [{}, {"scale": False}, {"center": False, "epsilon": 0.1}])
def test_batchnorm_goes_into_every_layer_with_output_channels(kind: str, affine: dict[str, object]) -> None:
    shape, make = LAYERS[kind]
    inputs = keras.Input(shape)
    network = shaken(keras.Model(inputs, layers.BatchNormalization(name="end", **affine)(make()(inputs))))
    graph, names = folded(network)
    assert len(graph.nodes) == 1
    assert names == ("end",)


def test_several_in_a_row_are_folded_one_after_the_other() -> None:
    inputs = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(name="first")(layers.Conv2D(4, 3)(inputs))
    x = layers.Rescaling([0.5, -1.0, 2.0, 1.0], offset=3.0, name="second")(x)
    graph, names = folded(shaken(keras.Model(inputs, layers.BatchNormalization(name="third")(x))))
    assert names == ("first", "second", "third")
    assert kinds(graph) == ["Conv2D"]


def unfoldable() -> dict[str, keras.Model]:
    inputs = keras.Input((6, 6, 6))
    conv, shared = layers.Conv2D(6, 3, name="conv"), layers.Conv2D(6, 3, padding="same", name="shared")
    used, called = conv(inputs), shared(inputs)
    activated = layers.Conv2D(6, 3, activation="relu")(inputs)
    rows = layers.BatchNormalization(axis=1, name="rows")(layers.Conv2D(6, 1)(inputs))
    tuned = layers.Dense(6, name="tuned")
    adapted = layers.BatchNormalization()(tuned(inputs))
    own = layers.Conv2D(6, 3, activation=layers.PReLU(shared_axes=[1, 2]))(inputs)
    found = {
        "the layer has another use": [layers.BatchNormalization()(used), layers.ReLU()(used)],
        "the layer makes an output": [layers.BatchNormalization()(used), used],
        "the layer is called again": [layers.BatchNormalization()(called), shared(called)],
        "an activation lies between": [layers.BatchNormalization()(activated)],
        "it is along another axis": [rows],
        "the layer has LoRA weights": [adapted],
        "the activation has weights": [layers.BatchNormalization()(own)],
        "it is the first layer": [layers.BatchNormalization()(inputs)],
    }
    models = {reason: keras.Model(inputs, outputs) for reason, outputs in found.items()}
    tuned.enable_lora(2)
    return models


@pytest.mark.parametrize("reason", list(unfoldable()))
def test_batchnorm_stays_where(reason: str) -> None:
    graph, names = folded(shaken(unfoldable()[reason]))
    assert names == ()
    assert "BatchNormalization" in kinds(graph)


def test_one_batchnorm_behind_two_convolutions_goes_into_both() -> None:
    inputs = keras.Input((6, 6, 3))
    shared = layers.BatchNormalization()
    outputs = [shared(layers.Conv2D(4, 3)(inputs)), shared(layers.Conv2D(4, 1)(inputs))]
    graph, names = folded(shaken(keras.Model(inputs, outputs)))
    assert kinds(graph) == ["Conv2D", "Conv2D"]
    assert len(set(names)) == 1


def test_the_output_keeps_the_name_of_the_layer_that_went() -> None:
    inputs = keras.Input((6, 6, 3))
    network = keras.Model(inputs, layers.BatchNormalization(name="scaled")(layers.Conv2D(4, 3)(inputs)))
    assert to_model(folded(shaken(network))[0]).layers[-1].name == "scaled"


def test_gain_and_offset_are_those_of_the_formula() -> None:
    weights = {"gamma": [2.0], "beta": [1.0], "moving_mean": [3.0], "moving_variance": [0.21]}
    arrays = tuple((name, np.array(value, np.float32)) for name, value in weights.items())
    config = {"epsilon": 0.04, "scale": True, "center": True}
    gain, offset = batchnorm_affine(Layer(layers.BatchNormalization, config, arrays))
    np.testing.assert_allclose(gain, [2 / 0.5], rtol=1e-6)
    np.testing.assert_allclose(offset, [1 - 3 * 2 / 0.5], rtol=1e-6)


def test_scaling_gives_a_bias_where_there_was_none() -> None:
    kernel = np.ones((2, 3), np.float32)
    layer = Layer(layers.Dense, {"name": "d", "units": 3, "use_bias": False}, (("kernel", kernel),))
    scaled = scale_outputs(layer, np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(scaled.weight("kernel"), [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_array_equal(scaled.weight("bias"), [4, 5, 6])
    assert scaled.config["use_bias"]
    assert layer.weight("bias") is None
