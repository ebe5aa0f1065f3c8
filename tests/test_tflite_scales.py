"""A kernel's scales come through the TFLite converter, wherever its largest integer lies."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.errors import ConversionError
from slimedge.export.tflite_scales import put_back, stand_in
from slimedge.export.to_tflite import to_tflite
from slimedge.export.tracing import Weight
from slimedge.fake_quant import FakeQuantWeights
from slimedge.keras_file import input_specs


def test_a_kernel_that_ends_at_127_needs_no_stand_in():
    kernel = np.int8([[127, -127], [3, 2]])

    assert stand_in(Weight("kernel", kernel, np.float32([[0.5, 1.0]]))) is None
    assert stand_in(Weight("bias", np.float32([1.0]))) is None


def test_a_stand_in_differs_in_one_weight_of_each_channel():
    kernel = np.random.default_rng(0).integers(-7, 8, (3, 3, 4, 2)).astype(np.int8)
    kernel[..., 1, 1] = 0
    scale = np.random.default_rng(1).uniform(0.1, 2, (1, 1, 4, 2)).astype(np.float32)

    made = stand_in(Weight("kernel", kernel, scale))

    integers = np.rint(made.value / scale)
    assert np.all(np.abs(integers).max(axis=(0, 1)) == 127)
    assert np.all(np.sum(integers != kernel, axis=(0, 1)) == 1)
    assert sorted(made.hidden.tolist()) == sorted(
        int(kernel[..., c, m].flat[np.argmax(np.abs(kernel[..., c, m]))]) for c in range(4) for m in range(2)
    )


@pytest.fixture(scope="module")
def quantized() -> keras.Model:
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, activation="relu", name="transposed")(x)
    network = keras.Model(inputs, layers.Dense(5, name="dense")(layers.GlobalAveragePooling2D()(x)))
    images = np.random.default_rng(2).random((16, 8, 8, 3), np.float32)
    made = quantize(network, Data.load(images).bind(input_specs(network)), scheme="static_wi4_ai8")
    wrapped = made.get_layer("conv")
    kernel = np.asarray(wrapped.layer.kernel).copy()
    kernel[..., 0] = np.clip(kernel[..., 0], -5 * wrapped.scales["kernel"][..., 0], None)  # ends at 5 of 7
    kernel[..., 1] = 0
    wrapped.layer.kernel.assign(kernel)
    return made


def int8_constants(content: bytes) -> list[tuple[np.ndarray, np.ndarray, int]]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    found = []
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.INT8 and data is not None:
            array = np.frombuffer(bytes(bytearray(data)), np.int8).reshape(tensor.shape)
            found.append((array, tensor.quantization.scale, tensor.quantization.quantizedDimension))
    return found


def test_the_file_holds_the_graph_s_integers_and_scales(quantized):
    constants = int8_constants(to_tflite(quantized))

    wrapped = [layer for layer in quantized.layers if isinstance(layer, FakeQuantWeights)]
    assert len(constants) == len(wrapped) == 4
    for layer in wrapped:
        integers, scale = layer.integers()["kernel"]
        kept = layer.axes["kernel"]
        lines = np.moveaxis(integers, kept, range(len(kept))).reshape(scale.size, -1)
        places = [
            np.moveaxis(array, axis, 0).reshape(scale.size, -1)
            for array, scales, axis in constants
            if array.size == integers.size and np.allclose(scales, scale.reshape(-1), rtol=1e-5)
        ]
        assert len(places) == 1
        assert np.array_equal(np.sort(places[0], axis=1), np.sort(lines, axis=1))
        assert np.abs(places[0]).max() <= 7


def test_equal_kernels_of_two_layers_may_become_one_tensor():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 4), name="image")
    made = [layers.DepthwiseConv2D(1, name=name, use_bias=False) for name in ("first", "second")]
    x = made[1](layers.ReLU(max_value=1.0)(made[0](inputs)))
    network = keras.Model(inputs, layers.Add()([x, inputs]))
    for layer in made:
        layer.set_weights([np.full((1, 1, 4, 1), 0.75, np.float32)])
    images = np.random.default_rng(4).random((16, 6, 6, 4), np.float32)
    quantized = quantize(network, Data.load(images).bind(input_specs(network)), scheme="static_wi4_ai8")

    constants = int8_constants(to_tflite(quantized))

    assert len(constants) == 1
    integers, scales, _ = constants[0]
    assert np.all(integers == 7)
    assert np.allclose(scales, 0.75 / 7)


def test_a_kernel_that_is_not_found_is_an_error(quantized):
    content = to_tflite(quantized)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    other = stand_in(Weight("lost/kernel", np.int8([[3, 4], [1, 0]]), np.float32([[0.3, 0.4]])))

    with pytest.raises(ConversionError, match="did not keep the kernel lost/kernel as one tensor"):
        put_back(model, [other], schema)
