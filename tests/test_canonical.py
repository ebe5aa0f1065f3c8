"""A channels_first or half-precision model and its canonical form compute the same; no other model is touched."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of, with_lineage

FIRST, LAST = "channels_first", "channels_last"
Tensor = keras.KerasTensor
Block = Callable[[Tensor, str], Tensor]


def axis(layout: str) -> int:
    return 1 if layout == FIRST else -1


def batchnorm(x: Tensor, layout: str) -> Tensor:
    x = layers.Conv2D(5, 3, data_format=layout, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(axis=axis(layout))(x))


def residual(x: Tensor, layout: str) -> Tensor:
    y = layers.Conv2D(3, 3, padding="same", activation="relu", data_format=layout)(x)
    return layers.Add()([layers.Conv2D(3, 1, data_format=layout)(x), y])


def concatenated(x: Tensor, layout: str) -> Tensor:
    y = layers.Conv2D(4, 1, data_format=layout)(x)
    z = layers.Conv2D(2, 1, data_format=layout, activation="tanh")(x)
    return layers.Conv2D(3, 2, data_format=layout)(layers.Concatenate(axis=axis(layout))([y, z]))


def excited(x: Tensor, layout: str) -> Tensor:
    x = layers.Conv2D(6, 3, data_format=layout, activation="relu")(x)
    gate = layers.GlobalAveragePooling2D(data_format=layout, keepdims=True)(x)
    gate = layers.Conv2D(2, 1, activation="relu", data_format=layout)(gate)
    return layers.Multiply()([x, layers.Conv2D(6, 1, activation="sigmoid", data_format=layout)(gate)])


def resized(x: Tensor, layout: str) -> Tensor:
    x = layers.ZeroPadding2D(((1, 0), (2, 3)), data_format=layout)(x)
    x = layers.Conv2D(4, 3, strides=2, data_format=layout)(x)
    return layers.UpSampling2D((2, 3), data_format=layout)(x)


BLOCKS: dict[str, Block] = {
    "Conv2D": lambda x, layout: layers.Conv2D(4, (3, 2), strides=(1, 2), data_format=layout)(x),
    "DepthwiseConv2D": lambda x, layout: layers.DepthwiseConv2D(3, depth_multiplier=2, data_format=layout)(x),
    "BatchNormalization": batchnorm,
    "Add": residual,
    "Concatenate": concatenated,
    "MaxPooling2D": lambda x, layout: layers.MaxPooling2D((2, 3), data_format=layout)(x),
    "GlobalAveragePooling2D": lambda x, layout: layers.GlobalAveragePooling2D(data_format=layout)(x),
    "GlobalAveragePooling2D(keepdims)": lambda x, layout: layers.GlobalAveragePooling2D(
        data_format=layout, keepdims=True
    )(x),
    "squeeze and excite": excited,
    "padding and upsampling": resized,
}


def network_of(block: Block, layout: str, size: tuple[int, ...] = (8, 7)) -> keras.Model:
    inputs = keras.Input((3, *size) if layout == FIRST else (*size, 3), name="picture")
    return keras.Model(inputs, layers.Identity(name="end")(block(inputs, layout)))


def shaken(network: keras.Model) -> keras.Model:
    """The model with random weights and statistics; kernels have the same layout in both."""
    generator = np.random.default_rng(0)
    for variable in network.variables:
        low, high = (0.5, 1.5) if variable.name in {"gamma", "moving_variance"} else (-0.5, 0.5)
        variable.assign(generator.uniform(low, high, variable.shape))
    return network


def moved(array: np.ndarray, source: int, target: int) -> np.ndarray:
    return np.moveaxis(array, source, target) if array.ndim > 2 else array


def pictures(*size: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 3, *size)).astype(np.float32)


def permutes(network: keras.Model) -> int:
    return sum(isinstance(layer, layers.Permute) for layer in network.layers)


def assert_turned(network: keras.Model) -> None:
    formats = {getattr(layer, "data_format", LAST) for layer in network._flatten_layers()}
    assert formats == {LAST}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_channels_first_net_equals_its_channels_last_twin(name: str) -> None:
    network, twin = (shaken(network_of(BLOCKS[name], layout)) for layout in (FIRST, LAST))
    turned = canonical(network)
    assert_turned(turned)
    picture = pictures(8, 7)
    expected = moved(np.asarray(twin(moved(picture, 1, -1))), -1, 1)
    np.testing.assert_allclose(turned(picture), expected, atol=2e-5)
    assert turned.output_shape == network.output_shape


@pytest.mark.parametrize("name", BLOCKS)
def test_only_inputs_and_outputs_are_transposed(name: str) -> None:
    network = network_of(BLOCKS[name], FIRST)
    outputs_with_positions = len(network.output_shape) == 4
    assert permutes(canonical(network)) == 1 + outputs_with_positions


def test_several_layers_are_turned_as_one_piece() -> None:
    def chain(x: Tensor, layout: str) -> Tensor:
        for block in (batchnorm, residual_of_five, concatenated, excited, resized):
            x = block(x, layout)
        return layers.GlobalMaxPooling2D(data_format=layout)(x)

    def residual_of_five(x: Tensor, layout: str) -> Tensor:
        return layers.Add()([x, layers.DepthwiseConv2D(3, padding="same", data_format=layout)(x)])

    network, twin = (shaken(network_of(chain, layout, (12, 12))) for layout in (FIRST, LAST))
    turned = canonical(network)
    assert permutes(turned) == 1
    picture = pictures(12, 12)
    expected = np.asarray(twin(np.moveaxis(picture, 1, -1)))
    np.testing.assert_allclose(turned(picture), expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))


def test_conv1d_and_its_pooling_equal_their_twin() -> None:
    def block(x: Tensor, layout: str) -> Tensor:
        x = layers.Conv1D(4, 3, padding="same", data_format=layout, activation="relu")(x)
        return layers.AveragePooling1D(2, data_format=layout)(x)

    network, twin = (shaken(network_of(block, layout, (10,))) for layout in (FIRST, LAST))
    signal = pictures(10)
    expected = np.moveaxis(np.asarray(twin(np.moveaxis(signal, 1, -1))), -1, 1)
    turned = canonical(network)
    assert_turned(turned)
    np.testing.assert_allclose(turned(signal), expected, atol=1e-5)


@pytest.mark.parametrize("flatten", [{}, {"data_format": FIRST}])
def test_flattened_numbers_keep_their_order(flatten: dict[str, str]) -> None:
    inputs = keras.Input((3, 6, 5), name="picture")
    x = layers.Conv2D(4, 3, data_format=FIRST, name="conv")(inputs)
    network = shaken(keras.Model(inputs, layers.Flatten(name="flat", **flatten)(x)))
    conv = layers.Conv2D(4, 3)
    conv.build((None, 6, 5, 3))
    conv.set_weights(network.get_layer("conv").get_weights())
    picture = pictures(6, 5)
    maps = np.asarray(conv(np.moveaxis(picture, 1, -1)))
    # What Keras does: with data_format channels_first, Flatten itself moves the channels to the end.
    ordered = maps if flatten else np.moveaxis(maps, -1, 1)
    np.testing.assert_allclose(canonical(network)(picture), ordered.reshape(2, -1), atol=1e-5)


ALONG_AN_AXIS: dict[str, tuple[Callable[[], keras.Layer], Callable[[np.ndarray], np.ndarray]]] = {
    "Softmax(axis=1)": (
        lambda: layers.Softmax(axis=1),
        lambda maps: np.exp(maps) / np.exp(maps).sum(axis=1, keepdims=True),
    ),
    "Reshape": (lambda: layers.Reshape((12, 4)), lambda maps: maps.reshape(-1, 12, 4)),
    "Permute": (lambda: layers.Permute((3, 1, 2)), lambda maps: maps.transpose(0, 3, 1, 2)),
}


@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_a_layer_that_looks_at_positions_gets_the_layout_that_it_was_made_for(name: str) -> None:
    make, by_hand = ALONG_AN_AXIS[name]
    inputs = keras.Input((3, 6, 5), name="picture")
    x = layers.Conv2D(4, 3, data_format=FIRST, name="conv")(inputs)
    network = shaken(keras.Model(inputs, make()(x)))
    conv = layers.Conv2D(4, 3)
    conv.build((None, 6, 5, 3))
    conv.set_weights(network.get_layer("conv").get_weights())
    picture = pictures(6, 5)
    maps = np.moveaxis(np.asarray(conv(np.moveaxis(picture, 1, -1))), -1, 1)
    np.testing.assert_allclose(canonical(network)(picture), by_hand(maps), atol=1e-5)


def two_by_two(**settings: object) -> keras.Model:
    right, left = keras.Input((3, 6, 6), name="right"), keras.Input((3, 6, 6), name="left")
    convolution = layers.Conv2D(4, 3, padding="same", name="shared", **settings)
    x, y = convolution(left), convolution(right)
    difference = layers.Subtract(name="z_difference")([x, y])
    return keras.Model([right, left], [difference, layers.GlobalMaxPooling2D(name="a_peak", **settings)(x)])


def test_inputs_and_outputs_keep_their_names_order_and_shapes() -> None:
    network = shaken(two_by_two(data_format=FIRST))
    turned = canonical(network)
    assert input_specs(turned) == input_specs(network)
    assert output_specs(turned) == output_specs(network)
    assert permutes(turned) == 3, "one for each input and one for the output with positions"
    shared = [node.layer for node in from_model(turned).nodes if node.layer.name == "shared"]
    assert len(shared) == 2
    assert shared[0] is shared[1]


def half_precision(policy: str) -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(6, 3, activation="relu", dtype=policy)(inputs)
    x = layers.BatchNormalization(dtype=policy)(x)
    x = layers.Add(dtype=policy)([x, layers.DepthwiseConv2D(3, padding="same", dtype=policy)(x)])
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    return shaken(keras.Model(inputs, layers.Dense(3, dtype=policy, name="scores")(x)))


# Bits of the mantissa, the hidden one not counted: 10 and 7 (IEEE 754 binary16, bfloat16).
@pytest.mark.parametrize(
    ("policy", "mantissa_bits"),
    [("mixed_float16", 10), ("mixed_bfloat16", 7), ("float16", 10), ("bfloat16", 7)],
)
def test_half_precision_becomes_single_with_the_same_weights(policy: str, mantissa_bits: int) -> None:
    network = half_precision(policy)
    single = canonical(network)
    for layer in single._flatten_layers(include_self=False):
        assert layer.compute_dtype == "float32"
        assert layer.variable_dtype == "float32"
    assert {tensor.dtype for tensor in (*single.inputs, *single.outputs)} == {"float32"}
    for before, after in zip(network.weights, single.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(before, np.float32), np.asarray(after))
    picture = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)
    expected = np.asarray(keras.ops.cast(network(picture), "float32"))
    tolerance = 8 * 2.0**-mantissa_bits * np.abs(expected).max()
    np.testing.assert_allclose(single(picture), expected, atol=tolerance)


def test_half_precision_outputs_equal_a_twin_that_was_single_all_along() -> None:
    single, twin = canonical(half_precision("mixed_float16")), half_precision("float32")
    picture = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(single(picture), twin(picture), atol=1e-6)


def test_a_wrapped_layer_of_half_precision_becomes_single() -> None:
    inputs = keras.Input((5, 4))
    recurrent = layers.Bidirectional(layers.LSTM(3, dtype="mixed_float16"), dtype="mixed_float16")
    single = canonical(keras.Model(inputs, recurrent(inputs)))
    assert {layer.compute_dtype for layer in single._flatten_layers()} == {"float32"}


def test_half_precision_with_channels_first_becomes_both() -> None:
    inputs = keras.Input((3, 8, 8), name="picture")
    x = layers.Conv2D(4, 3, data_format=FIRST, dtype="mixed_float16", name="map")(inputs)
    network = shaken(keras.Model(inputs, x))
    turned = canonical(network)
    assert_turned(turned)
    conv = layers.Conv2D(4, 3)
    conv.build((None, 8, 8, 3))
    conv.set_weights(network.get_layer("map").get_weights())
    picture = pictures(8, 8)
    expected = np.moveaxis(np.asarray(conv(np.moveaxis(picture, 1, -1))), -1, 1)
    np.testing.assert_allclose(turned(picture), expected, atol=1e-5)


def test_the_given_model_stays_and_its_lineage_goes_along() -> None:
    network = network_of(batchnorm, FIRST)
    config = network.get_config()
    steps = (Step("prune", {"sparsity": 0.5}),)
    assert lineage_of(canonical(with_lineage(network, steps))) == steps
    assert network.get_config() == config


@pytest.mark.parametrize("name", BLOCKS)
def test_a_float32_channels_last_model_is_given_back_as_itself(name: str) -> None:
    network = network_of(BLOCKS[name], LAST)
    assert canonical(network) is network
