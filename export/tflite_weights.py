"""Weight-only and dynamic int8 in a TFLite file."""

from __future__ import annotations

from typing import Any

import numpy as np

from slimedge.errors import ConversionError
from slimedge.export.tflite_edit import opcode_of
from slimedge.export.weight_grid import grid_of


def store_integers(model: Any, schema: Any) -> None:
    """Keep each constant that lies on an int8 grid as int8 with a Dequantize in front of those who take it.

    The interpreter dequantizes a constant once, so it computes as fast as with floats.

    Args:
        model: `ModelT` of a flatbuffer, changed in place; bodies of loops included.
        schema: the module of its classes.
    """
    kinds, types = schema.BuiltinOperator, schema.TensorType
    grids: dict[int, Any] = {}
    for graph in model.subgraphs:
        made = []
        for index, tensor in enumerate(list(graph.tensors)):
            buffer = model.buffers[tensor.buffer].data
            if (
                tensor.type != types.FLOAT32
                or buffer is None
                or tensor.shape is None
                or len(tensor.shape) < 2
            ):
                continue
            takers = [operator for operator in graph.operators if index in _inputs(operator)]
            if not takers or index in graph.outputs:
                continue
            key = tensor.buffer
            if key not in grids:
                array = np.frombuffer(bytes(bytearray(buffer)), np.float32).reshape(tensor.shape)
                found = grid_of(array)
                grids[key] = None if found is None else (found, _add_buffer(model, schema, found.values))
            if grids[key] is None:
                continue
            found, place = grids[key]
            integer = schema.TensorT()
            integer.name, integer.shape = tensor.name, tensor.shape
            integer.type, integer.buffer = types.INT8, place
            integer.quantization = schema.QuantizationParametersT()
            integer.quantization.scale = [float(number) for number in found.scale]
            integer.quantization.zeroPoint = [0] * len(found.scale)
            integer.quantization.quantizedDimension = found.axis
            graph.tensors.append(integer)
            tensor.buffer = 0
            operator = schema.OperatorT()
            operator.opcodeIndex = opcode_of(model, kinds.DEQUANTIZE, 2, schema)
            operator.inputs, operator.outputs = [len(graph.tensors) - 1], [index]
            made.append(operator)
        graph.operators = [*made, *graph.operators]
    for key, found in grids.items():
        if found is not None:
            model.buffers[key].data = None


def _inputs(operator: Any) -> list[int]:
    return [] if operator.inputs is None else [int(index) for index in operator.inputs]


def _add_buffer(model: Any, schema: Any, values: np.ndarray[Any, Any]) -> int:
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def round_dynamically(content: bytes) -> bytes:
    """Let litert-quantizer turn the products with weights into int8 ones, with activations rounded as they come.

    Args:
        content: a float TFLite file.

    Raises:
        ConversionError: it cannot quantize the model.
    """
    from litert_quantizer import quantizer, recipe

    try:
        worker = quantizer.Quantizer(bytearray(content))
        worker.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        return bytes(worker.quantize().quantized_model)
    except Exception as error:  # it raises whatever its algorithms raise
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise ConversionError(
            f"litert-quantizer could not quantize the model: {reason}; use the scheme weight_only_wi8_afp32."
        ) from error
