"""Files that compute in float16: what they hold, what they answer, and what cannot be made so."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper
from weight_nets import network_of

from slimedge.errors import ConversionError, InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.exporting import export_model
from slimedge.export.onnx_graph import attribute
from slimedge.export.onnx_half import in_order
from slimedge.export.verify import Fidelity, example_inputs, fidelity, is_close
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import load_model
from slimedge.runtime.backends import BACKENDS

SCHEMES = (None, "fp16")


def halved(network, scheme=None):
    settings = Settings("float32", 1, "u8s8", {"lineage": []}, scheme=scheme, compute="float16")
    return EXPORTERS["onnx"](network, settings)


def dense():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32,), name="x")
    return keras.Model(inputs, layers.Dense(16, bias_initializer="normal", name="y")(inputs))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_float_inside_has_16_bits_and_those_outside_32(scheme):
    content, _ = halved(network_of("convolutions"), scheme)
    graph = onnx.load_from_string(content).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert TensorProto.FLOAT16 in kinds
    assert TensorProto.FLOAT not in kinds
    ends = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert set(ends) == {TensorProto.FLOAT}
    casts = [attribute(node, "to") for node in graph.node if node.op_type == "Cast"]  # others are of shapes
    assert casts.count(TensorProto.FLOAT16) == len(graph.input)
    assert casts.count(TensorProto.FLOAT) == len(graph.output)


def test_weights_are_rounded_to_nearest_as_numpy_does():
    network = dense()
    content, _ = halved(network)
    held = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer]
    kernel, bias = (np.asarray(weight).astype(np.float16) for weight in network.get_weights())
    assert any(np.array_equal(kernel, array) for array in held)
    assert any(np.array_equal(bias, array) for array in held)


def test_a_dense_layer_answers_as_numpy_in_float16():
    network = dense()
    _, trial = halved(network)
    x = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    kernel, bias = (np.asarray(weight).astype(np.float16) for weight in network.get_weights())
    exact = x.astype(np.float16).astype(np.float64) @ kernel.astype(np.float64) + bias
    found = trial.run({"x": x})["y"]
    assert found.dtype == np.float32
    # A sum is rounded to 11 bits once at least; more where the runtime keeps parts of it in 16.
    assert np.max(np.abs(found - exact)) < 4 * np.finfo(np.float16).eps * np.max(np.abs(exact))
    assert np.max(np.abs(found - network.predict_on_batch(x))) > 0


@pytest.mark.parametrize("name", ["convolutions", "einsums", "transformer", "text_lstm", "text_gru"])
def test_nets_of_every_kind_are_close_to_keras(name):
    network = network_of(name)
    _, trial = halved(network)
    inputs = example_inputs(network, None)
    measured = fidelity(keras_outputs(network, inputs), trial.run(inputs))
    assert is_close(measured, quantized=False, half=True)
    assert measured.sqnr_db < 120  # float32 would be closer


def test_what_is_close_enough_in_16_bits_is_not_in_32():
    measured = Fidelity(8, 0.004, 45.0)
    assert is_close(measured, quantized=False, half=True)
    assert not is_close(measured, quantized=False)
    assert not is_close(Fidelity(8, 0.01, 35.0), quantized=False, half=True)
    assert not is_close(Fidelity(8, float("nan"), 45.0), quantized=False, half=True)


@pytest.mark.parametrize("scheme", ["static_wi8_ai8", "weight_only_wi8_afp32", "dynamic_wi8_afp32"])
def test_a_model_on_integers_is_refused(scheme):
    with pytest.raises(InputError, match=rf"quantized to integers \({scheme}\).*export the float model"):
        halved(dense(), scheme)


def test_a_type_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="compute is 'bfloat16'; it can be float32, float16"):
        export_model(dense(), to="onnx", folder=tmp_path, compute="bfloat16")


def test_an_export_tells_what_it_computes_in_and_both_runtimes_read_it(tmp_path):
    network = dense()
    onnx_file, tflite_file = export_model(network, folder=tmp_path, name="net", compute="float16")
    assert onnx_file.lineage[-1].settings == {
        "to": "onnx", "io": "float32", "compute": "float16", "weight_storage": {"float16": 512},
    }  # fmt: skip
    assert "compute" not in tflite_file.lineage[-1].settings
    x = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
    exact = network.predict_on_batch(x)
    for name, artifact, error in (("ort", onnx_file, 1e-2), ("litert", tflite_file, 1e-5)):
        with BACKENDS[name].open(artifact, threads=1) as session:
            found = session.predict({"x": x})["y"]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, atol=error)


def node(name, takes, gives):
    return helper.make_node("Add", takes, gives, name)


def test_nodes_come_after_those_they_take_from_and_else_stay_in_order():
    nodes = [
        node("late", ["b", "c"], ["d"]),
        node("free", ["x", ""], ["e"]),
        node("mid", ["a"], ["b"]),
        node("x", ["x"], ["a"]),
    ]
    assert [each.name for each in in_order(nodes, ["x", "c"])] == ["free", "x", "mid", "late"]


def test_what_a_body_takes_from_outside_comes_before_it():
    body = helper.make_graph([node("inner", ["outer"], ["made"])], "body", [], [])
    loop = helper.make_node("If", ["x"], ["y"], "loop", then_branch=body, else_branch=body)
    assert [each.name for each in in_order([loop, node("first", ["x"], ["outer"])], ["x"])] == [
        "first",
        "loop",
    ]


def test_a_tensor_that_nobody_makes_is_an_error():
    with pytest.raises(ConversionError, match="node lost takes a tensor"):
        in_order([node("lost", ["nowhere"], ["y"])], ["x"])


def test_the_bundled_net_loads_as_a_small_file(tmp_path):
    from slimedge.benchmarks.demo import FOLDER

    content, trial = halved(load_model(Path(FOLDER) / "resnet8.keras"))
    weights = sum(tensor.ByteSize() for tensor in onnx.load_from_string(content).graph.initializer)
    assert weights < 0.55 * 4 * load_model(Path(FOLDER) / "resnet8.keras").count_params()
    assert trial.run({"image": np.zeros((2, 28, 28, 1), np.float32)})["probabilities"].shape == (2, 10)
