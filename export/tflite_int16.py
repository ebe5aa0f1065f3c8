"""What operators with int16 activations need beside the converter's work: int64 biases, exact output scales.

The TFLite specification's 16x8 operators add up in 64 bits; the converter writes the biases of fake-quants as int32,
which the interpreter would read as if they were int64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slimedge.export.tflite_edit import codes_of

UNIT_OUTPUT = ("LOGISTIC", "TANH", "SOFTMAX")
# The bias is the third input of each of these; TRANSPOSE_CONV takes its output's shape first.
BIAS_INPUT = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}


def widen_biases(model: Any, schema: Any) -> None:
    """Make the biases of operators with int16 inputs int64.

    Args:
        model: `ModelT` of a flatbuffer, changed in place.
        schema: the module of its classes.
    """
    types, kinds = schema.TensorType, schema.BuiltinOperator
    places = {getattr(kinds, name): place for name, place in BIAS_INPUT.items()}
    codes = codes_of(model)
    for graph in model.subgraphs:
        for operator in graph.operators:
            place = places.get(codes[operator.opcodeIndex])
            if place is None or len(operator.inputs) <= place or int(operator.inputs[place]) < 0:
                continue
            bias, output = graph.tensors[operator.inputs[place]], graph.tensors[operator.outputs[0]]
            if output.type != types.INT16 or bias.type != types.INT32:
                continue
            narrow = np.frombuffer(bytes(bytearray(model.buffers[bias.buffer].data)), np.int32)
            buffer = schema.BufferT()  # of its own: another tensor may have the same bytes
            buffer.data = narrow.astype(np.int64).view(np.uint8)
            model.buffers.append(buffer)
            bias.type, bias.buffer = types.INT64, len(model.buffers) - 1
    _drop_unused(model)


def unit_scales(model: Any, schema: Any) -> None:
    """Give the int16 outputs of LOGISTIC, TANH and SOFTMAX the scale 1/32768 to the last bit, as LiteRT demands.

    The converter computes it from the ends of a range in float32.

    Args:
        model: `ModelT` of a flatbuffer, changed in place.
        schema: the module of its classes.
    """
    kinds = {getattr(schema.BuiltinOperator, name) for name in UNIT_OUTPUT}
    codes = codes_of(model)
    for graph in model.subgraphs:
        for operator in graph.operators:
            output = graph.tensors[operator.outputs[0]]
            if codes[operator.opcodeIndex] in kinds and output.type == schema.TensorType.INT16:
                output.quantization.scale = [1 / 32768]


def _drop_unused(model: Any) -> None:
    """Empty the buffers that no tensor has any more."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
