"""Multiply-accumulates agree with a second way of counting them, and what cannot be counted is named."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.macs import Macs, count


def macs_of(layer: keras.layers.Layer, *shapes: tuple[int | None, ...]) -> int | None:
    inputs = [keras.Input(shape) for shape in shapes]
    outputs = layer(*inputs) if len(inputs) > 1 else layer(inputs[0])
    return count(keras.Model(inputs, outputs)).total


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Conv1D(5, 3), (10, 4), 8 * 5 * 3 * 4),
        (layers.Conv2D(16, 3, padding="same"), (8, 8, 3), 8 * 8 * 16 * 3 * 3 * 3),
        (layers.Conv2D(16, 3, strides=2), (9, 9, 4), 4 * 4 * 16 * 3 * 3 * 4),
        (layers.Conv2D(8, 3, groups=2, padding="same"), (6, 6, 4), 6 * 6 * 8 * 3 * 3 * 2),
        (layers.Conv3D(2, 2), (4, 4, 4, 3), 3**3 * 2 * 2**3 * 3),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 4), 4 * 4 * 4 * 2 * 3 * 3),
        (layers.DepthwiseConv1D(3), (6, 4), 4 * 4 * 3),
        (layers.SeparableConv2D(7, 3, padding="same"), (5, 5, 4), 25 * (4 * 9 + 4 * 7)),
        (layers.Conv2DTranspose(3, 2, strides=2), (4, 4, 5), 16 * 5 * 3 * 4),
        (layers.Dense(10), (64,), 640),
        (layers.Dense(10), (7, 64), 7 * 640),
        (layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d"), (6, 4), 6 * 4 * 5),
        (layers.EinsumDense("...x,xy->...y", output_shape=5), (6, 4), 6 * 4 * 5),
        (layers.LSTM(5), (7, 3), 7 * 4 * (3 * 5 + 5 * 5)),
        (layers.GRU(5), (7, 3), 7 * 3 * (3 * 5 + 5 * 5)),
        (layers.SimpleRNN(5), (7, 3), 7 * (3 * 5 + 5 * 5)),
        (layers.Bidirectional(layers.LSTM(5)), (7, 3), 2 * 7 * 4 * (3 * 5 + 5 * 5)),
        (layers.TimeDistributed(layers.Dense(5)), (7, 3), 7 * 3 * 5),
        (layers.TimeDistributed(layers.Conv2D(2, 3)), (7, 5, 5, 4), 7 * 9 * 2 * 9 * 4),
        (layers.BatchNormalization(), (4, 4, 8), 0),
        (layers.MaxPooling2D(), (4, 4, 8), 0),
        (layers.ReLU(), (4,), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_a_layer_counts_as_its_formula_says(layer, shape, expected):
    assert macs_of(layer, shape) == expected


def test_attention_counts_its_projections_and_the_products_between_queries_and_keys():
    heads, key, value, wide, queries, keys = 2, 3, 4, 5, 7, 9
    layer = layers.MultiHeadAttention(heads, key, value_dim=value)

    projections = (
        queries * wide * heads * key + keys * wide * heads * (key + value) + queries * heads * value * wide
    )
    products = queries * keys * heads * (key + value)
    assert macs_of(layer, (queries, wide), (keys, wide)) == projections + products


def test_matrix_products_of_two_tensors_count():
    assert (
        macs_of(layers.Lambda(lambda x: x), (3,)) == 0
    )  # an unknown layer without weights multiplies nothing
    a, b = keras.Input((4, 5)), keras.Input((5, 6))
    assert count(keras.Model([a, b], keras.ops.matmul(a, b))).total == 4 * 5 * 6


def products(equation, *shapes):
    """Count the products that a sum of products has, by summing ones."""
    return int(np.einsum(equation.partition("->")[0] + "->", *map(np.ones, shapes)))


@pytest.mark.parametrize(
    ("multiply", "shapes", "equation"),
    [
        (layers.Dot(axes=(2, 1)), [(4, 5), (5, 6)], "ij,jk"),
        (layers.Dot(axes=-1, normalize=True), [(7,), (7,)], "i,i"),
        (layers.Dot(axes=2), [(4, 5), (3, 5)], "ij,kj"),
        (layers.Dot(axes=(3, 1)), [(2, 4, 5), (5, 6)], "hij,jk"),
        (
            lambda tensors: keras.ops.einsum("bhij,bhkj->bhik", *tensors),
            [(2, 4, 5), (2, 3, 5)],
            "hij,hkj",
        ),
        (lambda tensors: keras.ops.einsum("bij,bij->b", *tensors), [(4, 5), (4, 5)], "ij,ij"),
        (lambda tensors: keras.ops.tensordot(*tensors, axes=[[2], [1]]), [(4, 5), (5, 6)], "ij,jk"),
        (lambda tensors: keras.ops.tensordot(*tensors, axes=[[1, 2], [2, 1]]), [(4, 5), (5, 4)], "ij,ji"),
    ],
)
def test_a_product_of_two_tensors_counts_as_many_as_summing_ones_gives(multiply, shapes, equation):
    inputs = [keras.Input(shape) for shape in shapes]

    assert count(keras.Model(inputs, multiply(inputs))).total == products(equation, *shapes)


def test_an_einsum_of_one_tensor_multiplies_nothing():
    a = keras.Input((4, 5))

    assert count(keras.Model(a, keras.ops.einsum("bij->bji", a))).total == 0


@pytest.mark.parametrize(("use_scale", "scores"), [(True, 7 * 9 * 5), (False, 0)])
def test_additive_attention_counts_its_scale_and_the_product_with_the_values(use_scale, scores):
    layer = layers.AdditiveAttention(use_scale=use_scale)

    query, value = keras.Input((7, 5)), keras.Input((9, 5))
    model = keras.Model([query, value], layer([query, value]))

    assert count(model).total == scores + products("qk,kd->qd", (7, 9), (9, 5))


@pytest.mark.parametrize("settings", [{}, {"return_sequences": True}, {"padding": "same", "strides": 2}])
def test_a_convolutional_lstm_counts_as_the_convolutions_of_its_steps(settings):
    image, filters, steps = keras.Input((9, 8, 3)), 4, 6
    convolution = {name: value for name, value in settings.items() if name != "return_sequences"}
    seen = layers.Conv2D(4 * filters, 3, **convolution)(image)
    state = keras.Input((*seen.shape[1:-1], filters))
    remembered = layers.Conv2D(4 * filters, 3, padding="same")(state)
    each = count(keras.Model([image, state], [seen, remembered])).total

    assert macs_of(layers.ConvLSTM2D(filters, 3, **settings), (steps, 9, 8, 3)) == steps * each


def test_a_whole_network_agrees_with_tensorflow_s_profiler():
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(image)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.Conv2D(12, 1, use_bias=False)(x)
    model = keras.Model(image, layers.Dense(10, use_bias=False)(layers.Flatten()(x)))
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 16, 16, 3), tf.float32)
    )
    graph = convert_variables_to_constants_v2(function).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(
        profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    flops = profiler.profile(graph, options=options.build()).total_float_ops

    assert count(model).total == flops // 2


def test_a_shared_layer_counts_for_every_call():
    shared = layers.Dense(3, name="shared")
    a, b = keras.Input((4,)), keras.Input((4,))

    macs = count(keras.Model([a, b], layers.Add()([shared(a), shared(b)])))

    assert macs.by_layer["shared"] == 2 * 12


def test_a_nested_model_counts_like_a_flat_one():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    outer = keras.Sequential([keras.Input((5,)), layers.Dense(4), inner])

    assert count(outer).total == 20 + 12 + 6


def test_a_size_that_is_not_fixed_is_not_counted_and_named():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, name="open")(image))

    macs = count(model)

    assert macs.uncounted == ("open",)
    assert macs.total is None


def test_a_layer_without_a_formula_is_named():
    a, b, c = keras.Input((4, 5)), keras.Input((5, 6)), keras.Input((6, 7))
    model = keras.Model([a, b, c], keras.ops.einsum("zij,zjk,zkl->zil", a, b, c))

    assert [name.partition("_")[0] for name in count(model).uncounted] == ["einsum"]


@keras.saving.register_keras_serializable(package="slimedge-tests")
class Projection(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        return x @ self.kernel


def test_a_user_s_layer_with_a_matrix_is_named():
    x = keras.Input((4,))

    assert count(keras.Model(x, Projection(name="mine")(x))).uncounted == ("mine",)


def test_a_subclassed_model_counts_by_its_layers():
    class Pair(keras.Model):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.first, self.second = layers.Dense(3, name="first"), layers.Dense(2, name="second")

        def call(self, x):
            return self.second(self.first(x))

    model = Pair()
    model(np.zeros((1, 4), np.float32))

    assert count(model) == Macs({"first": 12, "second": 6}, ())


def test_a_subclassed_model_that_cannot_be_followed_is_named_as_a_whole():
    class Branching(keras.Model):
        def call(self, x):
            return x if float(keras.ops.sum(x)) > 0 else -x

    model = Branching(name="branching")
    model(np.zeros((1, 2), np.float32))

    assert count(model).uncounted == ("branching",)
