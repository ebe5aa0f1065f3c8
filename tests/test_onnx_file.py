"""`.onnx` files: names, lineage and weights as they stand there, and nothing from outside the model's folder."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from refusals import refusal_of

from slimedge import notes, onnx_file
from slimedge.artifact import Artifact, Format, Step, TensorSpec
from slimedge.errors import InputError
from slimedge.files import sha256_of
from slimedge.weight_facts import WeightFacts

KERNEL = np.array([[1.0, 0.0], [2.0, 3.0], [0.0, 4.0]], np.float32)


def model(nodes, inputs, outputs, constants, **facts):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    helper.set_model_props(made, facts)
    return made


def float_model(**facts):
    return model(
        [helper.make_node("MatMul", ["image", "kernel"], ["logits"])],
        [("image", TensorProto.FLOAT, ["batch", 3])],
        [("logits", TensorProto.FLOAT, ["batch", 2])],
        {"kernel": KERNEL},
        **facts,
    )


def saved(made, path):
    path.write_bytes(made.SerializeToString())
    return path


def refusal(path):
    return refusal_of(onnx_file.read, path)


def test_inputs_and_outputs_are_the_graphs(tmp_path):
    path = saved(float_model(), tmp_path / "model.onnx")
    artifact = onnx_file.read(path)
    assert artifact == Artifact(path, Format.ONNX, sha256_of(path), (), ())
    assert artifact.inputs == (TensorSpec("image", (None, 3), "float32"),)
    assert artifact.outputs == (TensorSpec("logits", (None, 2), "float32"),)
    assert artifact.lineage == ()


def test_a_constant_that_is_listed_as_an_input_is_none(tmp_path):
    made = float_model()
    made.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [3, 2]))
    assert [spec.name for spec in onnx_file.read(saved(made, tmp_path / "model.onnx")).inputs] == ["image"]


def test_order_and_lineage_come_from_the_notes(tmp_path):
    steps = (Step("quantize", {"scheme": "static_wi8_ai8"}),)
    ends = [(name, TensorProto.FLOAT, ["batch", 3]) for name in ("ant", "zebra")]
    nodes = [helper.make_node("Neg", ["ant"], ["y"]), helper.make_node("Neg", ["zebra"], ["x"])]
    outputs = [(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    facts = {"slimedge": notes.to_json(steps, inputs=["zebra", "ant"], outputs=["y", "x"])}
    artifact = onnx_file.read(saved(model(nodes, ends, outputs, {}, **facts), tmp_path / "model.onnx"))
    assert [spec.name for spec in artifact.inputs] == ["zebra", "ant"]
    assert [spec.name for spec in artifact.outputs] == ["y", "x"]
    assert artifact.lineage == steps


def quantized_ends():
    grid = {"s": np.float32(0.5), "z": np.uint8(7), "t": np.float32(0.25), "y": np.int8(-3)}
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "s", "z"], ["real"]),
        helper.make_node("MatMul", ["real", "kernel"], ["product"]),
        helper.make_node("QuantizeLinear", ["product", "t", "y"], ["logits"]),
    ]
    constants = {name: np.array(value) for name, value in grid.items()}
    return model(
        nodes,
        [("image", TensorProto.UINT8, ["batch", 3])],
        [("logits", TensorProto.INT8, ["batch", 2])],
        {"kernel": KERNEL, **constants},
    )


def test_integer_ends_have_the_grid_of_the_nodes_beside_them(tmp_path):
    artifact = onnx_file.read(saved(quantized_ends(), tmp_path / "model.onnx"))
    assert artifact.inputs == (TensorSpec("image", (None, 3), "uint8", 0.5, 7),)
    assert artifact.outputs == (TensorSpec("logits", (None, 2), "int8", 0.25, -3),)


def test_parameters_leave_out_scales_and_zero_points(tmp_path):
    path = saved(quantized_ends(), tmp_path / "model.onnx")
    assert onnx_file.weights_summary(path) == (KERNEL.size, np.count_nonzero(KERNEL))


@pytest.mark.parametrize(
    ("points", "axis", "nonzero"),
    [
        (np.uint8(0), 1, 4),
        (np.uint8(4), 1, 5),
        (np.array([1, 9], np.uint8), 1, 5),
        (np.array([0, 2, 4], np.uint8), 0, 3),
    ],
)
def test_a_quantized_number_is_zero_at_its_zero_point(points, axis, nonzero, tmp_path):
    kernel = KERNEL.astype(np.uint8)
    made = model(
        [
            helper.make_node("DequantizeLinear", ["kernel", "s", "z"], ["real"], axis=axis),
            helper.make_node("MatMul", ["image", "real"], ["logits"]),
        ],
        [("image", TensorProto.FLOAT, ["batch", 3])],
        [("logits", TensorProto.FLOAT, ["batch", 2])],
        {"kernel": kernel, "s": np.ones(points.shape, np.float32), "z": np.array(points)},
    )
    expected = kernel.size - int(
        (kernel == (points if points.ndim == 0 or axis == 1 else points[:, None])).sum()
    )
    assert expected == nonzero
    assert onnx_file.weights_summary(saved(made, tmp_path / "model.onnx")) == (6, nonzero)


def test_parameters_of_constants_and_of_inner_graphs_are_counted(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("Identity", ["inner_kernel"], ["inner_out"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner_out", TensorProto.FLOAT, [3, 2])],
        [numpy_helper.from_array(KERNEL, "inner_kernel")],
    )
    made = float_model()
    made.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner))
    made.graph.node.append(
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(5, "f4")))
    )
    made.graph.initializer.append(numpy_helper.from_array(np.array([3, 2], np.int64), "shape"))
    assert onnx_file.weights_summary(saved(made, tmp_path / "model.onnx"))[0] == 3 * KERNEL.size + 5


def two_of_four(rows, columns):
    """Numbers of which two in each four of a row are zero, in places drawn at random."""
    generator = np.random.default_rng(6)
    kept = generator.permuted(np.tile([True, True, False, False], (rows * columns // 4, 1)), axis=1)
    return np.where(kept.reshape(rows, columns), generator.normal(size=(rows, columns)), 0).astype(np.float32)


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Gemm turned", "Conv", "DequantizeLinear"])
def test_a_pattern_is_along_what_an_op_sums_over(op, tmp_path):
    rows = two_of_four(12, 64)  # 64 inputs
    kernel = {"Gemm turned": rows, "Conv": rows[..., None], "DequantizeLinear": rows}.get(op, rows.T)
    constants = {"kernel": np.ascontiguousarray(kernel)}
    nodes = [helper.make_node(op.split()[0], ["image", "kernel"], ["logits"])]
    if op == "Gemm turned":
        nodes[0].attribute.append(helper.make_attribute("transB", 1))
    if op == "DequantizeLinear":
        integers = np.where(rows.T == 0, 128, np.clip(np.rint(rows.T * 30) + 129, 129, 255)).astype(np.uint8)
        constants = {"kernel": integers, "scale": np.float32(1 / 30), "zero": np.uint8(128)}
        nodes = [
            helper.make_node(op, ["kernel", "scale", "zero"], ["real"]),
            helper.make_node("MatMul", ["image", "real"], ["logits"]),
        ]
    ends = [[(name, TensorProto.FLOAT, None)] for name in ("image", "logits")]
    (found,) = onnx_file.weights(saved(model(nodes, *ends, constants), tmp_path / "model.onnx"))

    assert (found.name, found.shape, found.pattern) == ("kernel", constants["kernel"].shape, "2:4")
    assert (found.parameters, found.nonzero_parameters) == (12 * 64, 12 * 32)
    assert found.dtype == constants["kernel"].dtype.name


def test_each_weight_tells_its_distinct_values(tmp_path):
    made = float_model()
    clustered = np.resize(np.float32([0.5, -1, 2]), (40, 10))
    made.graph.initializer.append(numpy_helper.from_array(clustered, "clustered"))
    small = onnx.helper.make_tensor("small", TensorProto.INT4, [400], list(np.resize([1, -2, 3, 0], 400)))
    varied = onnx.helper.make_tensor("varied", TensorProto.INT4, [400], list(np.resize(range(-6, 6), 400)))
    made.graph.initializer.extend([small, varied])

    found = {each.name: each for each in onnx_file.weights(saved(made, tmp_path / "model.onnx"))}

    assert found["clustered"] == WeightFacts("clustered", (40, 10), "float32", 400, 400, 3)
    assert found["small"] == WeightFacts("small", (400,), "int4", 400, 300, 4)
    assert found["varied"].distinct_values is None  # an index into 12 values takes 4 bits as well
    assert found["kernel"].distinct_values is None


# Bad files


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_cut_off_file_is_cut_off(share, tmp_path):
    path = saved(float_model(), tmp_path / "model.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut off" in refusal(path)


def test_every_cut_is_an_error(tmp_path):
    path = saved(float_model(), tmp_path / "model.onnx")
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello\n", "a text file"),
        (b"\x00\x00\x00\x00TFL3" + bytes(64), "a TFLite model"),
        (bytes(range(256)), "no ONNX model"),
        (b"\x80\x04\x95" + bytes(64), "a pickle"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(content, words, tmp_path):
    (tmp_path / "model.onnx").write_bytes(content)
    assert words in refusal(tmp_path / "model.onnx")


def test_an_input_that_is_no_tensor_is_refused_by_name(tmp_path):
    made = float_model()
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    made.graph.input.append(helper.make_value_info("words", sequence))
    assert "'words', which is no tensor" in refusal(saved(made, tmp_path / "model.onnx"))


def test_bytes_that_do_not_fit_their_shape_are_an_error(tmp_path):
    made = float_model()
    made.graph.initializer[0].dims[0] = 4
    path = saved(made, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"'kernel' whose bytes do not fit their shape \[4, 2\]"):
        onnx_file.weights_summary(path)


# Weights in other files


def external(location, *, offset=None, length=None, where="initializer"):
    """A model whose kernel lies at `location`, as an attacker would write it."""
    made = float_model()
    kernel = made.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            kernel.external_data.add(key=key, value=str(value))
    if where == "attribute":
        node = helper.make_node("Constant", [], ["kernel"])
        node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(kernel)
        made.graph.node.insert(0, node)
        del made.graph.initializer[:]
    return made


@pytest.fixture
def folder(tmp_path):
    """A folder for the model, and beside it a secret that is none of the model's business."""
    (tmp_path / "secret").write_bytes(KERNEL.tobytes())
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def test_weights_beside_the_model_belong_to_it(folder):
    (folder / "weights.bin").write_bytes(bytes(8) + KERNEL.tobytes())
    path = saved(external("weights.bin", offset=8, length=24), folder / "model.onnx")
    artifact = onnx_file.read(path)
    assert onnx_file.external_files(path) == (folder / "weights.bin",)
    assert onnx_file.weights_summary(path) == (6, 4)
    assert artifact.sha256 != sha256_of(path)
    (folder / "weights.bin").write_bytes(bytes(8) + (KERNEL + 1).tobytes())
    assert onnx_file.read(path) != artifact


