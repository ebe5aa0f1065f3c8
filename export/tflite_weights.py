"""Weight-only and dynamic schemes in a TFLite file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import ConversionError
from slimedge.export.tflite_edit import add_buffer, add_tensor, codes_of, new_operator
from slimedge.export.tflite_tables import look_up_blocks, looks_up_rows
from slimedge.export.weight_grid import Grid, Rounding, is_weight

# The first version of Dequantize that takes a type.
DEQUANTIZE_VERSIONS = {"INT8": 2, "FLOAT16": 3, "INT4": 6}
# LiteRT's fast kernels (XNNPACK) take their weights out of a Dequantize of INT8 or FLOAT16, and leave one of INT4 to
# the plain kernels: nearly as fast where a row is multiplied with a matrix, several times slower for a convolution.
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
    file as a row a block, and is reshaped at each run; of a table in blocks only the rows that are looked up are.

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
            if form is None:
                continue
            tensor.buffer = 0
            shape = tuple(int(size) for size in tensor.shape)
            if _has_rows_in_blocks(form, shape) and all(
                looks_up_rows(model, schema, graph, taker, index) for taker in takers
            ):
                blocks = add_tensor(schema, graph, tensor.name, form.shape, "FLOAT32")
                made += _dequantized(model, schema, graph, blocks, form)
                for taker in takers:
                    place = graph.operators.index(taker)
                    looked_up = look_up_blocks(model, schema, graph, taker, blocks, shape)
                    graph.operators[place : place + 1] = looked_up
            else:
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
        return _Kept(found.shape, "FLOAT16", add_buffer(model, schema, found), found)
    values = found.values
    if found.block is not None:
        values = np.moveaxis(values, found.axis, -1).reshape(-1, found.block)
    kind = "INT4" if rounding.bits == 4 and not convolved else "INT8"
    numbers = packed(values) if kind == "INT4" else values
    return _Kept(values.shape, kind, add_buffer(model, schema, numbers), found)


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


def _has_rows_in_blocks(kept: _Kept, shape: tuple[int, ...]) -> bool:
    return (
        isinstance(kept.found, Grid)
        and kept.found.block is not None
        and len(shape) == 2
        and kept.found.axis == 1
        and kept.shape != shape
    )


def _dequantized(model: Any, schema: Any, graph: Any, index: int, kept: _Kept) -> list[Any]:
    """Operators that make tensor `index`, of the weight's shape or the kept one, of a new tensor, the kept weight."""
    target, found = graph.tensors[index], kept.found
    shape = tuple(int(size) for size in target.shape)
    source = add_tensor(schema, graph, target.name, kept.shape, kept.kind, buffer=kept.buffer)
    # Of each further operator its kind, the shape that it makes and its argument.
    further: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    if isinstance(found, Grid):
        graph.tensors[source].quantization = _quantization(schema, found)
        order = (*(axis for axis in range(len(shape)) if axis != found.axis), found.axis)
        turned = tuple(shape[axis] for axis in order)
        if found.block is not None and turned != kept.shape:
            further.append(("RESHAPE", turned, turned))
        if found.block is not None and order != tuple(range(len(shape))):
            further.append(("TRANSPOSE", shape, tuple(order.index(axis) for axis in range(len(shape)))))
    tensors = [add_tensor(schema, graph, target.name, kept.shape, "FLOAT32")] if further else []
    tensors += [add_tensor(schema, graph, target.name, made, "FLOAT32") for _, made, _ in further[:-1]]
    tensors.append(index)
    version = DEQUANTIZE_VERSIONS[kept.kind]
    operators = [new_operator(model, schema, "DEQUANTIZE", [source], tensors[0], version=version)]
    for (kind, _, argument), given, made in zip(further, tensors, tensors[1:], strict=False):
        buffer = add_buffer(model, schema, np.array(argument, np.int32))
        numbers = add_tensor(schema, graph, target.name, (len(argument),), "INT32", buffer=buffer)
        options: dict[str, Any] = {"newShape": list(argument)} if kind == "RESHAPE" else {}
        operators.append(new_operator(model, schema, kind, [given, numbers], made, **options))
    return operators


def _quantization(schema: Any, found: Grid) -> Any:
    scale = found.scale if found.block is None else np.moveaxis(found.scale, found.axis, -1)
    quantization = schema.QuantizationParametersT()
    quantization.scale = [float(number) for number in scale.reshape(-1)]
    quantization.zeroPoint = [0] * scale.size
    quantization.quantizedDimension = found.axis if found.block is None else 0
    return quantization


def _inputs(operator: Any) -> list[int]:
    return [] if operator.inputs is None else [int(index) for index in operator.inputs]


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
