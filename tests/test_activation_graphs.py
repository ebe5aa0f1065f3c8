"""The activation memory of models and files, against numbers by hand, another count and a microcontroller's arena."""

from __future__ import annotations

from math import prod
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import small_models
import tiny_files
from keras import layers
from onnx import TensorProto, helper, numpy_helper

import slimedge
from slimedge import graph_reading
from slimedge.benchmarks.activation_graphs import of_file, of_model
from slimedge.benchmarks.activation_memory import Peak
from slimedge.benchmarks.file_graph import read_onnx, read_tflite
from slimedge.graph import Value
from slimedge.runtime.microcontroller.describing import describe

DEMO = Path(__file__).parents[1] / "benchmarks/demo"
MAP_BYTES = 28 * 28 * 16  # of the first block, one byte an element


@pytest.fixture(scope="module")
def resnet8():
    return slimedge.load_model(DEMO / "resnet8.keras")


@pytest.fixture(scope="module")
def int8_resnet8(resnet8):
    with np.load(DEMO / "fashion_mnist_sample.npz") as sample:
        images = np.float32(sample["image_train"][:8] / 255)
    return slimedge.quantize(resnet8, slimedge.Data.load({"image": images}))


@pytest.fixture(scope="module")
def int8_files(int8_resnet8, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    made = slimedge.export_model(int8_resnet8, folder=folder, name="resnet8", io="int8")
    return {str(artifact.format): artifact.path for artifact in made}


def counted_another_way(model):
    """Go through the calls with a set of what is alive, as bytes of arrays would be; reshapes share theirs."""
    network = graph_reading.from_model(model)
    same: dict[Value, Value] = {}
    for node in network.nodes:
        if node.layer.kind in {"Flatten", "Reshape", "Dropout"}:
            same[node.output] = same.get(node.inputs[0], node.inputs[0])
    later = [{same.get(value, value) for value in node.inputs} for node in network.nodes]
    later.append({same.get(value, value) for value in network.outputs})
    alive, most = set(network.inputs), 0
    for step, node in enumerate(network.nodes):
        alive |= {same.get(value, value) for value in (*node.inputs, *node.outputs)}
        most = max(most, sum(prod(value.shape[1:]) * np.dtype(value.dtype).itemsize for value in alive))
        alive &= set().union(*later[step + 1 :])
    return most


@pytest.mark.parametrize("name", sorted(set(small_models.MODELS) - {"any_size"}))
def test_a_float_model_needs_what_another_count_finds(name):
    model = small_models.MODELS[name]()

    assert of_model(model).bytes == counted_another_way(model)


def test_the_first_addition_of_resnet8_holds_three_feature_maps(resnet8, int8_resnet8):
    assert of_model(resnet8).bytes == 3 * 4 * MAP_BYTES
    assert of_model(int8_resnet8).bytes == 3 * MAP_BYTES


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_quantized_model_and_its_files_need_the_same(int8_resnet8, int8_files, kind):
    read = {"onnx": read_onnx, "tflite": read_tflite}[kind]

    assert of_file(read(int8_files[kind])).bytes == of_model(int8_resnet8).bytes


def test_a_microcontroller_s_arena_is_larger_but_not_twice_as_large(int8_files):
    needed = of_file(read_tflite(int8_files["tflite"])).bytes
    arena = describe(int8_files["tflite"]).arena  # with scratch buffers and what the interpreter keeps

    assert needed <= arena.total_bytes < 2 * needed


@pytest.mark.parametrize(("integer", "width"), [(False, 4), (True, 1)])
def test_a_tflite_file_counts_its_own_types(tmp_path, integer, width):
    path = tmp_path / "tiny.tflite"
    tiny_files.tflite(path, integer=integer)

    # Both inputs are there from the start, and the first answer stays.
    assert of_file(read_tflite(path)).bytes == width * (4 + 3 + 3)


def test_an_onnx_file_counts_one_example_of_any_batch(tmp_path):
    assert of_file(read_onnx(tiny_files.float_onnx(tmp_path / "tiny.onnx").path)).bytes == 4 * (4 + 3 + 3)


def onnx_file(path, nodes, shape, output=TensorProto.FLOAT):
    tensors = [
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
        numpy_helper.from_array(np.zeros((5, 3, 1, 1), np.float32), "kernel"),
        numpy_helper.from_array(np.int64([-1, 320]), "row"),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    made = [helper.make_tensor_value_info("y", output, None)]
    made_graph = helper.make_graph(nodes, "one", given, made, tensors)
    model = helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return read_onnx(path)


def test_between_dequantize_and_quantize_an_onnx_op_is_on_integers(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="first"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Conv", ["d", "kernel"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["y"]),
    ]
    found = of_file(onnx_file(tmp_path / "q.onnx", nodes, ["n", 3, 8, 8], TensorProto.INT8))

    assert found == Peak(64 * 3 * (4 + 1), "first")  # the convolution needs 64 · (3 + 5) bytes


def test_a_reshape_in_a_file_makes_no_new_tensor(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], name="conv"),
        helper.make_node("Reshape", ["c", "row"], ["f"]),
        helper.make_node("Relu", ["f"], ["y"], name="relu"),
    ]
    found = of_file(onnx_file(tmp_path / "r.onnx", nodes, ["n", 3, 8, 8]))

    assert found == Peak(4 * 2 * 320, "relu")


@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], None])
def test_a_file_of_open_size_has_no_activation_memory(tmp_path, shape):
    nodes = [helper.make_node("Conv", ["x", "kernel"], ["y"])]

    assert of_file(onnx_file(tmp_path / "o.onnx", nodes, shape)) is None


def test_a_model_of_open_size_or_without_a_graph_has_none():
    class Plain(keras.Model):
        def call(self, x):
            return x

    assert of_model(small_models.MODELS["any_size"]()) is None
    assert of_model(Plain()) is None


def test_a_fixed_batch_counts_for_one_example():
    image = keras.Input(batch_shape=(4, 8, 8, 3))

    assert of_model(keras.Model(image, layers.Conv2D(5, 1)(image))).bytes == 4 * 64 * (3 + 5)


def test_a_layer_that_stays_float_between_integers_holds_real_numbers():
    from slimedge.data import Data
    from slimedge.keras_file import input_specs

    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 1, name="first")(x)
    x = layers.ELU(name="elu")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1)(x)))
    data = Data.load(small_models.examples(model)).bind(input_specs(model), checks="types")

    # The ELU takes and makes 64 · 16 floats; what it makes is then rounded.
    assert of_model(slimedge.quantize(model, data)) == Peak(64 * 16 * 4 * 2, "elu")


def test_a_loop_in_a_tflite_file_counts_the_larger_of_its_graphs(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 10), tf.float32)])
    def looped(x):
        def step(number, y):
            wide = tf.tile(y, [1, 5])
            return number + 1, tf.reshape(tf.reduce_sum(tf.reshape(tf.sin(wide), (5, 10)), 0), (1, 10))

        return tf.while_loop(lambda number, _: number < 3, step, [0, x])[1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([looped.get_concrete_function()])
    path = tmp_path / "loop.tflite"
    path.write_bytes(converter.convert())
    network = read_tflite(path)
    (loop,) = [op for op in network.ops if op.bodies]
    inside = max(of_file(body).bytes for body in loop.bodies)

    assert inside == 4 * (50 + 50 + 1)  # around the sine, and the counter
    assert of_file(network).bytes == inside + 4 * (
        10 + 10 + 1
    )  # and what goes into and comes out of the loop
