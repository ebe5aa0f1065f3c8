"""Zeros left out of TFLite files: smaller, the same answers, and dense wherever that is better."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.export.exporters import Settings
from slimedge.export.exporting import export_model
from slimedge.export.tflite_edit import codes_of
from slimedge.export.tflite_sparse import decoded, sparse_where_smaller
from slimedge.export.to_tflite import export_tflite, to_tflite
from slimedge.export.trial import TfliteTrial
from slimedge.keras_file import input_specs
from slimedge.tflite_file import read, weights_summary

GENERATOR = np.random.default_rng(2)
PICTURES = GENERATOR.normal(size=(16, 8, 8, 16)).astype(np.float32)


def zeros(kind, shape):
    """Where a kernel (inputs, outputs) is 0."""
    generator = np.random.default_rng(1)
    if kind == "none":
        return np.zeros(shape, bool)
    if kind == "2:4":
        return (np.argsort(generator.random((shape[0] // 4, 4, shape[1])), axis=1) < 2).reshape(shape)
    block = {"single": 1, "blocks of 4": 4, "blocks of 16": 16}[kind]
    return np.repeat(generator.random((shape[0] // block, shape[1])) < 0.8, block, axis=0)


@cache
def network(kind):
    keras.utils.set_random_seed(4)
    x = inputs = keras.Input((8, 8, 16), name="x")
    x = layers.Conv2D(32, 3, activation="relu", name="conv")(x)
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    model = keras.Model(inputs, layers.Dense(32, name="end")(x), name="net")
    for name in ("conv", "end"):
        kernel = model.get_layer(name).kernel
        flat = kernel.numpy().reshape(-1, 32)
        kernel.assign(np.where(zeros(kind, flat.shape), 0, flat).reshape(kernel.shape))
    return model


@cache
def files(kind, quantized):
    """The file as it was, and as it is exported."""
    model = network(kind)
    scheme = "static_wi8_ai8" if quantized else None
    if quantized:
        data = Data.load({"x": PICTURES}).bind(input_specs(model), checks="types")
        model = quantize(model, data, scheme=scheme)
    metadata = {"lineage": []}
    settings = Settings(io="float32", batch=1, integers="u8s8", metadata=metadata, scheme=scheme)
    return to_tflite(model, metadata=metadata, scheme=scheme), export_tflite(model, settings)[0]


def opened(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def kinds(content):
    """For each operator with a kernel, its name and how that kernel lies in the file."""
    model = opened(content)
    graph, codes = model.subgraphs[0], codes_of(model)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    densified = {
        int(operator.outputs[0])
        for operator in graph.operators
        if names[codes[operator.opcodeIndex]] == "DENSIFY"
    }
    found = {}
    for operator in graph.operators:
        name = names[codes[operator.opcodeIndex]]
        if name in {"CONV_2D", "FULLY_CONNECTED"}:
            index = int(operator.inputs[1])
            sparse = graph.tensors[index].sparsity is not None
            found[name] = "densified" if index in densified else "sparse" if sparse else "dense"
    return found


EXPECTED = {
    ("single", False): {"CONV_2D": "densified", "FULLY_CONNECTED": "densified"},
    ("single", True): {"CONV_2D": "dense", "FULLY_CONNECTED": "dense"},
    ("2:4", False): {"CONV_2D": "densified", "FULLY_CONNECTED": "densified"},
    ("2:4", True): {"CONV_2D": "dense", "FULLY_CONNECTED": "dense"},
    ("blocks of 4", False): {"CONV_2D": "densified", "FULLY_CONNECTED": "sparse"},
    ("blocks of 4", True): {"CONV_2D": "dense", "FULLY_CONNECTED": "dense"},
    ("blocks of 16", False): {"CONV_2D": "densified", "FULLY_CONNECTED": "sparse"},
    ("blocks of 16", True): {"CONV_2D": "dense", "FULLY_CONNECTED": "dense"},
    ("none", False): {"CONV_2D": "dense", "FULLY_CONNECTED": "dense"},
}


@pytest.mark.parametrize(("kind", "quantized"), EXPECTED)
def test_kernels_lie_where_they_are_smaller_and_run(kind, quantized):
    before, after = files(kind, quantized)
    expected = EXPECTED[kind, quantized]
    assert kinds(after) == expected
    if set(expected.values()) == {"dense"}:
        assert after == before
    else:
        assert len(after) < len(before)


@pytest.mark.parametrize(("kind", "quantized"), EXPECTED)
def test_answers_names_and_counts_stay(kind, quantized, tmp_path):
    described = []
    for number, content in enumerate(files(kind, quantized)):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        found = read(path)
        described.append((found.inputs, found.outputs, weights_summary(path)))
    assert described[0] == described[1]
    exact, got = (TfliteTrial(content).run({"x": PICTURES})["end"] for content in files(kind, quantized))
    np.testing.assert_allclose(got, exact, atol=0 if quantized else 1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("kind", ["blocks of 4", "blocks of 16"])
def test_blocks_hold_the_numbers_of_the_dense_matrix(kind):
    model = opened(files(kind, False)[1])
    (tensor,) = (each for each in model.subgraphs[0].tensors if each.sparsity and len(each.shape) == 2)
    assert len(tensor.sparsity.blockMap) == 1
    kernel = network(kind).get_layer("end").kernel.numpy()
    np.testing.assert_array_equal(decoded(model, tensor, schema), kernel.T)


def test_a_file_that_answers_otherwise_stays_dense():
    before, _ = files("single", False)
    seen = []

    def close(exact, got):
        seen.append(np.abs(exact["end"] - got["end"]).max())
        return False

    assert sparse_where_smaller(before, {"x": PICTURES}, close) is before
    assert seen[0] < 1e-5
    assert len(sparse_where_smaller(before, {"x": PICTURES}, lambda *_: True)) < len(before)


def test_zeros_are_stored_for_runtimes_that_cannot_expand_them(tmp_path):
    plain, dense = (
        export_model(network("single"), to="tflite", folder=tmp_path, name=str(dense), dense=dense)[0]
        for dense in (False, True)
    )
    assert kinds(plain.path.read_bytes()) == EXPECTED["single", False]
    assert kinds(dense.path.read_bytes()) == EXPECTED["none", False]
    assert "dense" not in plain.lineage[-1].settings
    assert dense.lineage[-1].settings["dense"]


def test_a_sparse_kernel_holds_the_numbers_of_the_dense_one():
    model = opened(files("single", False)[1])
    (tensor,) = (
        each for each in model.subgraphs[0].tensors if each.sparsity is not None and len(each.shape) == 4
    )
    kernel = network("single").get_layer("conv").kernel.numpy()
    np.testing.assert_array_equal(decoded(model, tensor, schema), np.transpose(kernel, (3, 0, 1, 2)))


def test_few_of_ten_numbers_take_a_third_of_the_bytes():
    before, after = files("single", False)
    assert len(after) < 0.4 * len(before)
