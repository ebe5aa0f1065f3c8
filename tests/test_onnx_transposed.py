"""A transposed convolution and the ordinary one that takes its place, on the same integers."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from small_models import examples

from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.onnx_transposed import phase_kernel
from slimedge.export.trial import Trial
from slimedge.export.verify import fidelity, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import input_specs


def transposed_by_hand(picture: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Each number of the input, times the kernel, added where it belongs; (inputs, height, width)."""
    inputs, rows, columns = picture.shape
    _, outputs, height, width = kernel.shape
    whole = np.zeros((outputs, (rows - 1) * stride + height, (columns - 1) * stride + width), picture.dtype)
    for row in range(rows):
        for column in range(columns):
            for channel in range(inputs):
                y, x = row * stride, column * stride
                whole[:, y : y + height, x : x + width] += picture[channel, row, column] * kernel[channel]
    return whole


def convolved_by_hand(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The ordinary convolution of stride 1 with full padding; kernel (outputs, inputs, height, width)."""
    outputs, _, height, width = kernel.shape
    padded = np.pad(picture, ((0, 0), (height - 1, height - 1), (width - 1, width - 1)))
    size = padded.shape[1] - height + 1, padded.shape[2] - width + 1
    result = np.zeros((outputs, *size), picture.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            window = padded[:, row : row + height, column : column + width]
            result[:, row, column] = np.einsum("ihw,oihw->o", window, kernel)
    return result


def interleaved(maps: np.ndarray, stride: int) -> np.ndarray:
    """Channels o·s² + s·y + x at the pixels y, x of each block."""
    channels, rows, columns = maps.shape
    outputs = channels // stride**2
    whole = np.zeros((outputs, rows * stride, columns * stride), maps.dtype)
    for y in range(stride):
        for x in range(stride):
            whole[:, y::stride, x::stride] = maps[y * stride + x :: stride**2]
    return whole


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (4, 5), (7, 2)])
def test_the_ordinary_convolution_gives_the_same_integers(size: tuple[int, int], stride: int) -> None:
    generator = np.random.default_rng(0)
    picture, kernel = generator.integers(-9, 9, (2, 4, 3)), generator.integers(-9, 9, (2, 3, *size))
    expected = transposed_by_hand(picture, kernel, stride)
    made = phase_kernel(kernel, stride)
    assert made.shape == (3 * stride**2, 2, -(-size[0] // stride), -(-size[1] // stride))
    got = interleaved(convolved_by_hand(picture, made), stride)
    rows, columns = expected.shape[1:]
    # A kernel that is no multiple of the stride makes a last block that is not full; what is beyond is 0.
    np.testing.assert_array_equal(got[:, :rows, :columns], expected)
    assert not np.any(got[:, rows:])
    assert not np.any(got[:, :, columns:])


def test_the_kernel_holds_each_weight_once_and_keeps_its_type() -> None:
    kernel = np.arange(1, 1 + 2 * 3 * 5 * 4, dtype=np.int8).reshape(2, 3, 5, 4)
    made = phase_kernel(kernel, 2)
    assert made.dtype == np.int8
    assert sorted(made[made != 0].tolist()) == sorted(kernel.ravel().tolist())


def quantized(*stack: keras.Layer) -> keras.Model:
    keras.utils.set_random_seed(3)
    network = keras.Sequential([keras.Input((5, 4, 3), name="picture"), *stack])
    generator = np.random.default_rng(3)
    for variable in network.weights:
        if variable.name == "bias":
            variable.assign(generator.normal(0, 0.2, variable.shape))
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    return quantize(network, data, scheme="static_wi8_ai8")


def exported(network: keras.Model) -> tuple[list[str], Trial]:
    settings = Settings(io="float32", batch=1, integers="u8u8", metadata={"lineage": []})
    content, trial = EXPORTERS["onnx"](network, settings)
    return [node.op_type for node in onnx.load_from_string(content).graph.node], trial


def assert_same_steps(network: keras.Model, trial: Trial) -> None:
    inputs = examples(network, count=8, seed=2)
    steps = output_steps(network)
    assert steps
    measured = fidelity(keras_outputs(network, inputs), trial.run(inputs), steps)
    assert measured.max_steps is not None
    assert measured.max_steps <= 2.01


CASES = [
    (2, 2, "same"),
    (3, 2, "same"),
    (4, 2, "same"),
    (5, 2, "same"),
    (5, 3, "valid"),
    (7, 3, "same"),
    (3, 1, "same"),
    (4, 1, "valid"),
    (2, 3, "same"),
    (2, 3, "valid"),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), CASES)
def test_no_transposed_convolution_is_left_and_the_numbers_are_keras_own(
    kernel: int, stride: int, padding: str
) -> None:
    network = quantized(layers.Conv2DTranspose(4, kernel, strides=stride, padding=padding, name="larger"))
    operators, trial = exported(network)
    assert "ConvTranspose" not in operators
    assert operators.count("Conv") == 1
    assert ("DepthToSpace" in operators) == (stride > 1)
    assert_same_steps(network, trial)


def test_with_a_relu_and_without_a_bias_it_is_the_same() -> None:
    network = quantized(
        layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(3, 4, strides=2, padding="same", use_bias=False),
        layers.ReLU(name="positive"),
    )
    operators, trial = exported(network)
    assert "ConvTranspose" not in operators
    assert operators.count("Conv") == 2
    assert_same_steps(network, trial)


def test_a_kernel_of_unequal_sizes_is_turned_as_well() -> None:
    network = quantized(layers.Conv2DTranspose(4, (2, 5), strides=2, padding="same", name="larger"))
    operators, trial = exported(network)
    assert "ConvTranspose" not in operators
    assert_same_steps(network, trial)


def test_unequal_strides_stay_a_transposed_convolution_and_are_right() -> None:
    network = quantized(layers.Conv2DTranspose(4, 3, strides=(1, 2), padding="same", name="larger"))
    operators, trial = exported(network)
    assert operators.count("ConvTranspose") == 1
    assert_same_steps(network, trial)


def test_a_float_one_stays_a_transposed_convolution() -> None:
    inputs = keras.Input((5, 4, 3), name="picture")
    network = keras.Model(
        inputs, layers.Conv2DTranspose(4, 2, strides=3, padding="same", name="larger")(inputs)
    )
    operators, trial = exported(network)
    assert operators.count("ConvTranspose") == 1
    given = examples(network, count=4, seed=2)
    assert fidelity(keras_outputs(network, given), trial.run(given)).max_error <= 1e-5
