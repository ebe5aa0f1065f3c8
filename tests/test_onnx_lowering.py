"""What tf2onnx leaves in a graph and nobody needs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimedge.export.onnx_graph import OnnxGraph
from slimedge.export.onnx_lowering import drop_reshapes, sizes_of

RESHAPES = {
    "a picture of one pixel": (["batch", 3, 1, 1], [-1, 3, 1, 1], True),
    "a row": (["batch", 3], [0, 3], True),
    "a fixed batch": ([2, 3], [2, 3], True),
    "another order": (["batch", 3, 1, 1], [-1, 1, 1, 3], False),
    "another rank": (["batch", 3, 1, 1], [-1, 3], False),
    "an open size inside": (["batch", "width", 3], [-1, 4, 3], False),
    "another batch": (["batch", 2, 2], [-1, 4, 2], False),
}


@pytest.mark.parametrize("kind", RESHAPES)
def test_a_reshape_to_the_shape_that_there_is_goes(kind: str) -> None:
    shape, wanted, goes = RESHAPES[kind]
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("Reshape", ["positive", "shape"], ["reshaped"]),
        helper.make_node("Neg", ["reshaped"], ["y"]),
    ]
    graph = OnnxGraph(
        helper.make_model(
            helper.make_graph(
                nodes,
                "reshaping",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(wanted))],
                [numpy_helper.from_array(np.array(wanted, np.int64), "shape")],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
    )
    drop_reshapes(graph, sizes_of(graph))
    assert ("Reshape" not in [node.op_type for node in graph.nodes]) is goes
    sizes = [size if isinstance(size, int) else 4 for size in shape]
    x = np.arange(-3, np.prod(sizes) - 3, dtype=np.float32).reshape(sizes)
    session = onnxruntime.InferenceSession(
        graph.finish().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = -np.maximum(x, 0).reshape([-1, *wanted[1:]])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], expected)


def test_a_reshape_that_makes_an_output_stays() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("Reshape", ["positive", "shape"], ["y"]),
    ]
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    shape = numpy_helper.from_array(np.array([-1, 3], np.int64), "shape")
    graph = OnnxGraph(helper.make_model(helper.make_graph(nodes, "reshaping", sizes[:1], sizes[1:], [shape])))
    drop_reshapes(graph, sizes_of(graph))
    assert [node.op_type for node in graph.nodes] == ["Relu", "Reshape"]
