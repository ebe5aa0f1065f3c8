"""Where ONNX Runtime would fuse operators into others that compute something else, or in float: files keep it off."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper
from small_models import examples

from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.export import onnx_padding, onnx_rounding
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.onnx_graph import OnnxGraph
from slimedge.export.trial import Trial
from slimedge.export.verify import fidelity, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.keras_file import input_specs


def exported(network: keras.Model) -> tuple[OnnxGraph, Trial]:
    settings = Settings(io="float32", batch=1, integers="u8u8", metadata={"lineage": []})
    content, trial = EXPORTERS["onnx"](network, settings)
    return OnnxGraph(onnx.load_from_string(content)), trial


def run(proto: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def proto_of(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], *shape: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def padded_peaks(picture: np.ndarray) -> np.ndarray:
    """Zeros around, then the largest of each 3×3 window at every second place; (batch, height, width, channels)."""
    whole = np.pad(picture, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (whole.shape[1] - 1) // 2, (whole.shape[2] - 1) // 2
    windows = [
        [whole[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3].max(axis=(1, 2)) for x in range(columns)]
        for y in range(rows)
    ]
    return np.stack([np.stack(row, axis=1) for row in windows], axis=1)


def test_zeros_around_negative_numbers_are_the_largest_in_a_file_as_well() -> None:
    inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(3, 1, use_bias=False, name="same")(inputs)  # the file has no Transpose behind it
    x = layers.ZeroPadding2D(1)(x)
    network = keras.Model(inputs, layers.MaxPooling2D(3, strides=2, name="peaks")(x))
    network.get_layer("same").kernel.assign(np.eye(3)[None, None])
    picture = -np.random.default_rng(0).uniform(0.5, 1, (2, 8, 8, 3)).astype(np.float32)
    expected = padded_peaks(picture)
    assert np.any(expected == 0)
    _, trial = exported(network)
    np.testing.assert_allclose(trial.run({"picture": picture})["peaks"], expected, atol=1e-30)


def pad_and_pool(value: np.ndarray | None) -> onnx.ModelProto:
    constants = {"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1])} | ({} if value is None else {"value": value})
    pad = helper.make_node("Pad", ["x", *constants], ["padded"], mode="constant")
    pool = helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    return proto_of([pad, pool], constants, 1, 1, 4, 4)


@pytest.mark.parametrize("value", [None, np.float32(0)])
def test_a_padding_of_zeros_is_written_as_one_that_is_not_fused(value: np.ndarray | None) -> None:
    picture = np.full((1, 1, 4, 4), -1, np.float32)
    graph = OnnxGraph(pad_and_pool(None if value is None else np.asarray(value)))
    onnx_padding.keep_zero_padding(graph)
    (name,) = graph.nodes[0].input[2:]
    assert 0 < graph.constants[name] < 1e-37
    expected = padded_peaks(picture.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(run(graph.finish(), x=picture), expected, atol=1e-30)


def test_a_padding_of_other_numbers_and_one_in_front_of_another_operator_stay() -> None:
    graph = OnnxGraph(pad_and_pool(np.asarray(np.float32(-5))))
    onnx_padding.keep_zero_padding(graph)
    assert graph.constants[graph.nodes[0].input[2]] == -5
    average = pad_and_pool(None)
    average.graph.node[1].op_type = "AveragePool"
    graph = OnnxGraph(average)
    onnx_padding.keep_zero_padding(graph)
    assert len(graph.nodes[0].input) == 2


def quantized(network: keras.Model) -> keras.Model:
    generator = np.random.default_rng(3)
    for variable in network.weights:
        if variable.name == "bias":
            variable.assign(generator.normal(0, 0.2, variable.shape))
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    return quantize(network, data, scheme="static_wi8_ai8")


def joined() -> keras.Model:
    """A convolution whose ReLU shares its grid with a tensor that has negative numbers."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3), name="picture")
    clipped = layers.ReLU()(layers.Conv2D(4, 3, name="clipped")(inputs))
    other = layers.Conv2D(4, 3, name="signed")(inputs)
    x = layers.Concatenate()([clipped, other])
    return quantized(keras.Model(inputs, layers.Conv2D(3, 1, name="map")(x)))


def test_a_relu_on_a_grid_with_negative_numbers_leaves_its_convolution_integer() -> None:
    network = joined()
    graph, trial = exported(network)
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    assert len(convolutions) == 3
    consumers, producers = graph.consumers(), graph.producers()
    for node in convolutions:
        assert [taker.op_type for taker in consumers[node.output[0]]] == ["QuantizeLinear"]
        given = producers[node.input[0]]
        given = producers[given.input[0]] if given.op_type == "Transpose" else given
        assert given.op_type == "DequantizeLinear"
        assert {producers[name].op_type for name in node.input[1:]} == {"DequantizeLinear"}
    assert [node.op_type for node in graph.nodes].count("Clip") == 1, "which clips integers"
    assert "Relu" not in {node.op_type for node in graph.nodes}
    inputs = examples(network, count=8, seed=2)
    measured = fidelity(keras_outputs(network, inputs), trial.run(inputs), output_steps(network))
    assert measured.max_steps is not None
    assert measured.max_steps <= 1.01


def test_onnx_runtime_computes_all_its_convolutions_on_integers(tmp_path) -> None:
    graph, _ = exported(joined())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(
        graph.finish().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3
    assert not {"Conv", "FusedConv", "Relu"} & set(kinds)


def clipped_and_quantized(*ends: float) -> tuple[onnx.ModelProto, np.ndarray]:
    constants = {"scale": np.asarray(np.float32(0.1)), "zero": np.asarray(np.uint8(100))}
    constants |= {f"end_{index}": np.asarray(np.float32(end)) for index, end in enumerate(ends)}
    clip = [f"end_{index}" for index in range(len(ends))]
    nodes = [
        helper.make_node("Neg", ["x"], ["negated"]),
        helper.make_node("Clip" if ends else "Relu", ["negated", *clip], ["clipped"]),
        helper.make_node("QuantizeLinear", ["clipped", "scale", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["y"]),
    ]
    low, high = ends or (0.0, np.inf)
    numbers = np.linspace(-20, 20, 201, dtype=np.float32)
    levels = np.clip(np.rint(np.clip(-numbers, low, high) / np.float32(0.1)) + 100, 0, 255)
    return proto_of(nodes, constants, 201), np.float32((levels - 100) * np.float32(0.1))


@pytest.mark.parametrize("ends", [(), (0.0, 6.0), (-1.0, 1.0), (0.0, 50.0)])
def test_clipping_integers_gives_what_clipping_before_rounding_gives(ends: tuple[float, ...]) -> None:
    proto, expected = clipped_and_quantized(*ends)
    graph = OnnxGraph(proto)
    onnx_rounding.integer_relus(graph)
    assert [node.op_type for node in graph.nodes] == ["Neg", "QuantizeLinear", "Clip", "DequantizeLinear"]
    assert graph.constants[graph.nodes[2].input[1]].dtype == np.uint8
    numbers = np.linspace(-20, 20, 201, dtype=np.float32)
    np.testing.assert_allclose(run(graph.finish(), x=numbers), expected, atol=1e-6)


def test_a_relu_that_something_else_takes_stays() -> None:
    proto, _ = clipped_and_quantized()
    proto.graph.node.append(helper.make_node("Exp", ["clipped"], ["more"]))
    proto.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [201]))
    graph = OnnxGraph(proto)
    onnx_rounding.integer_relus(graph)
    assert [node.op_type for node in graph.nodes][:3] == ["Neg", "Relu", "QuantizeLinear"]
