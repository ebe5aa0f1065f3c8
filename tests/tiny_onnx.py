"""Tiny ONNX files made by hand, so that a test of the comparison needs no converter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(
    path: Path,
    kernel: np.ndarray,
    *,
    names: tuple[str, str] = ("x", "scores"),
    softmax: bool = True,
    padding_bytes: int = 0,
) -> Path:
    """Write scores = softmax(x · kernel); `padding_bytes` make the file larger and nothing else."""
    given, made = names
    nodes = [helper.make_node("MatMul", [given, "kernel"], ["product" if softmax else made], name="dense")]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["product"], [made], name="softmax"))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", kernel.shape[0]])],
        [helper.make_tensor_value_info(made, TensorProto.FLOAT, ["batch", kernel.shape[1]])],
        [numpy_helper.from_array(kernel.astype(np.float32), "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.doc_string = "p" * padding_bytes
    onnx.save(model, path)
    return path


def two_heads(path: Path, first: np.ndarray, second: np.ndarray) -> Path:
    """Write two outputs, `shape` and `colour`, of one input."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["shape"], name="first_head"),
            helper.make_node("MatMul", ["x", "second"], ["colour"], name="second_head"),
        ],
        "heads",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", first.shape[0]])],
        [
            helper.make_tensor_value_info("shape", TensorProto.FLOAT, ["batch", first.shape[1]]),
            helper.make_tensor_value_info("colour", TensorProto.FLOAT, ["batch", second.shape[1]]),
        ],
        [
            numpy_helper.from_array(first.astype(np.float32), "first"),
            numpy_helper.from_array(second.astype(np.float32), "second"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path
