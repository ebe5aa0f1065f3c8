"""The editor over an ONNX graph: what it finds is in the model, and what it changes is in the file afterwards."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from slimedge.export.onnx_graph import MOVES, OnnxGraph, attribute, captured, moved, rename_inputs

KERNEL = np.float32([[1, -2], [3, 4], [0, 5]])
X = np.float32([[1, 2, 3], [-1, 0, 4]])


def value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model() -> ModelProto:
    """Make y = relu(x · kernel + bias), beside a chain that nobody takes."""
    nodes = [
        helper.make_node("MatMul", ["x", "kernel"], ["product"], name="matmul"),
        helper.make_node("Abs", ["product"], ["lost"], name="unused"),
        helper.make_node("Neg", ["lost"], ["lost more"], name="unused too"),
        helper.make_node("Add", ["product", "bias"], ["sum"], name="add"),
        helper.make_node("Relu", ["sum"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", ["n", 3]), value("idle", ["n", 1])],
        [value("y", ["n", 2])],
        [
            numpy_helper.from_array(np.float32([0.5, -1]), "bias"),
            numpy_helper.from_array(KERNEL, "kernel"),
            numpy_helper.from_array(np.float32([9]), "spare"),
        ],
        value_info=[value("product", ["n", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answer(made: ModelProto, x: np.ndarray = X) -> np.ndarray:
    onnx.checker.check_model(made)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = {given.name: x[:, : given.shape[1]] for given in session.get_inputs()}
    (found,) = session.run(None, fed)
    return np.asarray(found)


def names(graph: OnnxGraph) -> list[str]:
    return [node.name for node in graph.nodes]


def looping() -> NodeProto:
    """A loop that takes `outer` and `scale` from outside: the latter in a condition inside of it."""
    condition = helper.make_graph(
        [helper.make_node("Mul", ["inner", "scale"], ["scaled"])], "branch", [], [value("scaled", [1])]
    )
    body = helper.make_graph(
        [
            helper.make_node("Add", ["carried", "outer"], ["inner"]),
            helper.make_node("Add", ["inner", "own"], ["next"]),
            helper.make_node("If", ["go on"], ["picked"], then_branch=condition, else_branch=condition),
            helper.make_node("Clip", ["picked", "", "outer"], ["clipped"]),
        ],
        "body",
        [value("step", [], TensorProto.INT64), value("go on", [], TensorProto.BOOL), value("carried", [1])],
        [value("go on", [], TensorProto.BOOL), value("clipped", [1])],
        [numpy_helper.from_array(np.float32([1]), "own")],
    )
    return helper.make_node("Loop", ["times", "", "start"], ["end"], name="loop", body=body)


def test_it_has_nodes_constants_inputs_and_outputs_of_the_model() -> None:
    graph = OnnxGraph(model())

    assert names(graph) == ["matmul", "unused", "unused too", "add", "relu"]
    assert set(graph.constants) == {"bias", "kernel", "spare"}
    np.testing.assert_array_equal(graph.constants["kernel"], KERNEL)
    assert (graph.inputs, graph.outputs, graph.layers) == (["x", "idle"], ["y"], {})


def test_it_finds_who_makes_a_tensor_and_who_takes_it() -> None:
    graph = OnnxGraph(model())

    made = {tensor: node.name for tensor, node in graph.producers().items()}
    assert made == {
        "product": "matmul", "lost": "unused", "lost more": "unused too", "sum": "add", "y": "relu",
    }  # fmt: skip
    for tensor, name in made.items():
        found = graph.producer(tensor)
        assert found is not None
        assert found.name == name
    assert graph.producer("x") is graph.producer("kernel") is None
    taken = {tensor: [node.name for node in nodes] for tensor, nodes in graph.consumers().items()}
    assert taken == {
        "x": ["matmul"], "kernel": ["matmul"], "product": ["unused", "add"], "lost": ["unused too"], "bias": ["add"],
        "sum": ["relu"],
    }  # fmt: skip


def test_a_loop_takes_what_its_bodies_take_from_outside() -> None:
    assert captured(looping()) == ["outer", "scale"]
    assert captured(helper.make_node("Relu", ["sum"], ["y"])) == []
    graph = OnnxGraph(model())
    graph.nodes.append(looping())
    taken = graph.consumers()
    assert all(
        [node.name for node in taken[name]] == ["loop"] for name in ("times", "start", "outer", "scale")
    )
    assert not {"inner", "own", "carried", "picked", "step"} & set(taken)


def test_what_only_a_loop_s_body_takes_is_kept() -> None:
    made = model()
    made.graph.initializer.append(numpy_helper.from_array(np.float32([2]), "scale"))
    graph = OnnxGraph(made)
    graph.nodes += [helper.make_node("Abs", ["y"], ["outer"], name="abs"), looping()]
    graph.outputs.append("end")

    graph.remove_unused()

    assert names(graph) == ["matmul", "add", "relu", "abs", "loop"]
    assert [tensor.name for tensor in graph.finish().graph.initializer] == ["kernel", "bias", "scale"]


def test_renaming_reaches_the_bodies_but_not_their_own_tensors() -> None:
    loop = looping()

    rename_inputs(
        loop, {"outer": "new", "scale": "other", "own": "wrong", "carried": "wrong", "start": "begin"}
    )

    assert list(loop.input) == ["times", "", "begin"]
    assert captured(loop) == ["new", "other"]
    body = loop.attribute[0].g
    assert [list(node.input) for node in body.node] == [
        ["carried", "new"],
        ["inner", "own"],
        ["go on"],
        ["picked", "", "new"],
    ]


def test_a_constant_gets_a_free_name() -> None:
    graph = OnnxGraph(model())

    assert graph.add_constant("bias", np.float32([1])) == "bias_"
    assert graph.add_constant("bias", np.float32([2])) == "bias__"
    assert graph.add_constant("fresh", np.float32([3])) == "fresh"
    assert [graph.constants[name].tolist() for name in ("bias", "bias_", "bias__", "fresh")] == [
        [0.5, -1], [1], [2], [3],
    ]  # fmt: skip


def test_a_node_is_put_in_front_of_that_one_and_no_equal_one() -> None:
    graph = OnnxGraph(model())
    twin = NodeProto()
    twin.CopyFrom(graph.nodes[4])
    graph.nodes.append(twin)

    graph.insert_before(twin, helper.make_node("Abs", ["sum"], ["z"], name="new"))

    assert names(graph) == ["matmul", "unused", "unused too", "add", "relu", "new", "relu"]
    graph.remove([twin])
    assert names(graph) == ["matmul", "unused", "unused too", "add", "relu", "new"]
    assert graph.nodes[4] is not twin


def test_a_chain_that_nobody_takes_is_removed_to_its_beginning() -> None:
    graph = OnnxGraph(model())

    graph.remove_unused()

    assert names(graph) == ["matmul", "add", "relu"]


def test_the_changed_model_computes_what_was_changed() -> None:
    graph = OnnxGraph(model())
    doubled = graph.add_constant("kernel", 2 * KERNEL)
    matmul, add = graph.nodes[0], graph.nodes[3]
    graph.insert_before(add, helper.make_node("Neg", ["product"], ["minus"], name="neg"))
    rename_inputs(matmul, {"kernel": doubled})
    rename_inputs(add, {"product": "minus"})
    graph.remove_unused()
    graph.inputs.remove("idle")

    made = graph.finish()

    np.testing.assert_allclose(answer(made), np.maximum(np.float32([0.5, -1]) - 2 * X @ KERNEL, 0))
    assert [given.name for given in made.graph.input] == ["x"]
    assert [tensor.name for tensor in made.graph.initializer] == [
        "kernel_",
        "bias",
    ]  # in the order of their use
    assert list(made.graph.value_info) == []  # shapes that may no longer be so


def test_unchanged_it_computes_the_same() -> None:
    np.testing.assert_array_equal(answer(OnnxGraph(model()).finish()), answer(model()))
    np.testing.assert_allclose(answer(model()), np.maximum(X @ KERNEL + np.float32([0.5, -1]), 0))


def test_everybody_takes_the_tensor_that_another_one_is_redirected_to() -> None:
    graph = OnnxGraph(model())

    graph.redirect("product", "x")

    assert [list(node.input) for node in graph.nodes] == [
        ["x", "kernel"], ["x"], ["lost"], ["x", "bias"], ["sum"],
    ]  # fmt: skip


def test_a_constant_that_is_an_output_stays() -> None:
    graph = OnnxGraph(model())
    graph.outputs.append("spare")

    assert "spare" in [tensor.name for tensor in graph.finish().graph.initializer]


@pytest.mark.parametrize(("dtype", "expected"), [("int8", True), ("uint8", True), ("int16", False)])
def test_a_rounding_is_to_bytes_by_the_type_of_its_zero_point(dtype: str, expected: bool) -> None:
    graph = OnnxGraph(model())
    graph.add_constant("zero", np.zeros((), dtype))
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"])

    assert graph.rounds_to_bytes(node) is expected


def test_an_attribute_is_a_python_value_or_the_default() -> None:
    node = helper.make_node("Conv", ["x", "k"], ["y"], group=3, strides=[2, 1], auto_pad="SAME_UPPER")

    assert (attribute(node, "group"), list(attribute(node, "strides"))) == (3, [2, 1])
    assert attribute(node, "auto_pad") == b"SAME_UPPER"
    assert attribute(node, "dilations") is None
    assert attribute(node, "dilations", [1, 1]) == [1, 1]
    assert node.attribute[0].type != AttributeProto.GRAPH


SHAPE_OPS = [
    ("Identity", None, {}),
    ("Transpose", None, {"perm": [2, 0, 1]}),
    ("Transpose", None, {}),
    ("Reshape", [4, 6], {}),
    ("Reshape", [0, -1], {}),
    ("Reshape", [-1, 0, 2], {}),
    ("Unsqueeze", [0, 3], {}),
    ("Squeeze", [1], {}),
]


@pytest.mark.parametrize(("kind", "argument", "attributes"), SHAPE_OPS)
def test_an_array_is_moved_as_the_runtime_moves_it(kind, argument, attributes) -> None:
    array = np.arange(24, dtype=np.float32).reshape((2, 1, 12) if kind == "Squeeze" else (2, 3, 4))
    constants = {} if argument is None else {"sizes": np.array(argument, np.int64)}
    node = helper.make_node(kind, ["x", *constants], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "move",
        [value("x", list(array.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])

    found = moved(node, array, constants)

    assert found is not None
    np.testing.assert_array_equal(found, session.run(None, {"x": array})[0])


def test_what_moves_nothing_or_by_what_is_not_known_gives_none() -> None:
    array = np.ones((2, 3), np.float32)
    assert moved(helper.make_node("Relu", ["x"], ["y"]), array, {}) is None
    assert moved(helper.make_node("Reshape", ["x", "sizes"], ["y"]), array, {}) is None
    assert moved(helper.make_node("Squeeze", ["x"], ["y"]), array, {}) is None
    assert {kind for kind, _, _ in SHAPE_OPS} - {"Identity"} == MOVES
