"""What a `.tflite` file says, read in plain Python: native code given a damaged one can end the process.

Field numbers are those of TensorFlow's schema.fbs, version 3.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge import notes
from slimedge.artifact import Artifact, Format, TensorSpec
from slimedge.errors import InputError
from slimedge.files import sha256_of
from slimedge.flatbuffer import Buffer, MalformedError, Table
from slimedge.naming import in_order, unique
from slimedge.sniffing import Content, sniff

# TensorType in schema.fbs: the name and the bits of each element; strings and handles have no size.
_TYPES: Sequence[tuple[str, int]] = (
    ("float32", 32),
    ("float16", 16),
    ("int32", 32),
    ("uint8", 8),
    ("int64", 64),
    ("string", 0),
    ("bool", 8),
    ("int16", 16),
    ("complex64", 64),
    ("int8", 8),
    ("float64", 64),
    ("complex128", 128),
    ("uint64", 64),
    ("resource", 0),
    ("variant", 0),
    ("uint32", 32),
    ("uint16", 16),
    ("int4", 4),
    ("bfloat16", 16),
    ("int2", 2),
    ("uint4", 4),
    ("float8_e4m3fn", 8),
    ("float8_e5m2", 8),
)
_SCHEMA_VERSION = 3


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    dtype: str
    bits: int
    shape: tuple[int, ...]
    signature: tuple[int | None, ...]
    buffer: int
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    sparse: bool

    def spec(self, name: str) -> TensorSpec:
        if len(self.scales) == 1 and len(self.zero_points) == 1:
            scale, zero_point = float(self.scales[0]), int(self.zero_points[0])
            return TensorSpec(name, self.signature, self.dtype, scale, zero_point)
        return TensorSpec(name, self.signature, self.dtype)


@dataclass(frozen=True, slots=True)
class _Subgraph:
    tensors: tuple[_Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Signature:
    key: str
    graph: _Subgraph
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Model:
    subgraphs: tuple[_Subgraph, ...]
    buffers: tuple[tuple[int, int], ...]
    signatures: tuple[_Signature, ...]
    metadata: Mapping[str, int]


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
    with _opened(path) as (data, model):
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
    parameters = nonzero = 0
    counted = set()
    with _opened(Path(path)) as (data, model):
        for tensor in (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors):
            start, size = model.buffers[tensor.buffer]
            if not size or tensor.buffer in counted or not _is_weight(tensor):
                continue
            if types and tensor.dtype not in types:
                continue
            counted.add(tensor.buffer)
            parameters += math.prod(tensor.shape)
            nonzero += _count_nonzero(tensor, data[start : start + size])
    return parameters, nonzero


@contextmanager
def _opened(path: Path) -> Iterator[tuple[mmap, _Model]]:
    content = sniff(path)
    if content is not Content.TFLITE:
        raise InputError(f"{path} is {content}, not a TFLite model; give a .tflite file.")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            model = _parse(Buffer(data))
        except MalformedError as error:
            raise InputError(
                f"{path} is cut off or damaged ({error}); copy it again, or export it again."
            ) from error
        yield data, model


def _parse(buffer: Buffer) -> _Model:
    root = buffer.root()
    version = root.number(0, "I")
    if version != _SCHEMA_VERSION:
        raise MalformedError(f"schema version {version}, not {_SCHEMA_VERSION}")
    if any(root.span(number, 4)[1] for number in (8, 9)):
        raise MalformedError("its weights are in another file, and this one stands alone or not at all")
    buffers = tuple(_extent(table, buffer) for table in root.tables(4))
    opcodes = sum(1 for _ in root.tables(1))
    subgraphs = tuple(_subgraph(table, opcodes, buffers, buffer) for table in root.tables(2))
    if not subgraphs or not buffers:
        raise MalformedError("no graph in it")
    metadata = {table.text(0): table.number(1, "I") for table in root.tables(6)}
    _check_indices(metadata.values(), len(buffers), "buffer")
    signatures = tuple(_signature(table, subgraphs) for table in root.tables(7))
    return _Model(subgraphs, buffers, signatures, metadata)


def _signature(table: Table, subgraphs: Sequence[_Subgraph]) -> _Signature:
    _check_indices([table.number(4, "I")], len(subgraphs), "graph")
    graph = subgraphs[table.number(4, "I")]
    ends = [{entry.text(0): entry.number(1, "I") for entry in table.tables(number)} for number in (0, 1)]
    for names in ends:
        _check_indices(names.values(), len(graph.tensors), "tensor")
    return _Signature(table.text(2), graph, *ends)


def _extent(table: Table, buffer: Buffer) -> tuple[int, int]:
    """Give where a buffer's bytes begin and how many there are; beyond 2 GiB they lie behind the tables."""
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset <= 1:
        return table.span(0)
    if offset + size > len(buffer.data):
        raise MalformedError(f"{size:,} bytes of weights at byte {offset:,} of {len(buffer.data):,}")
    return offset, size


