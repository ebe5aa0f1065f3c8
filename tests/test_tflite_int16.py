"""Activations of 16 bits in a TFLite file: types, scales and biases are those of the 16x8 specification."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from small_models import MODELS, examples

from slimedge.compress.calibration import calibrate
from slimedge.compress.inserting import insert
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, planned
from slimedge.compress.quantization import quantize
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.errors import ConversionError, InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.tflite_edit import codes_of
from slimedge.export.tflite_int16 import widen
from slimedge.export.tflite_wide import largest_sum
from slimedge.export.to_onnx import to_onnx
from slimedge.export.to_tflite import to_tflite
from slimedge.export.trial import TfliteTrial
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.fake_quant import FakeQuant, FakeQuantWeights
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs

TYPES = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}


def quantized(network: keras.Model) -> keras.Model:
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    return quantize(network, data, scheme="static_wi8_ai16")


def opened(content: bytes):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def operators(model):
    """Each operator's kind with the tensors that it takes and gives."""
    (graph,), codes = model.subgraphs, codes_of(model)
    for operator in graph.operators:
        found = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
        yield KINDS[codes[operator.opcodeIndex]], operator, found


def constant(model, tensor, dtype):
    return np.frombuffer(bytes(bytearray(model.buffers[tensor.buffer].data)), dtype).reshape(tensor.shape)


@pytest.mark.parametrize("name", ["fused_activations", "requantized_concat", "squeeze_and_excite", "unet"])
def test_every_tensor_between_the_ends_is_int16_around_0(name):
    model = opened(to_tflite(quantized(MODELS[name]())))

    kinds = [kind for kind, _, _ in operators(model)]
    assert kinds.count("DEQUANTIZE") == 1  # each of these models has one output, and nothing in it is float
    for kind, operator, _ in operators(model):
        given = model.subgraphs[0].tensors[operator.outputs[0]]
        if kind != "DEQUANTIZE":
            assert (TYPES[given.type], list(given.quantization.zeroPoint)) == ("INT16", [0])


@pytest.mark.parametrize("name", ["fused_activations", "conv_batchnorm_relu", "swish_and_leaky"])
def test_sigmoid_tanh_and_softmax_have_the_scale_that_litert_demands(name):
    model = opened(to_tflite(quantized(MODELS[name]())))

    given = [tensors[-1] for kind, _, tensors in operators(model) if kind in {"LOGISTIC", "TANH", "SOFTMAX"}]
    assert given
    assert all(tensor.quantization.scale == [1 / 32768] for tensor in given)


def test_the_file_has_the_scales_of_the_graph():
    made = quantized(MODELS["unet"]())

    model = opened(to_tflite(made))

    wanted = {np.float32(layer.grid()[0]) for layer in made._flatten_layers() if isinstance(layer, FakeQuant)}
    found = {
        np.float32(tensor.quantization.scale[0])
        for tensor in model.subgraphs[0].tensors
        if TYPES[tensor.type] == "INT16"
    }
    assert found == wanted


def test_sums_are_of_32_bits_only_where_none_can_overflow():
    x = inputs = keras.Input((600,), name="row")
    x = layers.Dense(4, name="long")(x)
    network = keras.Model(inputs, layers.Dense(3, name="short")(x))
    long, short = network.get_layer("long"), network.get_layer("short")
    long.kernel.assign(np.full((600, 4), 0.5, np.float32))
    long.bias.assign(np.full(4, 0.1, np.float32))
    short.bias.assign(np.float32([0.5, -0.25, 0.0]))

    model = opened(to_tflite(quantized(network)))

    dense = [(operator, tensors) for kind, operator, tensors in operators(model) if kind == "FULLY_CONNECTED"]
    assert [TYPES[tensors[2].type] for _, tensors in dense] == ["INT64", "INT32"]
    assert [operator.builtinOptions.quantizedBiasType for operator, _ in dense] == [
        0,
        schema.TensorType.INT32,
    ]
    _, (given, kernel, bias, _) = dense[1]
    unit = np.float64(given.quantization.scale[0]) * np.float64(kernel.quantization.scale)
    assert np.all(np.abs(constant(model, bias, np.int32) * unit - [0.5, -0.25, 0.0]) <= 0.51 * unit)


def test_the_largest_sum_is_that_of_the_worst_input():
    generator = np.random.default_rng(0)
    kernel = generator.integers(-127, 128, (5, 3, 3, 7)).astype(np.int8)
    bias = generator.integers(-(10**6), 10**6, 5).astype(np.int32)
    worst = np.where(kernel < 0, -(2**15), 2**15).astype(np.int64)

    sums = np.sum(worst * kernel, axis=(1, 2, 3)) * np.sign(bias) + bias
    assert largest_sum(kernel, bias) == np.abs(sums).max()


