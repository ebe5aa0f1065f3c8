"""Multiply-accumulates of an ONNX or TFLite file for one example, from the shapes in the file; see `macs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from slimedge.benchmarks.file_graph import FileGraph, Shape
from slimedge.macs import Macs

Formula = Callable[[Sequence[Shape | None], Shape | None], int | None]


def count(graph: FileGraph) -> Macs:
    """Count the multiply-accumulates of every op, for one example of the file's batch.

    Args:
        graph: of either format, whose op types differ.

    Returns:
        The counts by op; ops that multiply without a formula, or whose shapes are not known, are listed.
    """
    by_layer: dict[str, int] = {}
    uncounted: dict[str, None] = {}
    for op in graph.ops:
        if op.kind not in _FORMULAS:
            continue
        macs = _FORMULAS[op.kind](op.inputs, op.output)
        if macs is None:
            uncounted[op.name] = None
        else:
            by_layer[op.name] = by_layer.get(op.name, 0) + macs // graph.batch
    return Macs(by_layer, tuple(uncounted))


def _known(formula: Callable[[Sequence[Shape], Shape], int]) -> Formula:
    """Give None where the shape of the output or of one of the first two inputs is not known."""

    def counted(inputs: Sequence[Shape | None], output: Shape | None) -> int | None:
        known = [shape for shape in inputs[:2] if shape is not None]
        return None if output is None or len(known) < 2 else formula(known, output)

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
    if len(inputs) < 3 or inputs[0] is None or inputs[1] is None or inputs[2] is None:
        return None
    steps, batch = inputs[0][:2]
    return steps * batch * (prod(inputs[1]) + prod(inputs[2]))


def _tflite_convolution(inputs: Sequence[Shape], output: Shape) -> int:
    return prod(output[:-1]) * prod(inputs[1])  # kernel (out, *size, in)


def _tflite_transposed(inputs: Sequence[Shape | None], _output: Shape | None) -> int | None:
    if len(inputs) < 3 or inputs[1] is None or inputs[2] is None:
        return None
    return prod(inputs[2][:-1]) * prod(inputs[1])


def _fully_connected(inputs: Sequence[Shape], output: Shape) -> int:
    return prod(output) * inputs[1][-1]


def _tflite_recurrent(inputs: Sequence[Shape | None], _output: Shape | None) -> int | None:
    if not inputs or inputs[0] is None:
        return None
    matrices = [shape for shape in inputs[1:] if shape is not None and len(shape) == 2 and shape[0] > 1]
    return prod(inputs[0][:-1]) * sum(prod(shape) for shape in matrices)


# ONNX's op types are CamelCase and TFLite's upper case, so that one table holds both.
_FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv"), _known(_onnx_convolution)),
    "QLinearConv": _weights_at(3, _onnx_convolution),
    "ConvTranspose": _known(_onnx_transposed),
    "Gemm": _known(_gemm),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _known(_matmul)),
    "QLinearMatMul": _weights_at(3, _matmul),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _onnx_recurrent),
    **dict.fromkeys(("Einsum", "Attention", "MultiHeadAttention", "Loop", "Scan", "If"), _not_counted),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D"), _known(_tflite_convolution)),
    "TRANSPOSE_CONV": _tflite_transposed,
    "FULLY_CONNECTED": _known(_fully_connected),
    "BATCH_MATMUL": _known(_matmul),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _tflite_recurrent,
    **dict.fromkeys(
        ("WHILE", "IF", "CALL_ONCE", "CUSTOM", "CONV_3D_TRANSPOSE", "UNIDIRECTIONAL_SEQUENCE_RNN"),
        _not_counted,
    ),
}
