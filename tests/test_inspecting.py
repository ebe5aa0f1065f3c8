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


def test_it_is_in_the_package_by_name():
    assert slimedge.inspect is inspect


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")

    with pytest.raises(InputError, match=r"notes\.txt"):
        inspect(path)
