"""Multiply-accumulates of exported files, against closed forms and against the Keras layers they stand for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tiny_files
from onnx import TensorProto, helper, numpy_helper

from slimedge.benchmarks.file_graph import read_onnx, read_tflite
from slimedge.benchmarks.file_macs import count


def onnx_file(path, nodes, shape, weights, opset=18):
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(size, np.float32), name) for name, size in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("node", "shape", "weights", "expected"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"]), ["n", 3, 8, 8], {"w": (5, 3, 3, 3)}, 36 * 5 * 27),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=4),
            ["n", 4, 8, 8],
            {"w": (4, 1, 3, 3)},
            36 * 4 * 9,
        ),
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            ["n", 3, 4, 4],
            {"w": (3, 5, 2, 2)},
            16 * 3 * 5 * 4,
        ),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), ["n", 6], {"w": (4, 6)}, 24),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), ["n", 7, 6], {"w": (6, 4)}, 7 * 24),
        (
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5),
            [7, 1, 3],
            {"w": (1, 20, 3), "r": (1, 20, 5)},
            7 * 4 * (3 * 5 + 5 * 5),
        ),
        (helper.make_node("Relu", ["x"], ["y"]), ["n", 6], {}, 0),
    ],
    ids=["convolution", "depthwise", "transposed", "gemm", "matmul", "lstm", "relu"],
)
def test_an_onnx_op_counts_as_its_formula_says(tmp_path, node, shape, weights, expected):
    assert count(read_onnx(onnx_file(tmp_path / "one.onnx", [node], shape, weights))).total == expected


def test_an_onnx_op_of_unknown_size_is_named(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="open")
    counted = count(
        read_onnx(onnx_file(tmp_path / "o.onnx", [node], ["n", 3, "h", "w"], {"w": (5, 3, 3, 3)}))
    )

    assert counted.uncounted == ("open",)
    assert counted.total is None


@pytest.mark.parametrize("make", [tiny_files.float_onnx, tiny_files.integer_onnx])
def test_integer_products_count_like_float_ones(tmp_path, make):
    assert count(read_onnx(make(tmp_path / "tiny.onnx").path)).total == 4 * 3 + 3 * 2


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("integer", [False, True])
def test_a_tflite_file_counts_one_example_whatever_its_batch(tmp_path, integer, batch):
    path = tmp_path / "tiny.tflite"
    tiny_files.tflite(path, integer=integer, batch=batch)

    assert count(read_tflite(path)).total == 4 * 3 + 3 * 2