def _subgraph(table: Table, opcodes: int, buffers: Sequence[tuple[int, int]], buffer: Buffer) -> _Subgraph:
    tensors = tuple(_tensor(entry, buffers) for entry in table.tables(0))
    for operator in table.tables(3):
        _check_indices([operator.number(0, "I")], opcodes, "operator")
        _check_indices(operator.values(1, "<i4"), len(tensors), "tensor", lowest=-1)  # -1: not given
        _check_indices(operator.values(2, "<i4"), len(tensors), "tensor")
        if operator.number(9, "Q") + operator.number(10, "Q") > len(buffer.data):
            raise MalformedError("options of an operator that end behind the file")
    ends = [tuple(int(index) for index in table.values(number, "<i4")) for number in (1, 2)]
    for indices in ends:
        _check_indices(indices, len(tensors), "tensor")
    return _Subgraph(tensors, *ends)


def _tensor(table: Table, buffers: Sequence[tuple[int, int]]) -> _Tensor:
    kind, index = table.number(1, "b"), table.number(2, "I")
    _check_indices([kind], len(_TYPES), "element type")
    _check_indices([index], len(buffers), "buffer")
    if table.number(10, "I"):
        raise MalformedError("its weights are in another file, and this one stands alone or not at all")
    name, bits = _TYPES[kind]
    shape = tuple(int(size) for size in table.values(0, "<i4"))
    signature = tuple(int(size) for size in table.values(7, "<i4")) or shape
    if min((*shape, 0)) < 0 or min((*signature, 0)) < -1 or len(signature) != len(shape):
        raise MalformedError(f"a tensor of shape {list(shape)}")
    quantization = table.table(4)
    sparse = table.table(6) is not None
    held, needed = buffers[index][1], -(-math.prod(shape) * bits // 8)
    if held and bits and not sparse and held < needed:
        raise MalformedError(f"{held:,} bytes for a tensor that needs {needed:,}")
    return _Tensor(
        name=table.text(3),
        dtype=name,
        bits=bits,
        shape=shape,
        signature=tuple(None if size < 0 else size for size in signature),
        buffer=index,
        scales=quantization.values(2, "<f4") if quantization else np.empty(0, np.float32),
        zero_points=quantization.values(3, "<i8") if quantization else np.empty(0, np.int64),
        axis=quantization.number(6, "i") if quantization else 0,
        sparse=sparse,
    )


def _check_indices(indices: Any, count: int, what: str, *, lowest: int = 0) -> None:
    for index in indices:
        if not lowest <= index < count:
            raise MalformedError(f"{what} {index} of {count}")


def _ends(model: _Model) -> tuple[list[TensorSpec], list[TensorSpec]]:
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


def _is_weight(tensor: _Tensor) -> bool:
    if tensor.dtype in ("int32", "int64"):
        return len(tensor.scales) > 0
    return tensor.bits > 0 and tensor.dtype not in ("bool", "uint32", "uint64", "uint16")


def _count_nonzero(tensor: _Tensor, data: bytes) -> int:
    values = _elements(tensor, data)
    points = tensor.zero_points
    if not points.any() or tensor.sparse or len(values) != math.prod(tensor.shape):
        return int(np.count_nonzero(values))
    if len(points) == 1:
        return int(np.count_nonzero(values != points[0]))
    shape = [1] * len(tensor.shape)
    if not (0 <= tensor.axis < len(shape) and tensor.shape[tensor.axis] == len(points)):
        return int(np.count_nonzero(values))
    shape[tensor.axis] = len(points)
    return int(np.count_nonzero(values.reshape(tensor.shape) != points.reshape(shape)))


def _elements(tensor: _Tensor, data: bytes) -> NDArray[Any]:
    count = math.prod(tensor.shape)
    if tensor.bits < 8:  # packed, the first element in the lowest bits
        packed = np.frombuffer(data, np.uint8)
        mask = (1 << tensor.bits) - 1
        parts = [(packed >> shift) & mask for shift in range(0, 8, tensor.bits)]
        values = np.stack(parts, axis=-1).reshape(-1)[:count].astype(np.int8)
        return (
            values - ((values > mask >> 1) * (mask + 1)).astype(np.int8) if tensor.dtype[0] == "i" else values
        )
    plain = {"bfloat16": "<u2", "float8_e4m3fn": "u1", "float8_e5m2": "u1"}.get(tensor.dtype, tensor.dtype)
    values = np.frombuffer(data[: len(data) // (tensor.bits // 8) * (tensor.bits // 8)], np.dtype(plain))
    if plain != tensor.dtype:  # all bits but the sign
        values = values & ((1 << (tensor.bits - 1)) - 1)
    return values if tensor.sparse else values[:count]
