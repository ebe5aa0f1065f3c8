"""Activations of 16 bits in a TFLite file: the converter writes them as int8 tensors, which are widened here.

The model is traced with each activation of 16 bits as one of 8 bits with the same scale around 0, so the converter
chooses operators and computes biases, in units of input scale times kernel scale, as for int8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import ConversionError
from slimedge.export.tflite_edit import grid_of, is_constant, kind_of
from slimedge.export.tflite_wide import UNIT_SCALE, with_int16

# (scale, zero point) that the converter gives to int8 outputs of LOGISTIC, TANH and SOFTMAX.
UNIT_GRIDS = {(1 / 256, -128), (1 / 128, 0)}
# The converter computes scales from the ends of ranges, in float32.
TOLERANCE = 1e-5


def widen(
    model: Any, schema: Any, scales: Sequence[float], narrow: Collection[tuple[float, int]] = ()
) -> None:
    """Make activations of a converted file int16.

    Where an operator meets activations of both widths, it computes with 16 bits, between a QUANTIZE each.

    Args:
        model: `ModelT` of a flatbuffer, changed in place.
        schema: the module of its classes.
        scales: of all activations of 16 bits.
        narrow: scale and signed zero point of all activations of 8 bits.

    Raises:
        ConversionError: the converter gave a tensor a grid that the model has not.
    """
    for graph in model.subgraphs:
        again = _rounded_again(model, graph, schema, np.asarray(scales))
        for index, tensor in enumerate(graph.tensors):
            if tensor.type != schema.TensorType.INT8 or is_constant(model, tensor):
                continue
            is_narrow = _is_one_of(tensor, narrow)
            own = index in again or (grid_of(tensor) in UNIT_GRIDS and not is_narrow)
            scale = UNIT_SCALE if own else _wide_scale(tensor, np.asarray(scales))
            if scale is None and not is_narrow:
                raise ConversionError(
                    f"the TFLite converter rounds {(tensor.name or b'a tensor').decode()} to a grid of its own, which "
                    "has no int16 form; export to ONNX, or leave that layer float with --exclude."
                )
            if scale is not None:
                tensor.type = schema.TensorType.INT16
                tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
    for graph in model.subgraphs:
        _drop_casts(model, graph, schema)
        _drop_requantizing(model, graph, schema)
        graph.operators = [
            made for operator in graph.operators for made in with_int16(model, graph, operator, schema)
        ]


def _wide_scale(tensor: Any, known: NDArray[Any]) -> float | None:
    """The scale of 16 bits that the converter took this one from."""
    scale, zero_point = grid_of(tensor)
    nearest = float(known[np.argmin(np.abs(known - scale))])
    return nearest if zero_point == 0 and np.isclose(scale, nearest, rtol=TOLERANCE, atol=0) else None


def _is_one_of(tensor: Any, grids: Collection[tuple[float, int]]) -> bool:
    scale, zero_point = grid_of(tensor)
    return any(zero_point == zero and np.isclose(scale, one, rtol=TOLERANCE, atol=0) for one, zero in grids)


def _rounded_again(model: Any, graph: Any, schema: Any, known: NDArray[Any]) -> set[int]:
    """The tensors on a grid of 8 bits that the converter set itself and left at once for one of 16."""
    takers: dict[int, list[Any]] = {}
    for operator in graph.operators:
        for index in () if operator.inputs is None else operator.inputs:
            takers.setdefault(int(index), []).append(operator)
    found = set()
    for index, tensor in enumerate(graph.tensors):
        if tensor.type == schema.TensorType.INT8 and not is_constant(model, tensor):
            after = [
                kind_of(model, taker, schema) == "QUANTIZE"
                and _wide_scale(graph.tensors[int(taker.outputs[0])], known) is not None
                for taker in takers.get(index, [])
            ]
            if grid_of(tensor) in UNIT_GRIDS and after and all(after):
                found.add(index)
    return found


def _chains(model: Any, graph: Any, schema: Any, *kinds: str) -> Iterator[tuple[Any, Any]]:
    """Two operators, of these kinds, of which the second takes what the first one gives."""
    made = {int(operator.outputs[0]): operator for operator in graph.operators}
    for second in graph.operators:
        first = None if second.inputs is None or not len(second.inputs) else made.get(int(second.inputs[0]))
        if first is not None and (kind_of(model, first, schema), kind_of(model, second, schema)) == kinds:
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
        if kind_of(model, operator, schema) == "QUANTIZE":
            source, target = (graph.tensors[int(place[0])] for place in (operator.inputs, operator.outputs))
            wide = source.type == target.type == schema.TensorType.INT16
            if wide and source.quantization.scale == target.quantization.scale:
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
        used = {
            int(index)
            for other in graph.operators
            for index in ([] if other.inputs is None else other.inputs)
        }
        used |= {int(index) for index in graph.outputs}
        if kind_of(model, operator, schema) == kind and int(operator.outputs[0]) not in used:
            graph.operators.remove(operator)
