"""Small nets, one for each way in which channels hang together."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers, ops

NETS: dict[str, Callable[[], keras.Model]] = {}


def net(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    NETS[build.__name__] = build
    return build


@net
def plain_convolutions():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="first")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(5, 3, name="second")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


@net
def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = stem = layers.Conv2D(6, 3, padding="same", name="stem")(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")(x)
    x = layers.Conv2D(6, 3, padding="same", name="outer")(x)
    x = layers.ReLU()(layers.Add()([stem, x]))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@net
def concatenated():
    inputs = keras.Input((8, 8, 3))
    one = layers.Conv2D(4, 1, activation="relu", name="one")(inputs)
    other = layers.Conv2D(6, 3, padding="same", activation="sigmoid", name="other")(inputs)
    x = layers.BatchNormalization()(layers.Concatenate()([one, other, inputs]))
    x = layers.Conv2D(5, 3, name="both")(x)
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.Concatenate(axis=1)([x, x])))


@net
def added_to_branches():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Concatenate()([layers.Conv2D(count, 1, name=f"branch{count}")(x) for count in (2, 4, 10)])
    x = layers.Add()([x, layers.Conv2D(16, 3, padding="same", name="all")(layers.ReLU()(x))])
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


@net
def depthwise():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="conv")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.SeparableConv2D(5, 3, depth_multiplier=3, name="separable")(x)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


@net
def grouped():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 1, activation="relu", name="wide")(x)
    x = layers.Conv2D(12, 3, groups=4, activation="relu", name="in_groups")(x)
    x = layers.Conv2D(24, 3, groups=12, name="group_a_channel")(x)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


@net
def shuffled():
    x = inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(12, 1, name="wide")(x)
    x = layers.Reshape((4, 4, 3, 4))(x)
    x = layers.Permute((1, 2, 4, 3))(x)
    x = layers.Reshape((4, 4, 12))(x)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


@net
def flattened():
    x = inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(5, 3, activation="tanh", name="conv")(x)
    x = layers.Dense(7, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(2)(x))


@net
def generator():
    x = inputs = keras.Input((6,))
    x = layers.Dense(3 * 3 * 8, name="seed")(x)
    x = layers.BatchNormalization()(layers.Reshape((3, 3, 8))(x))
    x = layers.Conv2DTranspose(6, 3, strides=2, activation="relu", name="up")(x)
    return keras.Model(inputs, layers.Conv2DTranspose(1, 3, activation="sigmoid")(x))


@net
def squeezed_and_excited():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="silu", name="conv")(x)
    gate = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(4, 1, activation="relu", name="reduce")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="expand")(gate)
    place = layers.Conv2D(1, 1, activation="sigmoid", name="place")(x)
    x = layers.Multiply()([layers.Multiply()([x, gate]), place])
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


@net
def shared():
    one, other = keras.Input((8, 3), name="one"), keras.Input((8, 3), name="other")
    first, second = layers.Conv1D(6, 3, activation="relu", name="both"), layers.Dense(4, name="then")
    towers = [second(layers.GlobalAveragePooling1D()(first(x))) for x in (one, other)]
    return keras.Model([one, other], layers.Dense(1)(layers.Subtract()(towers)))


@net
def called_on_both_sides():
    x = inputs = keras.Input((5,))
    x = layers.Dense(6, activation="relu", name="before")(x)
    again = layers.Dense(6, activation="relu", name="again")
    return keras.Model(inputs, layers.Dense(2)(again(again(x))))


@net
def nested():
    inside = keras.Input((8, 8, 4))
    block = keras.Model(inside, layers.Conv2D(6, 3, name="inner")(layers.ReLU()(inside)), name="block")
    x = inputs = keras.Input((8, 8, 3))
    x = block(layers.Conv2D(4, 1, name="outer")(x))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


@net
def attention():
    x = inputs = keras.Input((6, 5))
    x = tokens = layers.Dense(8, name="project")(x)
    x = layers.MultiHeadAttention(4, 3, value_dim=2, name="attend")(x, x)
    x = layers.Add()([tokens, x])
    x = layers.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d", activation="relu", name="einsum")(x)
    return keras.Model(inputs, layers.Dense(2)(x))


@net
def recurrent():
    x = inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(20, 6, name="table")(x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both_ways")(x)
    x = layers.GRU(5, return_sequences=True, name="gru")(x)
    x = layers.SimpleRNN(4, name="rnn")(x)
    return keras.Model(inputs, layers.Dense(2)(x))


@net
def operations():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="conv")(x)
    x = ops.relu(x) * 2.0 + 1.0
    gate = ops.sigmoid(ops.mean(x, axis=(1, 2), keepdims=True))
    x = ops.concatenate([x * gate, ops.max(x, axis=[1, 2], keepdims=True) * gate + x[:, :1] * 0.5], axis=1)
    x = ops.transpose(ops.reshape(x, (-1, 42, 8)), (0, 2, 1))
    x = ops.expand_dims(ops.transpose(x, (0, 2, 1)), 1)
    x = layers.Conv2D(4, 1, name="next")(x)
    return keras.Model(inputs, layers.Dense(2)(ops.squeeze(x, 1)[:, 0]))


@net
def normalized_channel_by_channel():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="conv")(x)
    x = layers.GroupNormalization(6)(x)
    x = layers.Rescaling(0.5, 1.0)(x)
    x = layers.UpSampling2D()(layers.Dropout(0.1)(x))
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))
