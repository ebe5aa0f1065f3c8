"""An inspection lists what is in a model, and counts as Keras and the file do."""

from __future__ import annotations

import io
import json
import re

import keras
import numpy as np
import pytest
import tiny_files
from keras import layers
from rich.console import Console

import slimedge
from slimedge.benchmarks.inspecting import inspect
from slimedge.benchmarks.reporting import inspection
from slimedge.errors import InputError


@pytest.fixture(scope="module")
def model():
    inner = keras.Sequential(
        [keras.Input((4, 4, 6)), layers.Flatten(name="flat"), layers.Dense(5, name="inside")]
    )
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="conv")(image)
    x = layers.BatchNormalization(name="bn")(x)
    made = keras.Model(image, layers.Dense(2, activation="softmax", name="classes")(inner(x)), name="small")
    kernel, bias = made.get_layer("classes").get_weights()
    kernel[:3] = 0.0
    made.get_layer("classes").set_weights([kernel, bias + 1.0])
    return made


def test_the_layers_of_a_keras_model_are_listed_with_their_counts(model):
    found = {layer.name: layer for layer in inspect(model).layers}

    assert list(found) == ["conv", "bn", "flat", "inside", "classes"]
    assert found["conv"].kind == "Conv2D"
    assert found["conv"].output_shape == (None, 4, 4, 6)
    assert (found["conv"].parameters, found["conv"].macs) == (3 * 3 * 3 * 6 + 6, 16 * 6 * 27)
    assert (found["inside"].parameters, found["inside"].macs) == (96 * 5 + 5, 96 * 5)


def test_the_sums_are_those_of_keras_and_zeros_are_counted(model):
    found = inspect(model)
    weights = [np.asarray(weight) for weight in model.weights]

    assert found.parameters == model.count_params()
    assert found.nonzero_parameters == sum(np.count_nonzero(weight) for weight in weights)
    assert found.sparsity == pytest.approx(1 - found.nonzero_parameters / model.count_params())
    assert found.macs == sum(layer.macs for layer in found.layers)
    assert found.file_bytes is None


def test_a_file_is_found_to_hold_the_same_model(model, tmp_path):
    path = tmp_path / "small.keras"
    model.save(path)

    in_memory, in_file = inspect(model), inspect(path)

    assert in_file.layers == in_memory.layers
    assert in_file.inputs == in_memory.inputs
    assert in_file.file_bytes == path.stat().st_size
    assert in_file.name == "small.keras"


def test_an_onnx_file_is_listed_by_its_ops(tmp_path):
    found = inspect(tiny_files.float_onnx(tmp_path / "tiny.onnx"))

    assert found.ops == {"Gemm": 1, "MatMul": 1}
    assert (found.integer_ops, found.total_ops) == (0, 2)
    assert found.parameters == 4 * 3 + 3 + 3 * 2
    assert found.weight_types == {"float32": 21}
    assert [spec.name for spec in found.inputs] == ["left", "right"]


def test_a_tflite_file_is_listed_by_its_ops_and_integer_ones_are_counted(tmp_path):
    path = tmp_path / "tiny.tflite"
    tiny_files.tflite(path, integer=True)

    found = inspect(path)

    assert found.ops == {"FULLY_CONNECTED": 2}
    assert (found.integer_ops, found.total_ops) == (2, 2)
    assert found.weight_types == {"int8": 18, "int32": 3}
    assert found.inputs[0].scale == pytest.approx(0.02)


def test_what_cannot_be_loaded_by_its_runtime_is_still_listed(tmp_path, monkeypatch):
    from slimedge.errors import UnavailableError
    from slimedge.runtime import ops

    def unavailable(_artifact):
        raise UnavailableError("onnxruntime is not installed.")

    monkeypatch.setattr(ops, "count_ops", unavailable)
    found = inspect(tiny_files.float_onnx(tmp_path / "tiny.onnx"))

    assert found.total_ops is None
    assert "What the runtime executes is not known: onnxruntime is not installed." in found.notes


def test_the_json_holds_every_field_and_the_sparsity(model):
    document = json.loads(inspection.as_json(inspect(model)))

    assert {"name", "format", "parameters", "sparsity", "macs", "layers", "inputs", "lineage"} <= set(
        document
    )
    assert document["layers"][0]["output_shape"] == [None, 4, 4, 6]


def test_the_activation_memory_is_shown_with_where_it_is_needed(model):
    found = inspect(model)

    # 4 · 4 · 6 floats before and after the normalization; before it, the image and the first of them are more.
    assert (found.activation_bytes, found.activation_peak) == (4 * (8 * 8 * 3 + 4 * 4 * 6), "conv")
    console = Console(width=100, file=(shown := io.StringIO()))
    inspection.show(found, console)
    assert re.search(r"^activations +1\.15 kB at conv$", shown.getvalue(), re.MULTILINE)
    assert json.loads(inspection.as_json(found))["activation_bytes"] == 1152


def test_unknown_activation_memory_is_null_and_not_zero():
    x = keras.Input((None, 3))
    found = inspect(keras.Model(x, layers.Dense(2)(x)))

    assert json.loads(inspection.as_json(found))["activation_bytes"] is None


