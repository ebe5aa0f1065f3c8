"""What LiteRT and TFLite Micro execute: the ops of a `.tflite` file, by their arithmetic.

Travels with `litert.py` and `mcu.py`: standard library, numpy and ai-edge-litert's schema only, from Python 3.8 on.
"""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np

INTEGER_TYPES = {"INT4", "INT8", "UINT8", "INT16", "INT32", "INT64"}
BORDER_OPS = {"QUANTIZE", "DEQUANTIZE"}
HEAVY_OPS = {
    "BATCH_MATMUL",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "CONV_2D",
    "CONV_3D",
    "CONV_3D_TRANSPOSE",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "LSTM",
    "RNN",
    "SVDF",
    "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}


def count_ops(content: bytes) -> Dict[str, Any]:
    """Count the ops of a file's main graph, which LiteRT runs as they stand.

    An op counts as integer where every tensor of data that it takes and gives is a quantized integer: 4, 8 or 16 bits,
    or 32 or 64 for a bias. Integers without a scale (shapes, axes, indices) are not data. QUANTIZE and DEQUANTIZE do
    not count. An op with integer weights and float activations is not integer here, though LiteRT may quantize those
    on the fly.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    builtins = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    graph = model.Subgraphs(0)
    integer, heavy = 0, []
    for index in range(graph.OperatorsLength()):
        op = graph.Operators(index)
        code = model.OperatorCodes(op.OpcodeIndex())
        kind = builtins[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        indices = _numbers(op.InputsAsNumpy()) + _numbers(op.OutputsAsNumpy())
        tensors = [graph.Tensors(index) for index in indices if index >= 0]
        data = [types[t.Type()] for t in tensors if _is_data(t, types)]
        is_integer = kind not in BORDER_OPS and bool(data) and set(data) <= INTEGER_TYPES
        integer += is_integer
        if kind in HEAVY_OPS:
            output = graph.Tensors(int(op.Outputs(0))).Name() or b""
            heavy.append((output.decode(errors="replace"), kind, is_integer))
    return {"integer": integer, "total": graph.OperatorsLength(), "heavy": heavy}


def _is_data(tensor: Any, types: Dict[int, str]) -> bool:
    if types[tensor.Type()].startswith("FLOAT"):
        return True
    quantization = tensor.Quantization()
    return quantization is not None and quantization.ScaleLength() > 0


def _numbers(array: Any) -> List[int]:
    return [int(number) for number in np.atleast_1d(array)]
