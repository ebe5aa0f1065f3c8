"""Weight-only and dynamic schemes in a TFLite file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import ConversionError
from slimedge.export.tflite_edit import codes_of, opcode_of
from slimedge.export.weight_grid import Grid, Rounding, is_weight

# The first version of Dequantize that takes a type.
DEQUANTIZE_VERSIONS = {"INT8": 2, "FLOAT16": 3, "INT4": 6}
# LiteRT's fast kernels (XNNPACK) take their weights out of a Dequantize of INT8 or FLOAT16, and leave one of INT4 to
# the plain kernels: as fast where rows are multiplied with a matrix, several times slower for a convolution.
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A weight in fewer bits: shape, type and buffer of its tensor, and the grid that it is on."""

    shape: tuple[int, ...]
    kind: str
    buffer: int
    found: Grid | NDArray[np.float16]


def store_weights(model: Any, schema: Any, rounding: Rounding) -> dict[str, int]:
    """Keep each constant that was rounded in fewer bits, with a Dequantize in front of those who take it.

    The interpreter dequantizes a constant once, so it computes as fast as with floats. A matrix in blocks lies in the
    file as a row a block, and is reshaped at each run.

    Args:
        model: `ModelT` of a flatbuffer, changed in place; bodies of loops included.
        schema: the module of its classes.
        rounding: of its weights; 4-bit ones of convolutions are kept in 8 bits.

    Returns:
        Element type to the number of weights that the file holds in it.
    """
    convolutions = {getattr(schema.BuiltinOperator, kind) for kind in CONVOLUTIONS}
    codes = codes_of(model)
    kept: dict[tuple[int, bool], _Kept | None] = {}
    stored: Counter[str] = Counter()
    for graph in model.subgraphs:
        made: list[Any] = []
        for index, tensor in enumerate(list(graph.tensors)):
            array = _constant(model, schema, tensor)
            takers = [] if array is None else [op for op in graph.operators if index in _inputs(op)]
            if array is None or not takers or index in graph.outputs:
                continue
            key = tensor.buffer, any(codes[taker.opcodeIndex] in convolutions for taker in takers)
            if key not in kept:
                kept[key] = _keep(model, schema, array, rounding, convolved=key[1])
                form = kept[key]
                stored["float32" if form is None else form.kind.lower()] += array.size
            form = kept[key]
            if form is not None:
                tensor.buffer = 0
                made += _dequantized(model, schema, graph, index, form)
        graph.operators = [*made, *graph.operators]
    for (buffer, _), form in kept.items():
        if form is not None and not any(t.buffer == buffer for g in model.subgraphs for t in g.tensors):
            model.buffers[buffer].data = None
    return dict(stored)


def _constant(model: Any, schema: Any, tensor: Any) -> NDArray[np.float32] | None:
    """The numbers of a constant that is large enough to be kept in fewer bits."""
    buffer = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or buffer is None or tensor.shape is None:
        return None
    shape = tuple(int(size) for size in tensor.shape)
    array = np.frombuffer(bytes(bytearray(buffer)), np.float32)
    return array.reshape(shape) if is_weight(array.reshape(shape)) else None


def _keep(
    model: Any, schema: Any, array: NDArray[np.float32], rounding: Rounding, *, convolved: bool
) -> _Kept | None:
    found = rounding.form_of(array)
    if found is None:
        return None
    if not isinstance(found, Grid):
        return _Kept(found.shape, "FLOAT16", _add_buffer(model, schema, found), found)
    values = found.values
    if found.block is not None:
        values = np.moveaxis(values, found.axis, -1).reshape(-1, found.block)
    kind = "INT4" if rounding.bits == 4 and not convolved else "INT8"
    numbers = packed(values) if kind == "INT4" else values
    return _Kept(values.shape, kind, _add_buffer(model, schema, numbers), found)


def packed(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Give 4-bit integers two a byte, the first in the lower half, as TFLite keeps them.

    Args:
        values: -8…7, any shape.

    Example:
        >>> packed(np.int8([1, -1, 7])).tolist()
        [241, 7]
    """
    halves = (np.append(values, np.zeros(values.size % 2, np.int8)).view(np.uint8) & 15).reshape(-1, 2)
    return np.asarray(halves[:, 0] | (halves[:, 1] << 4), np.uint8)


def _dequantized(model: Any, schema: Any, graph: Any, index: int, kept: _Kept) -> list[Any]:
    """Operators that make tensor `index` of its small form, which becomes a tensor more."""
    target, found = graph.tensors[index], kept.found
    shape = tuple(int(size) for size in target.shape)
    source = _add_tensor(schema, graph, target.name, kept.shape, kept.kind, kept.buffer)
    steps: list[tuple[str, int, tuple[int, ...], tuple[int, ...]]] = [
        ("DEQUANTIZE", DEQUANTIZE_VERSIONS[kept.kind], kept.shape, ())
    ]
    if isinstance(found, Grid):
        graph.tensors[source].quantization = _quantization(schema, found)
        axes = [axis for axis in range(len(shape)) if axis != found.axis]
        turned = tuple(shape[axis] for axis in (*axes, found.axis))
        if found.block is not None and turned != kept.shape:
            steps.append(("RESHAPE", 1, turned, turned))
        if found.block is not None and found.axis != len(shape) - 1:
            places = (*axes, found.axis)
            steps.append(("TRANSPOSE", 1, shape, tuple(places.index(axis) for axis in range(len(shape)))))
    made = []
    for number, (kind, version, size, argument) in enumerate(steps):
        last = number == len(steps) - 1
        out = index if last else _add_tensor(schema, graph, target.name, size, "FLOAT32", 0)
        operator = schema.OperatorT()
        operator.opcodeIndex = opcode_of(model, getattr(schema.BuiltinOperator, kind), version, schema)
        operator.inputs, operator.outputs = [source], [out]
        if argument:
            numbers = _add_buffer(model, schema, np.array(argument, np.int32))
            operator.inputs.append(
                _add_tensor(schema, graph, target.name, (len(argument),), "INT32", numbers)
            )
        if kind == "RESHAPE":
            operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            operator.builtinOptions = schema.ReshapeOptionsT()
            operator.builtinOptions.newShape = list(argument)
        made.append(operator)
        source = out
    return made


def _quantization(schema: Any, found: Grid) -> Any:
    scale = found.scale if found.block is None else np.moveaxis(found.scale, found.axis, -1)
    quantization = schema.QuantizationParametersT()
    quantization.scale = [float(number) for number in scale.reshape(-1)]
    quantization.zeroPoint = [0] * scale.size
    quantization.quantizedDimension = found.axis if found.block is None else 0
    return quantization


def _add_tensor(schema: Any, graph: Any, name: Any, shape: tuple[int, ...], kind: str, buffer: int) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name, list(shape)
    tensor.type, tensor.buffer = getattr(schema.TensorType, kind), buffer
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _inputs(operator: Any) -> list[int]:
    return [] if operator.inputs is None else [int(index) for index in operator.inputs]


def _add_buffer(model: Any, schema: Any, values: NDArray[Any]) -> int:
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