def test_an_operator_without_an_int16_kernel_computes_in_float():
    made = quantized(MODELS["tokens"]())
    given = examples(made, count=4, seed=3)

    content = to_tflite(made)

    chosen = [tensors for kind, _, tensors in operators(opened(content)) if kind == "SELECT_V2"]
    assert [[TYPES[tensor.type] for tensor in tensors] for tensors in chosen] == [["BOOL", *["FLOAT32"] * 3]]
    for name, expected in keras_outputs(made, given).items():
        assert (
            np.max(np.abs(TfliteTrial(content).run(given)[name] - expected))
            <= 2.01 * made.layers[-1].grid()[0]
        )


def test_upsampling_stays_on_integers():
    inputs = keras.Input((8, 8, 3))
    x = layers.UpSampling2D()(layers.Conv2D(4, 3, name="first")(inputs))
    made = quantized(keras.Model(inputs, layers.Conv2D(2, 3, name="second")(x)))

    kinds = [kind for kind, _, _ in operators(opened(to_tflite(made)))]

    assert "TILE" in kinds
    assert (kinds.count("QUANTIZE"), kinds.count("DEQUANTIZE")) == (1, 1)


def test_a_layer_that_is_float_in_keras_is_float_in_the_file():
    made = quantized(MODELS["activations_that_stay_float"]())

    found = list(operators(opened(to_tflite(made))))

    assert {TYPES[tensor.type] for kind, _, tensors in found if kind == "PRELU" for tensor in tensors} == {
        "FLOAT32"
    }
    assert "CAST" not in {kind for kind, _, _ in found}
    heavy = [
        kind for kind, _, tensors in found if kind.endswith("CONV_2D") and TYPES[tensors[0].type] == "INT16"
    ]
    assert len(heavy) == sum(isinstance(layer, FakeQuantWeights) for layer in made._flatten_layers())


def test_integer_inputs_and_outputs_are_as_wide_as_the_activations():
    made = quantized(MODELS["two_inputs_two_outputs"]())

    graph = opened(to_tflite(made, io="int16")).subgraphs[0]
    proto = to_onnx(made, io="int16").graph

    assert {TYPES[graph.tensors[index].type] for index in (*graph.inputs, *graph.outputs)} == {"INT16"}
    assert {value.type.tensor_type.elem_type for value in (*proto.input, *proto.output)} == {
        5
    }  # ONNX's INT16
    for export in (to_onnx, to_tflite):
        with pytest.raises(InputError, match="have 16 bits, so it has no int8 inputs; use int16 or float32"):
            export(made, io="int8")


def test_a_grid_that_the_graph_has_not_is_refused():
    model = opened(to_tflite(quantized(MODELS["dense_chain"]())))
    tensor = next(tensor for tensor in model.subgraphs[0].tensors if TYPES[tensor.type] == "INT16")
    tensor.type = schema.TensorType.INT8

    with pytest.raises(ConversionError, match="to a grid of its own, which has no int16 form"):
        widen(model, schema, [0.123])


def of_both_widths(name: str, wide) -> keras.Model:
    """Quantize with 16 bits where `wide` says so of a group's number."""
    network = MODELS[name]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    graph, _, _ = simplify(from_model(network))
    placement = place(graph)
    bits = {group: 16 for group in placement.groups.values() if wide(group)}
    plan = planned(graph, placement, calibrate(graph, placement, data), Bits(), activation_bits=bits)
    return to_model(insert(plan))


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("export", ["onnx", "tflite"])
@pytest.mark.parametrize(
    "name",
    ["conv_batchnorm_relu", "fused_activations", "requantized_concat", "preactivation", "swish_and_leaky"],
)
def test_a_file_may_have_activations_of_both_widths(name, export, odd):
    made = of_both_widths(name, lambda group: group % 2 == odd)
    given = examples(made, count=16, seed=2)
    settings = Settings(io="float32", batch=1, integers=integers_for(isa_here()), metadata={"lineage": []})

    _, trial = EXPORTERS[export](made, settings)

    assert {layer.bits for layer in made._flatten_layers() if isinstance(layer, FakeQuant)} == {8, 16}
    measured = fidelity(keras_outputs(made, given), trial.run(given), output_steps(made))
    assert is_close(measured, quantized=True), measured
