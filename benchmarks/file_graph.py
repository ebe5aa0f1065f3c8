"""The ops of an ONNX or TFLite file with the shapes of what they take and give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FileOp:
    """One op.

    Attributes:
        name: of the node, or of its output.
        kind: op type, as the format calls it.
        inputs: shapes; None for an input that is left out or whose shape is not known.
        output: shape of the first output; None where it is not known.
    """

    name: str
    kind: str
    inputs: tuple[Shape | None, ...]
    output: Shape | None


@dataclass(frozen=True, slots=True)
class FileGraph:
    """What a file computes.

    Attributes:
        ops: in the file's order; of control flow only the op itself.
        constants: element type to how many constant numbers have it.
        batch: first size of the first input, 1 where any size goes.
    """

    ops: tuple[FileOp, ...]
    constants: Mapping[str, int]
    batch: int


def read_onnx(path: Path) -> FileGraph:
    """Read an ONNX file at a batch of 1; external weights are not read.

    Args:
        path: of a file that has passed its checks.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    for given in model.graph.input:
        for size in given.type.tensor_type.shape.dim[:1]:
            if not size.dim_value:
                size.ClearField("dim_param")
                size.dim_value = 1
    del model.graph.value_info[:]  # they hold the open batch
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = {each.name: tuple(each.dims) for each in model.graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        sizes = value.type.tensor_type.shape.dim
        if all(size.dim_value for size in sizes):
            shapes.setdefault(value.name, tuple(size.dim_value for size in sizes))
    constants: Counter[str] = Counter()
    for constant in model.graph.initializer:
        kind = onnx.helper.tensor_dtype_to_np_dtype(constant.data_type)
        constants[kind.name] += prod(constant.dims)
    ops = tuple(
        FileOp(
            name=node.name or node.output[0],
            kind=node.op_type,
            inputs=tuple(shapes.get(name) for name in node.input),
            output=shapes.get(node.output[0]) if node.output else None,
        )
        for node in model.graph.node
    )
    return FileGraph(ops, constants, batch=1)


def read_tflite(path: Path) -> FileGraph:
    """Read the main graph of a TFLite file.

    Args:
        path: of a file that has passed its checks.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    types = _names(schema.TensorType)
    codes = _codes(model)
    graph = model.subgraphs[0]
    shapes: list[Shape | None] = [
        None if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        for tensor in graph.tensors
    ]
    constants: Counter[str] = Counter()
    for tensor, shape in zip(graph.tensors, shapes, strict=True):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            constants[types[tensor.type].lower()] += prod(shape or ())
    ops = []
    for operator in graph.operators or []:
        given = () if operator.inputs is None else operator.inputs
        made = -1 if operator.outputs is None or not len(operator.outputs) else operator.outputs[0]
        ops.append(
            FileOp(
                name=(graph.tensors[made].name or b"").decode(errors="replace"),
                kind=codes[operator.opcodeIndex],
                inputs=tuple(None if index < 0 else shapes[index] for index in given),
                output=None if made < 0 else shapes[made],
            )
        )
    first = shapes[graph.inputs[0]] if len(graph.inputs) else None
    return FileGraph(tuple(ops), constants, batch=(first or (1,))[0] or 1)


def tflite_kinds(path: Path) -> tuple[str, ...]:
    """Give the op types that a TFLite file needs, those inside of control flow too; `CUSTOM` is one not built in.

    Args:
        path: of a file that has passed its checks.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    return tuple(sorted(set(_codes(model))))


def _codes(model: Any) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    kinds = _names(schema.BuiltinOperator)
    return [
        kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        for code in model.operatorCodes or []
    ]


def _names(enumeration: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}
