"""The ops of an ONNX or TFLite file with the shapes and bytes of what they take and give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        takes: names of the tensors that it reads.
        gives: names of the tensors that it makes.
        bodies: graphs that it runs inside (a loop, a branch); None for one that was not read.
    """

    name: str
    kind: str
    inputs: tuple[Shape | None, ...]
    output: Shape | None
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    bodies: tuple[FileGraph | None, ...] = ()


@dataclass(frozen=True, slots=True)
class FileGraph:
    """What a file computes.

    Attributes:
        ops: in the file's order; of control flow only the op itself.
        constants: element type to how many constant numbers have it.
        batch: first size of the first input, 1 where any size goes.
        inputs: names of the tensors that are given to it, state that it keeps included.
        outputs: names of the tensors that it gives, likewise.
        weights: names of the tensors that are stored in it.
        tensor_bytes: of every other tensor whose size is known.
    """

    ops: tuple[FileOp, ...]
    constants: Mapping[str, int]
    batch: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: frozenset[str] = frozenset()
    tensor_bytes: Mapping[str, int] = field(default_factory=dict)


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
    weights = {each.name: tuple(each.dims) for each in model.graph.initializer}
    shapes: dict[str, Shape] = dict(weights)
    tensor_bytes: dict[str, int] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shape, kind = _onnx_shape(value), value.type.tensor_type.elem_type
        if shape is not None:
            shapes.setdefault(value.name, shape)
            if kind in _ONNX_BITS:
                tensor_bytes[value.name] = _bytes(shape, _ONNX_BITS[kind])
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
            takes=tuple(filter(None, node.input)),
            gives=tuple(filter(None, node.output)),
            bodies=tuple(None for each in node.attribute if each.HasField("g") or each.graphs),
        )
        for node in model.graph.node
    )
    given = tuple(value.name for value in model.graph.input if value.name not in weights)
    return FileGraph(
        ops,
        constants,
        batch=1,
        inputs=given,
        outputs=tuple(value.name for value in model.graph.output),
        weights=frozenset(weights),
        tensor_bytes=tensor_bytes,
    )


def _onnx_shape(value: Any) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(size.dim_value for size in tensor.shape.dim):
        return None
    return tuple(size.dim_value for size in tensor.shape.dim)


def read_tflite(path: Path) -> FileGraph:
    """Read the main graph of a TFLite file.

    Args:
        path: of a file that has passed its checks.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    types = _names(schema.TensorType)
    return _tflite_graph(model, 0, _codes(model), types, ())


def _tflite_graph(
    model: Any, index: int, codes: Sequence[str], types: Mapping[int, str], around: tuple[int, ...]
) -> FileGraph:
    """Read one graph; `around` are those that it runs inside."""
    graph, around = model.subgraphs[index], (*around, index)
    shapes: list[Shape | None] = [
        None if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        for tensor in graph.tensors
    ]
    constants: Counter[str] = Counter()
    weights, state = set(), []
    tensor_bytes: dict[str, int] = {}
    for number, (tensor, shape) in enumerate(zip(graph.tensors, shapes, strict=True)):
        data, kind = model.buffers[tensor.buffer].data, types[tensor.type]
        if data is not None and len(data):
            constants[kind.lower()] += prod(shape or ())
            weights.add(str(number))
        elif tensor.isVariable:
            state.append(str(number))
        if shape is not None and kind in _TFLITE_BITS and not _is_open(tensor):
            tensor_bytes[str(number)] = _bytes(shape, _TFLITE_BITS[kind])
    ops = []
    for operator in graph.operators or []:
        given, made = _present(operator.inputs), _present(operator.outputs)
        bodies = _bodies(operator)
        ops.append(
            FileOp(
                name=(graph.tensors[made[0]].name or b"").decode(errors="replace")
                if made
                else codes[operator.opcodeIndex],
                kind=codes[operator.opcodeIndex],
                inputs=tuple(
                    None if each < 0 else shapes[each]
                    for each in (() if operator.inputs is None else operator.inputs)
                ),
                output=shapes[made[0]] if made else None,
                takes=tuple(map(str, given)),
                gives=tuple(map(str, made)),
                bodies=tuple(
                    _tflite_graph(model, body, codes, types, around)
                    if body < len(model.subgraphs) and body not in around
                    else None
                    for body in bodies
                ),
            )
        )
    given = _present(graph.inputs)
    first = shapes[given[0]] if given else None
    return FileGraph(
        tuple(ops),
        constants,
        batch=(first or (1,))[0] or 1,
        inputs=(*map(str, given), *state),
        outputs=(*map(str, _present(graph.outputs)), *state),
        weights=frozenset(weights),
        tensor_bytes=tensor_bytes,
    )


def _present(indices: Any) -> list[int]:
    return [] if indices is None else [int(index) for index in indices if index >= 0]


def _is_open(tensor: Any) -> bool:
    """Tell whether a size goes open, that of the batch apart; the shape has a 1 there."""
    signature = tensor.shapeSignature
    return signature is not None and any(size < 0 for size in signature[1:])


def _bodies(operator: Any) -> list[int]:
    """Give the graphs that an op runs, of which each kind of control flow has its own options."""
    found: list[int] = []
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for name, value in vars(options).items() if options is not None else ():
            if "subgraph" in name.lower() and value is not None:
                found += map(int, value if hasattr(value, "__iter__") else (value,))
    return [index for index in found if index >= 0]


def _bytes(shape: Shape, bits: int) -> int:
    return -(-prod(shape) * bits // 8)


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


# Bits of an element; types that are not listed (strings, resources) have no size. ONNX's are numbered as in its
# TensorProto.DataType.
_ONNX_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20), 8),  # uint8, int8, bool, float8
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, float16, bfloat16
    **dict.fromkeys((1, 6, 12), 32),  # float32, int32, uint32
    **dict.fromkeys((7, 11, 13, 14), 64),  # int64, float64, uint64, complex64
    15: 128,
    **dict.fromkeys((21, 22, 23), 4),
}
_TFLITE_BITS = {
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("INT16", "UINT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("INT32", "UINT32", "FLOAT32"), 32),
    **dict.fromkeys(("INT64", "UINT64", "FLOAT64", "COMPLEX64"), 64),
    "COMPLEX128": 128,
    **dict.fromkeys(("INT4", "UINT4"), 4),
    "INT2": 2,
}
