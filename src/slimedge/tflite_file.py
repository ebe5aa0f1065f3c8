"""What a `.tflite` file says: inputs and outputs by name, lineage, weights; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge import notes
from slimedge.artifact import Artifact, Format, TensorSpec
from slimedge.files import sha256_of
from slimedge.naming import in_order, unique
from slimedge.tflite_model import Model, Tensor, opened
from slimedge.weight_facts import WeightFacts, distinct_values, nonzero, pattern, totals

# Floats that numpy does not have, as the integers of their bits.
_AS_BITS = {"bfloat16": "<u2", "float8_e4m3fn": "u1", "float8_e5m2": "u1"}


def read(path: Path | str) -> Artifact:
    """Describe a `.tflite` file.

    Inputs and outputs have the names of the signature; they are in Keras order where slimedge wrote
    the file, else in the file's.

    Args:
        path: the file.

    Raises:
        InputError: not a TFLite model, cut off, damaged, or with weights in another file.
    """
    path = Path(path)
    with opened(path) as (data, model):
        start, size = model.buffers[model.metadata[notes.KEY]] if notes.KEY in model.metadata else (0, 0)
        known = notes.from_json(data[start : start + size])
        inputs, outputs = _ends(model)
    return Artifact(
        path=path,
        format=Format.TFLITE,
        sha256=sha256_of(path),
        inputs=in_order(inputs, known.inputs),
        outputs=in_order(outputs, known.outputs),
        lineage=known.lineage,
    )


def weights_summary(path: Path | str, *, types: Collection[str] = ()) -> tuple[int, int]:
    """Count the numbers in the constants of a `.tflite` file, and those that do not stand for zero.

    Shapes, axes and other integers without a scale are not weights. A quantized number stands for zero
    where it is its zero point.

    Args:
        path: the file.
        types: element types (`int8`) of the constants that count; none for all.

    Returns:
        Parameters and nonzero parameters.

    Raises:
        InputError: the file cannot be used.
    """
    return totals(each for each in weights(path) if not types or each.dtype in types)


def weights(path: Path | str) -> tuple[WeightFacts, ...]:
    """Describe each constant that `weights_summary` counts.

    Of a weight that is stored sparsely (SparsityParameters in schema.fbs) only the stored numbers are looked at; the
    others are zeros.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be used.
    """
    with opened(Path(path)) as (data, model):
        return tuple(_facts(tensor, content) for tensor, content in _weights(data, model))


def _ends(model: Model) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Give inputs and outputs in the file's order, by signature names where there is a signature."""
    signatures = {signature.key: signature for signature in reversed(model.signatures)}
    signature = signatures.get("serving_default", model.signatures[0] if model.signatures else None)
    if signature is None:
        graph = model.subgraphs[0]
        inputs, outputs = (
            [
                (name, index)
                for name, index in zip(unique([graph.tensors[i].name for i in ends]), ends, strict=True)
            ]
            for ends in (graph.inputs, graph.outputs)
        )
    else:
        graph = signature.graph
        inputs, outputs = (
            sorted(names.items(), key=lambda entry: ends.index(entry[1]) if entry[1] in ends else len(ends))
            for names, ends in ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs))
        )
    return (
        [graph.tensors[index].spec(name) for name, index in inputs],
        [graph.tensors[index].spec(name) for name, index in outputs],
    )


def _is_weight(tensor: Tensor) -> bool:
    if tensor.dtype in ("int32", "int64"):
        return len(tensor.scales) > 0
    return tensor.bits > 0 and tensor.dtype not in ("bool", "uint32", "uint64", "uint16")


def _weights(data: mmap, model: Model) -> Iterator[tuple[Tensor, bytes]]:
    """Give each weight with its bytes; tensors that share a buffer once."""
    counted = set()
    for tensor in (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors):
        start, size = model.buffers[tensor.buffer]
        if size and tensor.buffer not in counted and _is_weight(tensor):
            counted.add(tensor.buffer)
            yield tensor, data[start : start + size]


def _facts(tensor: Tensor, content: bytes) -> WeightFacts:
    values, size = _elements(tensor, content), math.prod(tensor.shape)
    kept = _kept(tensor, values)
    return WeightFacts(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        parameters=size,
        nonzero_parameters=int(np.count_nonzero(kept)),
        distinct_values=distinct_values(values, kept.reshape(-1), tensor.bits, size),
        pattern=None if tensor.sparse else pattern(kept, _input_axis(kept.shape)),
        sparse=tensor.sparse,
    )


def _input_axis(shape: tuple[int, ...]) -> int | None:
    """Give the axis of the input channels: kernels are (out, …, in), those of depthwise convolutions (1, …, out)."""
    return len(shape) - 1 if len(shape) >= 2 and shape[0] != 1 else None


def _kept(tensor: Tensor, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which of the stored numbers do not stand for zero; in the tensor's shape where all of them are stored."""
    if tensor.dtype in _AS_BITS:  # all bits but the sign
        values = values & ((1 << (tensor.bits - 1)) - 1)
    if tensor.sparse or len(values) != math.prod(tensor.shape):
        return nonzero(values)
    return nonzero(values.reshape(tensor.shape), tensor.zero_points, tensor.axis)


def _elements(tensor: Tensor, data: bytes) -> NDArray[Any]:
    count = math.prod(tensor.shape)
    if tensor.bits < 8:  # packed, the first element in the lowest bits
        packed = np.frombuffer(data, np.uint8)
        mask = (1 << tensor.bits) - 1
        parts = [(packed >> shift) & mask for shift in range(0, 8, tensor.bits)]
        values = np.stack(parts, axis=-1).reshape(-1)[:count].astype(np.int8)
        return (
            values - ((values > mask >> 1) * (mask + 1)).astype(np.int8) if tensor.dtype[0] == "i" else values
        )
    plain = np.dtype(_AS_BITS.get(tensor.dtype, tensor.dtype))
    values = np.frombuffer(data[: len(data) // plain.itemsize * plain.itemsize], plain)
    return values if tensor.sparse else values[:count]
