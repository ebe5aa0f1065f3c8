"""Activations of 16 bits in a TFLite file: the converter writes them as int8 tensors, which are widened here.

The model is traced with each activation of 16 bits as one of 8 bits with the same scale around 0, so the converter
chooses operators and computes biases, in units of input scale times kernel scale, as for int8. What the operators of
16 bits need beside that is the TFLite specification's: int64 biases, the zero point 0, and 1/32768 as the scale of
what LOGISTIC, TANH and SOFTMAX give. An operator that LiteRT has no int16 kernel of computes in float between a
DEQUANTIZE and a QUANTIZE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import ConversionError
from slimedge.export.tflite_edit import add_buffer, codes_of, opcode_of

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
    "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3,
    "UNPACK": 4,
    "WHILE": 1,
}
UNIT_OUTPUT = ("LOGISTIC", "TANH", "SOFTMAX")
UNIT_SCALE = 1 / 32768
# (scale, zero point) that the converter gives to int8 outputs of those.
UNIT_GRIDS = {(1 / 256, -128), (1 / 128, 0)}
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
# The converter computes scales from the ends of ranges, in float32.
TOLERANCE = 1e-5


def widen(model: Any, schema: Any, scales: Sequence[float]) -> None:
    """Make the activations of a converted file int16.

    Args:
        model: `ModelT` of a flatbuffer, changed in place.
        schema: the module of its classes.
        scales: of all activations of 16 bits.

    Raises:
        ConversionError: the converter gave a tensor a grid that the model has not.
    """
    known = np.asarray(scales)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.type == schema.TensorType.INT8 and not _is_constant(model, tensor):
                _widen(tensor, known, schema)
    for graph in model.subgraphs:
        _drop_casts(model, graph, schema)
        _drop_requantizing(model, graph, schema)
        graph.operators = [
            made for operator in graph.operators for made in _with_int16(model, graph, operator, schema)
        ]


def _is_constant(model: Any, tensor: Any) -> bool:
    return model.buffers[tensor.buffer].data is not None


def _widen(tensor: Any, known: Any, schema: Any) -> None:
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    nearest = float(known[np.argmin(np.abs(known - scale))])
    if zero_point == 0 and np.isclose(scale, nearest, rtol=TOLERANCE, atol=0):
        exact = nearest
    elif (scale, zero_point) in UNIT_GRIDS:
        exact = UNIT_SCALE
    else:
        raise ConversionError(
            f"the TFLite converter rounds {(tensor.name or b'a tensor').decode()} to a grid of its own, which has no "
            "int16 form; export to ONNX, or leave that layer float with --exclude."
        )
    tensor.type = schema.TensorType.INT16
    tensor.quantization.scale, tensor.quantization.zeroPoint = [exact], [0]


def _kind(model: Any, operator: Any, schema: Any) -> str:
    code = codes_of(model)[operator.opcodeIndex]
    return next(name for name, value in vars(schema.BuiltinOperator).items() if value == code)


def _chains(model: Any, graph: Any, schema: Any, *kinds: str) -> Iterator[tuple[Any, Any]]:
    """Two operators, of these kinds, of which the second takes what the first one gives."""
    made = {int(operator.outputs[0]): operator for operator in graph.operators}
    for second in graph.operators:
        first = None if second.inputs is None or not len(second.inputs) else made.get(int(second.inputs[0]))
        if first is not None and (_kind(model, first, schema), _kind(model, second, schema)) == kinds:
            yield first, second


def _drop_casts(model: Any, graph: Any, schema: Any) -> None:
    """Remove the way over float64 on which `slimedge.fake_quant.kept_apart` sends float tensors."""
    for first, second in list(_chains(model, graph, schema, "CAST", "CAST")):
        through = graph.tensors[int(first.outputs[0])].type == schema.TensorType.FLOAT64
        if through and graph.tensors[int(first.inputs[0])].type == schema.TensorType.FLOAT32:
            _redirect(graph, int(second.outputs[0]), int(first.inputs[0]))
    _drop_unused(model, graph, schema, "CAST")


def _drop_requantizing(model: Any, graph: Any, schema: Any) -> None:
    """Requantize in one operator, and not at all where the grid stays."""
    for first, second in list(_chains(model, graph, schema, "DEQUANTIZE", "QUANTIZE")):
        second.inputs = [int(first.inputs[0])]
    _drop_unused(model, graph, schema, "DEQUANTIZE")
    for operator in graph.operators:
        if _kind(model, operator, schema) == "QUANTIZE":
            source, target = (graph.tensors[int(place[0])] for place in (operator.inputs, operator.outputs))
            if source.type == target.type and source.quantization.scale == target.quantization.scale:
                _redirect(graph, int(operator.outputs[0]), int(operator.inputs[0]))
    _drop_unused(model, graph, schema, "QUANTIZE")


def _redirect(graph: Any, old: int, new: int) -> None:
    for operator in graph.operators:
        if operator.inputs is not None:
            operator.inputs = [new if int(index) == old else int(index) for index in operator.inputs]
    graph.outputs = [new if int(index) == old else int(index) for index in graph.outputs]


def _drop_unused(model: Any, graph: Any, schema: Any, kind: str) -> None:
    """Remove the operators of one kind whose output nobody takes, from the last to the first."""
    for operator in reversed(list(graph.operators)):
        used = {int(index) for other in graph.operators for index in ([] if other.inputs is None else other.inputs)}
        used |= {int(index) for index in graph.outputs}
        if _kind(model, operator, schema) == kind and int(operator.outputs[0]) not in used:
            graph.operators.remove(operator)


def _with_int16(model: Any, graph: Any, operator: Any, schema: Any) -> list[Any]:
    """An operator as it is with int16 tensors: with what it needs beside them, or in float."""
    types = schema.TensorType
    inputs = [] if operator.inputs is None else [int(index) for index in operator.inputs]
    near = [graph.tensors[index] for index in (*inputs, *map(int, operator.outputs)) if index >= 0]
    if not any(tensor.type == types.INT16 for tensor in near):
        return [operator]
    kind = _kind(model, operator, schema)
    if kind in KERNELS and graph.tensors[int(operator.outputs[0])].type != types.INT16:
        return [operator]  # a float one, whose input is dequantized later
    kernel, bias = KERNELS.get(kind, (-1, -1))
    constants = [
        index
        for place, index in enumerate(inputs)
        if place != kernel and index >= 0 and graph.tensors[index].type == types.INT8
    ]
    if kind not in VERSIONS or constants:
        return _in_float(model, graph, operator, schema)
    if kind in UNIT_OUTPUT and graph.tensors[int(operator.outputs[0])].type == types.INT16:
        graph.tensors[int(operator.outputs[0])].quantization.scale = [UNIT_SCALE]
    if kind in {"ADD", "SUB"}:
        operator.builtinOptions.potScaleInt16 = False
    version = VERSIONS[kind]
    if 0 <= bias < len(inputs) and inputs[bias] >= 0:
        kernel_values, bias_values = (_constant(model, graph.tensors[inputs[place]]) for place in (kernel, bias))
        if kind in NARROW_SUMS and largest_sum(kernel_values, bias_values) <= LARGEST_INT32:
            version = NARROW_SUMS[kind]
            operator.builtinOptions.quantizedBiasType = types.INT32
        else:
            # Of its own: another operator may add up the same bias in 32 bits.
            inputs[bias] = _copy(graph, inputs[bias], types.INT64)
            graph.tensors[inputs[bias]].buffer = add_buffer(model, schema, bias_values.astype(np.int64))
            operator.inputs = inputs
    operator.opcodeIndex = opcode_of(model, getattr(schema.BuiltinOperator, kind), version, schema)
    return [operator]


def largest_sum(kernel: NDArray[np.int8], bias: NDArray[np.int32]) -> int:
    """Give the largest absolute sum that an operator with inputs of 16 bits can meet on its way, and after it.

    Args:
        kernel: output channels first.
        bias: of each channel.
    """
    weights = np.abs(kernel.astype(np.int64)).reshape(len(kernel), -1).sum(axis=1)
    return int(np.max(weights * 2**15 + np.abs(bias.astype(np.int64))))


def _constant(model: Any, tensor: Any) -> NDArray[Any]:
    dtype = {int(size): kind for size, kind in ((1, np.int8), (4, np.int32))}
    data = bytes(bytearray(model.buffers[tensor.buffer].data))
    return np.frombuffer(data, dtype[len(data) // int(np.prod(tensor.shape))]).reshape(tensor.shape)


def _copy(graph: Any, index: int, kind: int) -> int:
    """Add a tensor without a value, like another one but for its type."""
    made = copy(graph.tensors[index])
    made.type, made.buffer = kind, 0
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _in_float(model: Any, graph: Any, operator: Any, schema: Any) -> list[Any]:
    """An operator between a DEQUANTIZE for each input and a QUANTIZE for each output."""
    types, kinds = schema.TensorType, schema.BuiltinOperator
    before, after = [], []

    def as_float(index: int) -> int:
        made = _copy(graph, index, types.FLOAT32)
        graph.tensors[made].quantization = None
        return made

    def between(kind: int, source: int, target: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex = opcode_of(model, kind, VERSIONS["DEQUANTIZE" if kind == kinds.DEQUANTIZE else "QUANTIZE"], schema)
        made.inputs, made.outputs = [source], [target]
        return made

    integers = {types.INT8, types.INT16}
    inputs, outputs = list(map(int, operator.inputs)), list(map(int, operator.outputs))
    for place, index in enumerate(inputs):
        if index >= 0 and graph.tensors[index].type in integers:
            inputs[place] = as_float(index)
            before.append(between(kinds.DEQUANTIZE, index, inputs[place]))
    for place, index in enumerate(outputs):
        if graph.tensors[index].type in integers:
            outputs[place] = as_float(index)
            after.append(between(kinds.QUANTIZE, outputs[place], index))
    operator.inputs, operator.outputs = inputs, outputs
    return [*before, operator, *after]