def test_weights_in_a_folder_below_belong_to_it(folder):
    (folder / "parts").mkdir()
    (folder / "parts" / "weights.bin").write_bytes(KERNEL.tobytes())
    path = saved(external("parts/weights.bin"), folder / "model.onnx")
    assert onnx_file.external_files(path) == (folder / "parts" / "weights.bin",)


def test_a_model_in_one_file_has_no_others(tmp_path):
    assert onnx_file.external_files(saved(float_model(), tmp_path / "model.onnx")) == ()


@pytest.mark.parametrize("where", ["initializer", "attribute"])
@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "parts/../../secret",
        "{absolute}",
        "..\\secret",
        "C:\\secret",
        "\\\\host\\share",
        "",
        "a\0b",
    ],
)
def test_weights_outside_the_folder_are_not_read(location, where, folder):
    location = location.replace("{absolute}", str(folder.parent / "secret"))
    message = refusal(saved(external(location, where=where), folder / "model.onnx"))
    assert "outside its own folder" in message
    assert "'kernel'" in message


def test_a_symbolic_link_to_a_file_is_not_followed(folder):
    (folder / "weights.bin").symlink_to(folder.parent / "secret")
    assert "is a symbolic link" in refusal(saved(external("weights.bin"), folder / "model.onnx"))


def test_a_symbolic_link_to_a_folder_is_not_followed(folder):
    (folder / "parts").symlink_to(folder.parent)
    assert "is a symbolic link" in refusal(saved(external("parts/secret"), folder / "model.onnx"))


def test_missing_weights_are_named(folder):
    message = refusal(saved(external("weights.bin"), folder / "model.onnx"))
    assert f"there is no file {folder / 'weights.bin'}" in message


@pytest.mark.parametrize(
    ("offset", "length"), [(1, 24), (0, 25), (-1, 24), (0, -24), ("x", 24), (1, None), (1 << 70, 1 << 70)]
)
def test_weights_that_are_too_short_are_named(offset, length, folder):
    (folder / "weights.bin").write_bytes(KERNEL.tobytes())
    message = refusal(saved(external("weights.bin", offset=offset, length=length), folder / "model.onnx"))
    assert "'weights.bin' for 'kernel', which has 24" in message


def test_a_folder_is_no_weights(folder):
    (folder / "weights.bin").mkdir()
    assert "there is no file" in refusal(saved(external("weights.bin"), folder / "model.onnx"))
