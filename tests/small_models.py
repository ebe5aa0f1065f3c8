"""Small untrained models, one for each way in which layers are put together, with well-scaled random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers

MODELS: dict[str, Callable[[], keras.Model]] = {}


def model(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    """Register a constructor under its name; its weights and BatchNorm statistics become seeded random numbers."""

    def seeded() -> keras.Model:
        keras.utils.set_random_seed(7)
        built = build()
        generator = np.random.default_rng(7)
        for variable in built.variables:
            name, shape = variable.name, tuple(variable.shape)
            if name in {"gamma", "moving_variance"}:
                variable.assign(generator.uniform(0.5, 1.5, shape))
            elif name in {"beta", "moving_mean", "bias"}:
                variable.assign(generator.normal(0, 0.2, shape))
        return built

    MODELS[build.__name__] = seeded
    return seeded


@cache
def float_and_int8(name: str) -> tuple[keras.Model, keras.Model]:
    """Give a model and what quantizing it gives; made once, so leave both as they are."""
    from slimedge.compress.quantization import quantize
    from slimedge.data import Data
    from slimedge.keras_file import input_specs

    network = MODELS[name]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    return network, quantize(network, data, scheme="static_wi8_ai8")


def examples(network: keras.Model, count: int = 32, seed: int = 1) -> dict[str, Any]:
    """Give smooth seeded inputs in 0…1 by name; integers are 0…9, and open sizes 12."""
    from slimedge.keras_file import input_specs

    generator = np.random.default_rng(seed)
    found = {}
    for spec in input_specs(network):
        shape = (count, *(size or 12 for size in spec.shape[1:]))
        if "int" in spec.dtype:
            found[spec.name] = generator.integers(0, 10, shape).astype(spec.dtype)
            continue
        array = generator.random(shape, np.float32)
        for axis in range(1, max(1, array.ndim - 1)):
            array = (array + np.roll(array, 1, axis)) / 2
        found[spec.name] = array.astype(spec.dtype)
    return found


@model
def conv_batchnorm_relu() -> keras.Model:
    x = inputs = keras.Input((12, 12, 3), name="picture")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x))


@model
def fused_activations() -> keras.Model:
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.Conv2D(8, 3, activation="relu6")(x)
    x = layers.Conv2D(8, 3, activation="sigmoid")(x)
    x = layers.Conv2D(8, 3, activation="tanh")(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3, activation="sigmoid", name="flags")(x))


@model
def swish_and_leaky() -> keras.Model:
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="swish")(x)
    x = layers.LeakyReLU(negative_slope=0.1)(layers.Conv2D(8, 3)(x))
    x = layers.ReLU(max_value=4.0)(layers.Conv2D(8, 3)(x))
    return keras.Model(inputs, layers.Conv2D(2, 1, name="map")(x))


@model
def depthwise_and_separable() -> keras.Model:
    x = inputs = keras.Input((16, 16, 4))
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(6, 3, activation="relu")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pooled")(x))


@model
def unet() -> keras.Model:
    inputs = keras.Input((16, 16, 2))
    down = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D()(down)
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2, padding="same")(x)
    x = layers.Concatenate()([x, down])
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x))


@model
def preactivation() -> keras.Model:
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    y = layers.BatchNormalization()(x)
    y = layers.ReLU()(y)
    y = layers.Conv2D(8, 3, padding="same")(y)
    x = layers.Add()([x, y])
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.AveragePooling2D(2, name="pooled")(x))


@model
def squeeze_and_excite() -> keras.Model:
    inputs = keras.Input((10, 10, 6))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(gate)
    return keras.Model(inputs, layers.Multiply(name="gated")([x, gate]))


@model
def hard_swish_and_excite() -> keras.Model:
    x = inputs = keras.Input((10, 10, 6))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    x = layers.Conv2D(6, 3, activation="hard_silu")(layers.Multiply()([x, gate]))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(16, activation="hard_swish")(x)
    return keras.Model(inputs, layers.Dense(4, name="scores")(x))


@model
def hard_swish_by_hand() -> keras.Model:
    inputs = keras.Input((10, 10, 6))
    x = layers.Conv2D(8, 3, padding="same")(30.0 * inputs - 15.0)
    x = x * keras.ops.relu6(x + 3.0) / 6.0
    gate = layers.Dense(8)(layers.GlobalAveragePooling2D()(x))
    gate = layers.ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(gate)])
    x = keras.ops.hard_silu(layers.DepthwiseConv2D(3)(x))
    x = layers.Conv2D(6, 1)(x) * np.linspace(-1, 2, 6, dtype=np.float32)
    return keras.Model(
        inputs, layers.Conv1D(3, 1, name="end")(keras.ops.hard_silu(layers.Reshape((64, 6))(x)))
    )


@model
def sequence() -> keras.Model:
    x = inputs = keras.Input((32, 5), name="signal")
    x = layers.Conv1D(8, 5, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.MaxPooling1D()(x)
    x = layers.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="relu")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(2, name="scores")(x))


@model
def dense_chain() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((20,), name="row"),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, name="value"),
        ]
    )


@model
def two_inputs_two_outputs() -> keras.Model:
    left, right = keras.Input((8, 8, 2), name="left"), keras.Input((6,), name="right")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(left))
    y = layers.Dense(16, activation="relu")(right)
    z = layers.Concatenate()([x, y])
    second = layers.Dense(3, activation="softmax", name="a_class")(z)
    first = layers.Dense(1, name="z_value")(z)
    return keras.Model([right, left], [first, second])


@model
def shared_tower() -> keras.Model:
    tower = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(6)],
        name="tower",
    )
    one, other = keras.Input((8, 8, 1), name="one"), keras.Input((8, 8, 1), name="other")
    difference = layers.Subtract()([tower(one), tower(other)])
    return keras.Model([one, other], layers.Dense(1, activation="sigmoid", name="same")(difference))


@model
def nested_twice() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(4, 3, padding="same"), layers.ReLU()], name="inner"
    )
    middle_in = keras.Input((6, 6, 4))
    middle = keras.Model(middle_in, layers.Conv2D(4, 1)(inner(middle_in)), name="middle")
    inputs = keras.Input((6, 6, 4))
    return keras.Model(inputs, layers.Flatten(name="flat")(middle(inputs)))


@model
def rescaled_bytes() -> keras.Model:
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Rescaling(2.0, offset=-1.0)(x)
    x = layers.ZeroPadding2D()(x)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.UpSampling2D()(x)
    x = layers.Cropping2D(1)(x)
    return keras.Model(inputs, layers.GlobalMaxPooling2D(name="peak")(x))


@model
def float_island() -> keras.Model:
    x = inputs = keras.Input((10, 8))
    x = layers.Dense(8, activation="relu")(x)
    x = layers.LayerNormalization(name="normed")(x)
    x = layers.Dense(8, activation="gelu")(x)
    return keras.Model(inputs, layers.Dense(3, name="end")(x))


@model
def requantized_concat() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    one = layers.Conv2D(4, 3, padding="same", activation="sigmoid")(inputs)
    other = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Concatenate()([one, other])
    return keras.Model(inputs, layers.Conv2D(3, 1, name="mixed")(x))


@model
def dead_channels() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(6, 1, activation="relu", name="pointwise")(x)
    network = keras.Model(inputs, layers.Conv2D(2, 1, name="end")(x))
    depthwise, pointwise = network.get_layer("depthwise"), network.get_layer("pointwise")
    kernel = depthwise.kernel.numpy()
    kernel[..., 0, :] = 0.0
    depthwise.kernel.assign(kernel)
    kernel = pointwise.kernel.numpy()
    kernel[..., 1] *= 1e-9
    pointwise.kernel.assign(kernel)
    return network


@model
def grouped_and_dilated() -> keras.Model:
    x = inputs = keras.Input((13, 11, 4))
    x = layers.Conv2D(8, 3, groups=2, padding="same", activation="relu", name="grouped")(x)
    x = layers.Conv2D(6, 3, dilation_rate=(2, 1))(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    x = layers.Conv2D(6, 2, strides=2, padding="valid", activation="relu")(x)
    return keras.Model(inputs, layers.MaxPooling2D(2, padding="same", name="peaks")(x))


@model
def transposed() -> keras.Model:
    signal, picture = keras.Input((9, 3), name="signal"), keras.Input((5, 4, 3), name="picture")
    x = layers.Conv1DTranspose(5, 3, strides=2, padding="same", activation="relu")(signal)
    x = layers.Conv1DTranspose(4, 4, strides=3, padding="valid", name="longer")(x)
    y = layers.Conv2DTranspose(5, 3, strides=2, padding="valid", activation="relu")(picture)
    y = layers.Conv2DTranspose(4, 3, padding="same", use_bias=False)(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    return keras.Model([signal, picture], [x, layers.Conv2DTranspose(2, 4, strides=(2, 3), name="larger")(y)])


@model
def capped_relu_in_concat() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    capped = layers.ReLU(max_value=0.2)(layers.Conv2D(4, 3)(inputs))
    capped = layers.MaxPooling2D()(capped)
    other = layers.Conv2D(4, 4, strides=2)(inputs)
    return keras.Model(inputs, layers.Concatenate(name="both")([capped, other]))


@model
def normalized() -> keras.Model:
    generator = np.random.default_rng(0)
    channels, rows = layers.Normalization(), layers.Normalization(axis=1)
    channels.adapt(generator.normal(3, 2, (64, 6, 6, 3)).astype(np.float32) * np.float32([1, 2, 3]))
    rows.adapt(
        generator.normal(1, 2, (64, 6, 6)).astype(np.float32) + np.arange(6, dtype=np.float32)[:, None]
    )
    picture, table = keras.Input((6, 6, 3), name="picture"), keras.Input((6, 6), name="table")
    x = layers.Conv2D(4, 3, name="seen")(channels(picture))
    return keras.Model([picture, table], [x, layers.Conv1D(4, 3, name="read")(rows(table))])


@model
def nested_by_name() -> keras.Model:
    p, q = keras.Input((4,), name="p"), keras.Input((4,), name="q")
    inner = keras.Model([q, p], layers.Concatenate()([layers.Dense(3)(q), layers.Dense(2)(p)]), name="inner")
    flat = keras.Input((5,))
    squeezing = keras.Model(flat, layers.Dense(3)(flat), name="squeezing")
    one, other = keras.Input((4,), name="one"), keras.Input((4,), name="other")
    x = layers.Reshape((5, 1))(inner({"p": one, "q": other}))
    return keras.Model([one, other], layers.Dense(2, name="end")(squeezing(x)))


@model
def activations_that_stay_float() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.PReLU()(layers.Conv2D(6, 3)(x))
    x = layers.ELU()(layers.Conv2D(6, 1)(x))
    x = layers.Conv2D(4, 3, activation=layers.PReLU(shared_axes=[1, 2], alpha_initializer="normal"))(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(4, 1, activation=layers.LeakyReLU(0.3))(x)
    x = layers.Conv2D(4, 1, activation="mish")(x)
    return keras.Model(inputs, layers.Softmax(axis=1, name="columns")(x))


@model
def outputs_everywhere() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    one = layers.Conv2D(4, 3, name="one")(inputs)
    normed = layers.LayerNormalization(name="normed")(one)
    two = layers.Conv2D(4, 1, name="two")(normed)
    return keras.Model(inputs, {"b": two, "a": one, "c": layers.ReLU(name="positive")(two)})


@model
def arithmetic() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x, y = layers.Conv2D(4, 3)(inputs), layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.Maximum()([x, y, x + 0.5])
    x = layers.Average()([layers.Minimum()([x, y]), 2.0 * y, x])
    x = layers.Concatenate()([x, x])
    x = layers.Multiply()([x, x, layers.Add()([x, x])])
    half, rest = keras.ops.split(x, 2, axis=-1)
    return keras.Model(inputs, layers.Conv2D(2, 1, name="end")(half - rest / 2.0))


@model
def recurrent() -> keras.Model:
    inputs = keras.Input((6, 5))
    x = layers.Conv1D(6, 3, padding="same")(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x, state = layers.GRU(4, return_sequences=True, return_state=True, name="gru")(x)
    return keras.Model(inputs, [layers.Dense(2, name="each")(x), layers.Dense(3, name="last")(state)])


@model
def any_size() -> keras.Model:
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    x = layers.Conv2D(2, 1, name="map")(layers.UpSampling2D()(x))
    return keras.Model(inputs, [x, layers.Dense(2, name="class")(pooled)])


@model
def tokens() -> keras.Model:
    inputs = keras.Input((12,), dtype="int32", name="my tokens")
    x = layers.Embedding(20, 8, mask_zero=True)(inputs)
    y = layers.GlobalMaxPooling1D()(layers.Conv1D(6, 3, activation="relu")(x))
    x = layers.GlobalAveragePooling1D()(layers.Dense(6, activation="relu")(x))
    x = layers.MultiHeadAttention(2, 4)(layers.Reshape((2, 6))(layers.Concatenate()([x, y])), x[:, None])
    return keras.Model(inputs, layers.Dense(2, name="weight_1")(layers.TimeDistributed(layers.Dense(3))(x)))


def save_with_data(count):
    """Save a model of two layers as float.keras, and examples with its own answers as labels as data.npz."""
    network = MODELS["conv_batchnorm_relu"]()
    network.save("float.keras")
    inputs = examples(network, count=count)
    np.savez("data.npz", **inputs, y=np.argmax(network.predict(inputs["picture"], verbose=0), axis=1))
