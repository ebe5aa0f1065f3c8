"""Multiply-accumulates of an ONNX or TFLite file for one example, from the shapes in the file; see `macs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from slimedge.benchmarks.macs import Macs

Shape = tuple[int, ...]
Formula = Callable[[Sequence[Shape | None], Shape | None], int | None]


def count_onnx(path: Path) -> Macs:
    """Count the multiply-accumulates of an ONNX file at a batch of 1.

    Args:
        path: of the file; external weights are not read.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    for given in model.graph.input:
        for size in given.type.tensor_type.shape.dim[:1]:
            if not size.dim_value:
                size.ClearField("dim_param")
                size.dim_value = 1
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes: dict[str, Shape] = {each.name: tuple(each.dims) for each in model.graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        sizes = value.type.tensor_type.shape.dim
        if all(size.dim_value for size in sizes):
            shapes.setdefault(value.name, tuple(size.dim_value for size in sizes))
    calls = (
        (
            node.name or node.output[0],
            node.op_type,
            [shapes.get(name) if name else None for name in node.input],
            shapes.get(node.output[0]) if node.output else None,
        )
        for node in model.graph.node
    )
    return _sum(calls, _ONNX)


def count_tflite(path: Path) -> Macs:
    """Count the multiply-accumulates of a TFLite file for one example of its batch.

    Args:
        path: of a file that has passed its checks.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    graph = model.subgraphs[0]
    shapes = [None if tensor.shape is None else tuple(int(s) for s in tensor.shape) for tensor in graph.tensors]

    def kind(operator: Any) -> str:
        code = model.operatorCodes[operator.opcodeIndex]
        return names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")

    def shape(index: int) -> Shape | None:
        return None if index < 0 else shapes[index]

    calls = (
        (
            (graph.tensors[operator.outputs[0]].name or b"").decode(errors="replace"),
            kind(operator),
            [shape(index) for index in operator.inputs],
            shape(operator.outputs[0]),
        )
        for operator in graph.operators or []
        if operator.inputs is not None and operator.outputs is not None and len(operator.outputs)
    )
    found = _sum(calls, _TFLITE)
    batch = shape(graph.inputs[0]) if len(graph.inputs) else None
    return Macs({name: macs // ((batch or (1,))[0] or 1) for name, macs in found.by_layer.items()}, found.uncounted)


def _sum(
    calls: Any, formulas: Mapping[str, Formula]
) -> Macs:
    by_layer: dict[str, int] = {}
    uncounted: dict[str, None] = {}
    for name, kind, inputs, output in calls:
        if kind not in formulas:
            continue
        macs = formulas[kind](inputs, output)
        if macs is None:
            uncounted[name] = None
        else:
            by_layer[name] = by_layer.get(name, 0) + macs
    return Macs(by_layer, tuple(uncounted))


def _known(formula: Callable[[Sequence[Shape], Shape], int]) -> Formula:
    """Give None where the shape of the output or of one of the first two inputs is not known."""

    def counted(inputs: Sequence[Shape | None], output: Shape | None) -> int | None:
        known = [shape for shape in inputs[:2] if shape is not None]
        return None if output is None or len(known) < 2 else formula(known, output)  # noqa: PLR2004 - data and weights

    return counted


def _not_counted(_inputs: Sequence[Shape | None], _output: Shape | None) -> None:
    return None


def _weights_at(position: int, formula: Callable[[Sequence[Shape], Shape], int]) -> Formula:
    """Take the weights from another position than the second."""
    return lambda inputs, output: _known(formula)([inputs[0], *inputs[position : position + 1]], output)


def _onnx_convolution(inputs: Sequence[Shape], output: Shape) -> int:
    # Kernel (out, in / groups, *size): each of its numbers meets every place of its output channel once.
    return output[0] * prod(output[2:]) * prod(inputs[1])


def _onnx_transposed(inputs: Sequence[Shape], _output: Shape) -> int:
    return inputs[0][0] * prod(inputs[0][2:]) * prod(inputs[1])


def _gemm(inputs: Sequence[Shape], output: Shape) -> int:
    return output[0] * prod(inputs[1])


def _matmul(inputs: Sequence[Shape], output: Shape) -> int:
    return prod(output) * inputs[0][-1]


def _onnx_recurrent(inputs: Sequence[Shape | None], _output: Shape | None) -> int | None:
    if len(inputs) < 3 or inputs[0] is None or inputs[1] is None or inputs[2] is None:  # noqa: PLR2004 - X, W, R
        return None
    steps, batch = inputs[0][:2]
    return steps * batch * (prod(inputs[1]) + prod(inputs[2]))


def _tflite_convolution(inputs: Sequence[Shape], output: Shape) -> int:
    return prod(output[:-1]) * prod(inputs[1])  # kernel (out, *size, in)


def _tflite_transposed(inputs: Sequence[Shape | None], _output: Shape | None) -> int | None:
    if len(inputs) < 3 or inputs[1] is None or inputs[2] is None:  # noqa: PLR2004 - output shape, kernel, data
        return None
    return prod(inputs[2][:-1]) * prod(inputs[1])


def _fully_connected(inputs: Sequence[Shape], output: Shape) -> int:
    return prod(output) * inputs[1][-1]


def _tflite_recurrent(inputs: Sequence[Shape | None], _output: Shape | None) -> int | None:
    if not inputs or inputs[0] is None:
        return None
    matrices = [shape for shape in inputs[1:] if shape is not None and len(shape) == 2 and shape[0] > 1]  # noqa: PLR2004
    return prod(inputs[0][:-1]) * sum(prod(shape) for shape in matrices)


_ONNX: dict[str, Formula] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv"), _known(_onnx_convolution)),
    "QLinearConv": _weights_at(3, _onnx_convolution),
    "ConvTranspose": _known(_onnx_transposed),
    "Gemm": _known(_gemm),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _known(_matmul)),
    "QLinearMatMul": _weights_at(3, _matmul),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _onnx_recurrent),
    **dict.fromkeys(("Einsum", "Attention", "MultiHeadAttention", "Loop", "Scan", "If"), _not_counted),
}
_TFLITE: dict[str, Formula] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D"), _known(_tflite_convolution)),
    "TRANSPOSE_CONV": _tflite_transposed,
    "FULLY_CONNECTED": _known(_fully_connected),
    "BATCH_MATMUL": _known(_matmul),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _tflite_recurrent,
    **dict.fromkeys(("WHILE", "IF", "CALL_ONCE", "CUSTOM", "CONV_3D_TRANSPOSE", "UNIDIRECTIONAL_SEQUENCE_RNN"), _not_counted),
}
