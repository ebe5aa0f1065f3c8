"""What an `.onnx` file says: inputs and outputs by name, lineage, weights; nothing is run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge import notes
from slimedge.artifact import Artifact, Format, TensorSpec
from slimedge.errors import InputError
from slimedge.files import sha256_of
from slimedge.naming import in_order
from slimedge.onnx_model import graphs, load, locations, tensors, type_of, values_of
from slimedge.weight_facts import WeightFacts, distinct_values, nonzero, pattern, totals

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["external_files", "read", "weights", "weights_summary"]


def read(path: Path | str) -> Artifact:
    """Describe an `.onnx` file.

    Inputs and outputs are in Keras order where slimedge wrote the file, else in the graph's.

    Args:
        path: the file.

    Raises:
        InputError: not an ONNX model, cut off, damaged, or with weights that are missing or lie elsewhere.
    """
    path = Path(path)
    model = load(path)
    known = notes.from_json(
        next((entry.value for entry in model.metadata_props if entry.key == notes.KEY), None)
    )
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [_spec(value, model.graph, path) for value in model.graph.input if value.name not in constants]
    outputs = [_spec(value, model.graph, path) for value in model.graph.output]
    return Artifact(
        path=path,
        format=Format.ONNX,
        sha256=_sha256(path, locations(model, path)),
        inputs=in_order(inputs, known.inputs),
        outputs=in_order(outputs, known.outputs),
        lineage=known.lineage,
    )


def external_files(path: Path | str) -> tuple[Path, ...]:
    """Give the files beside a model that hold its weights, each once.

    Args:
        path: the `.onnx` file.

    Raises:
        InputError: as `read`.
    """
    path = Path(path)
    return locations(load(path), path)


def weights_summary(path: Path | str, *, types: Collection[str] = ()) -> tuple[int, int]:
    """Count the numbers in the constants of an `.onnx` file, and those that do not stand for zero.

    Scales, zero points, shapes and other 64-bit integers are not weights. A quantized number stands for
    zero where it is its zero point.

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

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be used.
    """
    path = Path(path)
    model = load(path)
    axes = _input_axes(model.graph)
    found = []
    for tensor, values, points, axis in _weights(model, path):
        kept = nonzero(values, points, axis)
        kind, bits = type_of(tensor)
        found.append(
            WeightFacts(
                name=tensor.name,
                shape=tuple(values.shape),
                dtype=kind,
                parameters=values.size,
                nonzero_parameters=int(np.count_nonzero(kept)),
                distinct_values=distinct_values(values, kept, bits, values.size),
                pattern=pattern(kept, axes.get(tensor.name)),
            )
        )
    return tuple(found)


def _weights(
    model: ModelProto, path: Path
) -> Iterator[tuple[TensorProto, NDArray[Any], NDArray[Any] | None, int]]:
    """Give each weight with its numbers, its zero points if it has some, and the axis that they lie along."""
    every = list(graphs(model.graph))
    grids = [
        node
        for graph in every
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    grid_names = {name for node in grids for name in node.input[1:]}
    constants = {tensor.name: tensor for graph in every for tensor in graph.initializer}
    points = {
        node.input[0]: (constants[node.input[2]], _axis(node))
        for node in grids
        if node.op_type == "DequantizeLinear" and len(node.input) > 2 and node.input[2] in constants
    }
    for tensor in tensors(model):
        if (tensor.name and tensor.name in grid_names) or not _is_weight(tensor):
            continue
        values = values_of(tensor, path)
        yield (tensor, values, *_zero_points(values, points.get(tensor.name), path))


def _input_axes(graph: GraphProto) -> dict[str, int]:
    """Map constants to the axis along which an op sums over them, through a DequantizeLinear as well."""
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    axes = {}
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm") and len(node.input) > 1:
            turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes[before.get(node.input[1], node.input[1])] = 1 if node.op_type == "Conv" or turned else 0
    return axes


def _spec(value: ValueInfoProto, graph: GraphProto, path: Path) -> TensorSpec:
    from onnx import helper

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.elem_type:
        raise InputError(
            f"{path} has '{value.name}', which is no tensor; slimedge takes models of tensors only."
        )
    shape = tuple(
        dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value >= 0 else None
        for dimension in kind.shape.dim
    )
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except KeyError as error:
        raise InputError(
            f"{path} has '{value.name}' of the unknown type {kind.elem_type}; export it again."
        ) from error
    scale, zero_point = _grid(value.name, graph, path)
    return TensorSpec(value.name, shape, dtype, scale, zero_point)


def _grid(name: str, graph: GraphProto, path: Path) -> tuple[float | None, int | None]:
    """Give scale and zero point of an input that is dequantized first, or an output quantized last."""
    for node in graph.node:
        ends = {"DequantizeLinear": node.input[:1], "QuantizeLinear": node.output[:1]}.get(node.op_type, [])
        if name not in ends or len(node.input) < 3:
            continue
        constants = {tensor.name: tensor for tensor in graph.initializer}
        scale, zero_point = (constants.get(constant) for constant in node.input[1:3])
        if scale is not None and zero_point is not None:
            scales, points = values_of(scale, path), values_of(zero_point, path)
            if scales.size == points.size == 1:
                return float(scales.reshape(-1)[0]), int(points.reshape(-1)[0])
    return None, None


def _is_weight(tensor: TensorProto) -> bool:
    from onnx import TensorProto

    return tensor.data_type not in (
        TensorProto.UNDEFINED,
        TensorProto.STRING,
        TensorProto.BOOL,
        TensorProto.INT64,
        TensorProto.UINT64,
        TensorProto.UINT32,
    )


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _zero_points(
    values: NDArray[Any], point: tuple[TensorProto, int] | None, path: Path
) -> tuple[NDArray[Any] | None, int]:
    if point is None:
        return None, 0
    tensor, axis = point
    return values_of(tensor, path), axis % max(values.ndim, 1)


def _sha256(path: Path, others: Sequence[Path]) -> str:
    """Give the file's own SHA-256, or one over all files where weights lie beside it."""
    if not others:
        return sha256_of(path)
    return hashlib.sha256("".join(sha256_of(file) for file in (path, *others)).encode()).hexdigest()
