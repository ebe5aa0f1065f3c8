"""Operators of a TFLite file that take or give int16 tensors.

What they need is the TFLite specification's: biases of int64, or of int32 where the sums fit; the zero point 0; and
1/32768 as the scale of what LOGISTIC, TANH and SOFTMAX give. An operator that LiteRT has no int16 kernel of computes in
float between a DEQUANTIZE and a QUANTIZE.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.export.tflite_edit import add_buffer, grid_of, is_constant, kind_of, opcode_of

# Operators with an int16 kernel, and the first version that has it (TensorFlow's tools/versioning/op_version.cc).
VERSIONS = {
    "ADD": 3,
    "AVERAGE_POOL_2D": 3,
    "CONCATENATION": 3,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 5,
    "DEQUANTIZE": 3,
    "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 7,
    "LEAKY_RELU": 2,
    "LOGISTIC": 3,
    "MAXIMUM": 4,
    "MAX_POOL_2D": 3,
    "MEAN": 3,
    "MINIMUM": 4,
    "MUL": 4,
    "PACK": 3,
    "PAD": 3,
    "QUANTIZE": 2,
    "REDUCE_MAX": 3,
    "RELU": 3,
    "RELU6": 3,
    "RESHAPE": 1,
    "SHAPE": 1,
    "SLICE": 4,
    "SOFTMAX": 3,
    "SPLIT": 4,
    "SQUEEZE": 1,
    "STRIDED_SLICE": 1,
    "SUB": 5,
    "TANH": 3,
    "TILE": 3,
    "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3,
    "UNPACK": 4,
    "WHILE": 1,
}
# Of these, what is taken and what is given may have different types.
BETWEEN_WIDTHS = frozenset({"DEQUANTIZE", "QUANTIZE", "SHAPE", "WHILE"})
UNIT_OUTPUT = ("LOGISTIC", "TANH", "SOFTMAX")
UNIT_SCALE = 1 / 32768
# Of those that can add up in 32 bits as well, which LiteRT does several times as fast, the version that does.
NARROW_SUMS = {"CONV_2D": 8, "FULLY_CONNECTED": 11, "TRANSPOSE_CONV": 5}
LARGEST_INT32 = 2**31 - 1
# Where kernel and bias are among the inputs.
KERNELS = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
}


def with_int16(model: Any, graph: Any, operator: Any, schema: Any) -> list[Any]:
    """Give an operator of a graph, with what it needs where some of its tensors are int16.

    Args:
        model: `ModelT` of a flatbuffer, to which codes and buffers are added.
        graph: one of its graphs, to which tensors are added.
        operator: of the graph; changed in place.
        schema: the module of its classes.

    Returns:
        Operators in order, to stand in its place.
    """
    types = schema.TensorType
    inputs = [] if operator.inputs is None else [int(index) for index in operator.inputs]
    near = [graph.tensors[index] for index in (*inputs, *map(int, operator.outputs)) if index >= 0]
    if not any(tensor.type == types.INT16 for tensor in near):
        return [operator]
    kind = kind_of(model, operator, schema)
    if kind in KERNELS and graph.tensors[int(operator.outputs[0])].type == types.FLOAT32:
        return [operator]  # a float one, whose input is dequantized later
    kernel, bias = KERNELS.get(kind, (-1, -1))
    narrow = [
        place
        for place, index in enumerate(inputs)
        if place != kernel and index >= 0 and graph.tensors[index].type == types.INT8
    ]
    if kind not in VERSIONS or any(is_constant(model, graph.tensors[inputs[place]]) for place in narrow):
        return _in_float(model, graph, operator, schema)
    before: list[Any] = []
    after: list[Any] = []
    if kind not in BETWEEN_WIDTHS:
        before, after = _widen_around(model, graph, operator, schema, narrow)
        inputs = [int(index) for index in operator.inputs]
    if kind in UNIT_OUTPUT and graph.tensors[int(operator.outputs[0])].type == types.INT16:
        graph.tensors[int(operator.outputs[0])].quantization.scale = [UNIT_SCALE]
    if kind in {"ADD", "SUB"}:
        operator.builtinOptions.potScaleInt16 = False
    version = VERSIONS[kind]
    if kind in KERNELS and _fits_32_bits(model, graph, inputs, kind):
        version = NARROW_SUMS[kind]
        operator.builtinOptions.quantizedBiasType = types.INT32
    elif 0 <= bias < len(inputs) and inputs[bias] >= 0:
        # Of its own: another operator may add up the same bias in 32 bits.
        numbers = _constant(model, graph.tensors[inputs[bias]])
        inputs[bias] = _copy(graph, inputs[bias], types.INT64)
        graph.tensors[inputs[bias]].buffer = add_buffer(model, schema, numbers.astype(np.int64))
        operator.inputs = inputs
    operator.opcodeIndex = opcode_of(model, getattr(schema.BuiltinOperator, kind), version, schema)
    return [*before, operator, *after]


def _fits_32_bits(model: Any, graph: Any, inputs: Sequence[int], kind: str) -> bool:
    kernel, bias = KERNELS[kind]
    values = _constant(model, graph.tensors[inputs[kernel]])
    has_bias = bias < len(inputs) and inputs[bias] >= 0
    added = _constant(model, graph.tensors[inputs[bias]]) if has_bias else np.zeros(len(values), np.int32)
    return kind in NARROW_SUMS and largest_sum(values, added) <= LARGEST_INT32


def _widen_around(
    model: Any, graph: Any, operator: Any, schema: Any, narrow: Sequence[int]
) -> tuple[list[Any], list[Any]]:
    """The QUANTIZE before and after an operator that widen its inputs of 8 bits, and narrow its outputs."""
    types = schema.TensorType
    inputs, outputs = [int(index) for index in operator.inputs], [int(index) for index in operator.outputs]
    before, after = [], []
    for place in narrow:
        scale, _ = grid_of(graph.tensors[inputs[place]])
        source, inputs[place] = inputs[place], _copy(graph, inputs[place], types.INT16, scale)
        before.append(_conversion(model, schema, "QUANTIZE", source, inputs[place]))
    for place, target in enumerate(outputs):
        if graph.tensors[target].type == types.INT8:
            unit = kind_of(model, operator, schema) in UNIT_OUTPUT
            # Wide enough for a range of 8 bits that lies on one side of 0.
            scale = UNIT_SCALE if unit else grid_of(graph.tensors[target])[0] / 128
            outputs[place] = _copy(graph, target, types.INT16, scale)
            after.append(_conversion(model, schema, "QUANTIZE", outputs[place], target))
    operator.inputs, operator.outputs = inputs, outputs
    return before, after


def _conversion(model: Any, schema: Any, kind: str, source: int, target: int) -> Any:
    """A QUANTIZE or DEQUANTIZE from one tensor to another."""
    made = schema.OperatorT()
    made.opcodeIndex = opcode_of(model, getattr(schema.BuiltinOperator, kind), VERSIONS[kind], schema)
    made.inputs, made.outputs = [source], [target]
    return made


def largest_sum(kernel: NDArray[np.int8], bias: NDArray[np.int32]) -> int:
    """Give the largest absolute sum that an operator with inputs of 16 bits can meet on its way, and after it.

    Args:
        kernel: output channels first.
        bias: of each channel.
    """
    weights = np.abs(kernel.astype(np.int64)).reshape(len(kernel), -1).sum(axis=1)
    return int(np.max(weights * 2**15 + np.abs(bias.astype(np.int64))))


def _constant(model: Any, tensor: Any) -> NDArray[Any]:
    """The int8 or int32 numbers of a kernel or bias."""
    data = bytes(bytearray(model.buffers[tensor.buffer].data))
    size = len(data) // int(np.prod(tensor.shape))
    return np.frombuffer(data, f"int{8 * size}").reshape(tensor.shape)


def _copy(graph: Any, index: int, kind: int, scale: float | None = None) -> int:
    """Add a tensor without a value, like another one but for its type and grid, which lies around 0."""
    made = copy(graph.tensors[index])
    made.type, made.buffer = kind, 0
    if scale is not None:
        made.quantization = copy(made.quantization)
        made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _as_float(graph: Any, index: int, schema: Any) -> int:
    made = _copy(graph, index, schema.TensorType.FLOAT32)
    graph.tensors[made].quantization = None
    return made


def _in_float(model: Any, graph: Any, operator: Any, schema: Any) -> list[Any]:
    """An operator between a DEQUANTIZE for each input and a QUANTIZE for each output."""
    types = schema.TensorType
    integers = {types.INT8, types.INT16}
    before, after = [], []
    inputs, outputs = list(map(int, operator.inputs)), list(map(int, operator.outputs))
    for place, index in enumerate(inputs):
        if index >= 0 and graph.tensors[index].type in integers:
            inputs[place] = _as_float(graph, index, schema)
            before.append(_conversion(model, schema, "DEQUANTIZE", index, inputs[place]))
    for place, index in enumerate(outputs):
        if graph.tensors[index].type in integers:
            outputs[place] = _as_float(graph, index, schema)
            after.append(_conversion(model, schema, "QUANTIZE", outputs[place], index))
    operator.inputs, operator.outputs = inputs, outputs
    return [*before, operator, *after]
