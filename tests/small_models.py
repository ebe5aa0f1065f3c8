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
    return network, quantize(network, Data.load(examples(network)).bind(input_specs(network), checks="types"))


def examples(network: keras.Model, count: int = 32, seed: int = 1) -> dict[str, Any]:
    """Give smooth seeded inputs in 0…1 by name."""
    from slimedge.keras_file import input_specs

    generator = np.random.default_rng(seed)
    found = {}
    for spec in input_specs(network):
        array = generator.random((count, *spec.shape[1:]), np.float32)
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
