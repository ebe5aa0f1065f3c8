"""Single layers that low rank can split, and models with them split."""

from __future__ import annotations

import keras
import numpy as np
from graph_checks import shaken
from keras import layers
from small_models import examples

from slimedge.compress.low_rank.splitting import split
from slimedge.compress.low_rank.subjects import subjects_of
from slimedge.compress.low_rank.ways import WAYS
from slimedge.export.worker import keras_outputs
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model

PICTURE, SIGNAL, ROW = (11, 9, 5), (13, 5), (6, 5)


def one_layer(layer, shape):
    inputs = keras.Input(shape, name="given")
    return shaken(keras.Model(inputs, layer(inputs)))


def conv1d(**settings):
    return lambda: one_layer(layers.Conv1D(7, 3, name="split", **settings), SIGNAL)


def conv2d(kernel=3, **settings):
    return lambda: one_layer(layers.Conv2D(7, kernel, name="split", **settings), PICTURE)


def einsum(equation, shape, output_shape, **settings):
    return lambda: one_layer(layers.EinsumDense(equation, output_shape, name="split", **settings), shape)


SINGLE = {
    "dense": lambda: one_layer(layers.Dense(7, activation="relu", name="split"), (6,)),
    "dense of rows": lambda: one_layer(layers.Dense(7, use_bias=False, name="split"), ROW),
    "einsum": einsum("abc,cd->abd", ROW, (None, 7), bias_axes="d", activation="tanh"),
    "einsum, heads": einsum("abc,cde->abde", ROW, (None, 3, 4), bias_axes="de"),
    "einsum, heads joined": einsum("abcd,cde->abe", (6, 3, 4), (None, 7)),
    "einsum, moved": einsum("abc,dc->adb", ROW, (7, None)),
    "einsum, open": einsum("...c,cd->...d", (4, *ROW), 7, bias_axes="d"),
    "conv1d": conv1d(activation="relu"),
    "conv1d, same": conv1d(padding="same", strides=2),
    "conv1d, causal": conv1d(padding="causal", dilation_rate=2, use_bias=False),
    "conv1d, one": lambda: one_layer(layers.Conv1D(7, 1, strides=2, name="split"), SIGNAL),
    "conv2d": conv2d(activation="sigmoid"),
    "conv2d, no bias": conv2d(use_bias=False),
    "conv2d, same": conv2d(padding="same"),
    "conv2d, same, strides": conv2d(padding="same", strides=2),
    "conv2d, same, strides of 4": conv2d(kernel=(3, 4), padding="same", strides=(3, 2)),
    "conv2d, valid, strides": conv2d(kernel=(5, 2), strides=(1, 3), activation="relu6"),
    "conv2d, dilated": conv2d(padding="same", dilation_rate=(2, 3)),
    "conv2d, one": conv2d(kernel=1, strides=2, activation="swish"),
    "conv2d, one, same": conv2d(kernel=1, strides=(2, 3), padding="same"),
    "conv2d, row": conv2d(kernel=(1, 3), padding="same"),
    "conv2d, weights inside": conv2d(activation=layers.PReLU(shared_axes=[1, 2], alpha_initializer="normal")),
    "conv3d": lambda: one_layer(layers.Conv3D(7, 2, strides=(1, 2, 1), name="split"), (4, 5, 6, 3)),
}


def split_with(network, way, choose):
    """A model with each layer that a way can split split so; `choose` picks a row of its table of ranks."""
    graph = from_model(network)
    subjects = subjects_of(graph)
    tables = {name: WAYS[way].table(subject, 1) for name, subject in subjects.items()}
    chosen = {name: table.option(choose(table)) for name, table in tables.items() if table is not None}
    return to_model(split(graph, subjects, chosen)), chosen


def full(table):
    return int(np.argmax(table.ranks.sum(axis=1)))


def almost_full(table):
    """Of `tucker2`, one below full with all that the ranks leave out being nothing: the middle layer stays."""
    return int(np.flatnonzero((table.ranks < table.ranks.max(axis=0)).all(axis=1))[-1])


def assert_equal(network, other):
    inputs = examples(network, count=3)
    before, after = keras_outputs(network, inputs), keras_outputs(other, inputs)
    assert list(before) == list(after)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=1e-5 * max(1.0, np.ptp(expected)))