@pytest.fixture(scope="module")
def thinned():
    """A convolution with a 2:4 mask, a dense layer with 16 values, one with half of its numbers masked, and others."""
    generator = np.random.default_rng(3)
    image = keras.Input((8, 8, 16), name="image")
    x = layers.Conv2D(12, 3, name="masked")(image)
    x = layers.Flatten(name="flat")(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.Dense(24, name="clustered")(x)
    made = keras.Model(image, layers.Dense(20, name="half")(x))

    def change(name, function):
        kernel, *others = made.get_layer(name).get_weights()
        made.get_layer(name).set_weights([function(kernel), *others])

    def two_of_four(kernel):
        groups = kernel.transpose(0, 1, 3, 2).reshape(-1, 4)
        places = generator.permuted(np.tile(np.arange(4), (len(groups), 1)), axis=1)[:, :2]
        np.put_along_axis(groups, places, 0.0, axis=1)
        return groups.reshape(3, 3, 12, 16).transpose(0, 1, 3, 2)

    change("masked", two_of_four)
    change("clustered", lambda kernel: generator.choice(np.linspace(-1, 1, 16), kernel.shape))
    change("half", lambda kernel: kernel * (np.arange(480).reshape(24, 20) % 2))
    return made


def test_each_layer_tells_its_zeros_its_values_and_its_pattern(thinned):
    found = {layer.name: layer for layer in inspect(thinned).layers}

    told = {name: (layer.distinct_values, layer.pattern) for name, layer in found.items()}
    assert told == {
        "masked": (None, "2:4"),
        "depthwise": (None, None),
        "flat": (None, None),
        "clustered": (16, None),
        "half": (None, None),
    }
    assert found["masked"].nonzero_parameters == 3 * 3 * 16 * 12 / 2
    assert found["half"].nonzero_parameters == 240
    console = Console(width=100, file=(shown := io.StringIO()))
    inspection.show(inspect(thinned), console)
    text = re.sub(" +", " ", shown.getvalue())
    assert "masked Conv2D 6×6×12 1,740 50.3 % (2:4)" in text  # the bias is zero as well
    assert re.search(r"clustered Dense 24 4,632 0.5 % 16 ", text)
    whole = np.concatenate([np.asarray(weight).ravel() for weight in thinned.weights])
    nonzero = np.count_nonzero(whole)
    assert (
        f"{whole.size:,}, {nonzero:,} of them not zero ({100 * (1 - nonzero / whole.size):.1f} % zeros)"
        in text
    )


def test_a_layer_with_one_weight_of_many_values_is_not_clustered():
    x = keras.Input((5, 40))
    made = keras.Model(x, layers.SimpleRNN(30, name="rnn")(x))
    kernel, recurrent, bias = made.get_layer("rnn").get_weights()
    few = [np.resize(np.float32([1, 2, 3]), array.shape) for array in (kernel, recurrent)]

    for given, values in (((few[0], few[1]), 3), ((few[0], recurrent), None), ((kernel, few[1]), None)):
        made.get_layer("rnn").set_weights([*given, bias])
        assert inspect(made).layers[-1].distinct_values == values


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_file_tells_the_same_of_each_weight(thinned, kind, tmp_path):
    (artifact,) = slimedge.export_model(thinned, to=kind, folder=tmp_path)

    found = inspect(artifact)

    assert found.layers == ()
    told = {
        (w.parameters, w.nonzero_parameters, w.distinct_values, w.pattern, w.sparse) for w in found.weights
    }
    # TFLite leaves the zeros of the kernel out of the file, and with them their pattern.
    masked = {"onnx": ("2:4", False), "tflite": (None, True)}[kind]
    assert {(1728, 864, None, *masked), (4608, 4608, 16, None, False)} <= told
    assert (480, 240, None, None) in {each[:4] for each in told}
    assert sum(weight.parameters for weight in found.weights) == found.parameters
    document = json.loads(inspection.as_json(found))
    assert masked in [(weight["pattern"], weight["sparse"]) for weight in document["weights"]]
    console = Console(width=100, file=(shown := io.StringIO()))
    inspection.show(found, console)
    table = shown.getvalue().partition("\nweight")[2].partition("\n\n")[0]
    assert len(table.splitlines()) == 1 + 3  # biases and the depthwise kernel have nothing to tell
    assert ("50.0 % (2:4)" in table) == (kind == "onnx")


def test_a_sparse_file_of_the_converter_is_that_of_its_model(thinned, tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 16))])
    def call(image):
        return thinned(image)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    path = tmp_path / "sparse.tflite"
    path.write_bytes(converter.convert())

    found = inspect(path)

    stored = {weight.shape: weight for weight in found.weights if weight.sparse}
    kernel = np.asarray(thinned.get_layer("half").kernel)
    assert stored[20, 24].nonzero_parameters == np.count_nonzero(kernel)
    assert (stored[20, 24].parameters, found.macs) == (kernel.size, inspect(thinned).macs)
    console = Console(width=100, file=(shown := io.StringIO()))
    inspection.show(found, console)
    assert "sparsely" in shown.getvalue()


def test_it_is_in_the_package_by_name():
    assert slimedge.inspect is inspect


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")

    with pytest.raises(InputError, match=r"notes\.txt"):
        inspect(path)
