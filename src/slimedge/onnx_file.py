"""What an `.onnx` file says: inputs and outputs by name, lineage, weights; nothing is run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge import notes
from slimedge.artifact import Artifact, Format, TensorSpec
from slimedge.errors import InputError
from slimedge.files import sha256_of
from slimedge.naming import in_order
from slimedge.onnx_model import graphs, load, locations, tensors, values_of

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["external_files", "read", "weights_summary"]


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
    path = Path(path)
    model = load(path)
    parameters = nonzero = 0
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
        if types and values.dtype.name not in types:
            continue
        parameters += values.size
        nonzero += _count_nonzero(values, *_zero_points(values, points.get(tensor.name), path))
    return parameters, nonzero


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


def _count_nonzero(values: NDArray[Any], points: NDArray[Any] | None, axis: int) -> int:
    if points is None or not np.any(points):
        return int(np.count_nonzero(values))
    if points.size == 1:
        return int(np.count_nonzero(values != points.reshape(-1)[0]))
    if points.ndim != 1 or values.shape[axis] != points.size:
        return int(np.count_nonzero(values))  # blocked quantization: zero points have blocks of their own
    shape = [1] * values.ndim
    shape[axis] = points.size
    return int(np.count_nonzero(values != points.reshape(shape)))


def _sha256(path: Path, others: Sequence[Path]) -> str:
    """Give the file's own SHA-256, or one over all files where weights lie beside it."""
    if not others:
        return sha256_of(path)
    return hashlib.sha256("".join(sha256_of(file) for file in (path, *others)).encode()).hexdigest()
