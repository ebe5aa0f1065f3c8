"""What a runtime executes, op by op: whether on integers, and which ones multiply matrices."""

from __future__ import annotations

from functools import partial

import pytest
import tiny_files

from slimedge.runtime.backends.ort_nodes import count_nodes
from slimedge.runtime.backends.ort_providers import short_name
from slimedge.runtime.ops import HeavyOp, count_ops, heavy_ops


@pytest.mark.parametrize(
    ("name", "make", "kinds", "integers"),
    [
        ("f.onnx", tiny_files.float_onnx, {"Gemm", "MatMul"}, False),
        ("i.onnx", tiny_files.integer_onnx, {"QLinearMatMul"}, True),
        ("f.tflite", partial(tiny_files.tflite, integer=False), {"FULLY_CONNECTED"}, False),
        ("i.tflite", partial(tiny_files.tflite, integer=True), {"FULLY_CONNECTED"}, True),
    ],
)
def test_integer_ops_are_told_from_float_ones(tmp_path, name, make, kinds, integers):
    counts = count_ops(make(tmp_path / name))
    assert (counts.integer_ops, counts.total_ops) in {(0, 2), (2, 2), (3, 3)}
    assert (counts.integer_ops == counts.total_ops) is integers
    assert len(counts.heavy) == 2
    assert {op.kind for op in counts.heavy} == kinds
    assert {op.integer for op in counts.heavy} == {integers}


def test_heavy_ops_are_named(tmp_path):
    found = heavy_ops(tiny_files.integer_onnx(tmp_path / "i.onnx"))
    assert set(found) == {
        HeavyOp("zeta_dense", "QLinearMatMul", True),
        HeavyOp("alpha_dense", "QLinearMatMul", True),
    }


def node(name, kind, takes, gives, provider="CPUExecutionProvider"):
    args = {
        "op_name": kind,
        "provider": provider,
        "input_type_shape": [{dtype: [1]} for dtype in takes],
        "output_type_shape": [{dtype: [1]} for dtype in gives],
    }
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": args}


def test_what_counts_as_integer_in_onnx_runtime():
    found = count_nodes(
        [
            node("quantize", "QuantizeLinear", ["float", "float", "uint8"], ["uint8"]),
            node(
                "conv",
                "QLinearConv",
                ["uint8", "float", "uint8", "int8", "float", "int8", "float", "uint8"],
                ["uint8"],
            ),
            node("pool", "MaxPool", ["uint8"], ["uint8"]),
            node("reshape", "Reshape", ["int8", "int64"], ["int8"]),
            node("shape", "Shape", ["uint8"], ["int64"]),
            node("gather", "Gather", ["int64", "int64"], ["int64"]),
            node("dynamic", "DynamicQuantizeMatMul", ["float", "int8", "float"], ["float"]),
            node("matmul", "MatMul", ["float", "float"], ["float"], "CUDAExecutionProvider"),
            node(
                "matmul", "MatMul", ["float", "float"], ["float"], "CUDAExecutionProvider"
            ),  # a loop's body, again
            node("dequantize", "DequantizeLinear", ["uint8", "float", "uint8"], ["float"]),
            {"cat": "Session", "name": "model_run", "args": {}},
        ],
        short_name,
    )
    assert (found["integer"], found["total"]) == (4, 9)
    assert found["heavy"] == [
        ("conv", "QLinearConv", True),
        ("dynamic", "DynamicQuantizeMatMul", True),
        ("matmul", "MatMul", False),
    ]
    assert found["providers"] == {"cpu": 8, "cuda": 1}
