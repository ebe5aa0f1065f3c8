"""The tables of a `.tflite` file, read in plain Python: native code given a damaged one can end the process.

Field numbers are those of TensorFlow's schema.fbs, version 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.flatbuffer import Buffer, MalformedError, Table
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
class Tensor:
    """One tensor; `buffer` is the place of its bytes, of which there are none for what is computed."""

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
        """Describe it under another name."""
        if len(self.scales) == 1 and len(self.zero_points) == 1:
            scale, zero_point = float(self.scales[0]), int(self.zero_points[0])
            return TensorSpec(name, self.signature, self.dtype, scale, zero_point)
        return TensorSpec(name, self.signature, self.dtype)


@dataclass(frozen=True, slots=True)
class Opcode:
    """A kind of operator: its number in BuiltinOperator of schema.fbs, and the name of one that is not built in."""

    builtin: int
    custom: str


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Tensors, which of them are given and made, and the kinds of the operators in the order in which they run."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Opcode, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Names that a graph's inputs and outputs have for callers."""

    key: str
    graph: Subgraph
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """What a file holds; `buffers` are where bytes begin and how many there are, `metadata` buffers by name."""

    subgraphs: tuple[Subgraph, ...]
    buffers: tuple[tuple[int, int], ...]
    signatures: tuple[Signature, ...]
    metadata: Mapping[str, int]


@contextmanager
def opened(path: Path) -> Iterator[tuple[mmap, Model]]:
    """Give the bytes of a file and its tables while the block runs.

    Args:
        path: the file.

    Raises:
        InputError: not a TFLite model, cut off, damaged, or with weights in another file.
    """
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


def _parse(buffer: Buffer) -> Model:
    root = buffer.root()
    version = root.number(0, "I")
    if version != _SCHEMA_VERSION:
        raise MalformedError(f"schema version {version}, not {_SCHEMA_VERSION}")
    if any(root.span(number, 4)[1] for number in (8, 9)):
        raise MalformedError("its weights are in another file, and this one stands alone or not at all")
    buffers = tuple(_extent(table, buffer) for table in root.tables(4))
    opcodes = tuple(_opcode(table) for table in root.tables(1))
    subgraphs = tuple(_subgraph(table, opcodes, buffers, buffer) for table in root.tables(2))
    if not subgraphs or not buffers:
        raise MalformedError("no graph in it")
    metadata = {table.text(0): table.number(1, "I") for table in root.tables(6)}
    _check_indices(metadata.values(), len(buffers), "buffer")
    signatures = tuple(_signature(table, subgraphs) for table in root.tables(7))
    return Model(subgraphs, buffers, signatures, metadata)


def _signature(table: Table, subgraphs: Sequence[Subgraph]) -> Signature:
    _check_indices([table.number(4, "I")], len(subgraphs), "graph")
    graph = subgraphs[table.number(4, "I")]
    ends = [{entry.text(0): entry.number(1, "I") for entry in table.tables(number)} for number in (0, 1)]
    for names in ends:
        _check_indices(names.values(), len(graph.tensors), "tensor")
    return Signature(table.text(2), graph, *ends)


def _extent(table: Table, buffer: Buffer) -> tuple[int, int]:
    """Give where a buffer's bytes begin and how many there are; beyond 2 GiB they lie behind the tables."""
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset <= 1:
        return table.span(0)
    if offset + size > len(buffer.data):
        raise MalformedError(f"{size:,} bytes of weights at byte {offset:,} of {len(buffer.data):,}")
    return offset, size


def _opcode(table: Table) -> Opcode:
    """Read a kind of operator; numbers above 127 are in a field of their own, as the first one holds a byte."""
    return Opcode(max(table.number(0, "b"), table.number(3, "i")), table.text(1))


def _subgraph(
    table: Table, opcodes: Sequence[Opcode], buffers: Sequence[tuple[int, int]], buffer: Buffer
) -> Subgraph:
    tensors = tuple(_tensor(entry, buffers) for entry in table.tables(0))
    operators = []
    for operator in table.tables(3):
        index = operator.number(0, "I")
        _check_indices([index], len(opcodes), "operator")
        operators.append(opcodes[index])
        _check_indices(operator.values(1, "<i4"), len(tensors), "tensor", lowest=-1)  # -1: not given
        _check_indices(operator.values(2, "<i4"), len(tensors), "tensor")
        if operator.number(9, "Q") + operator.number(10, "Q") > len(buffer.data):
            raise MalformedError("options of an operator that end behind the file")
    inputs, outputs = (tuple(int(index) for index in table.values(number, "<i4")) for number in (1, 2))
    _check_indices((*inputs, *outputs), len(tensors), "tensor")
    return Subgraph(tensors, inputs, outputs, tuple(operators))


def _tensor(table: Table, buffers: Sequence[tuple[int, int]]) -> Tensor:
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
    if bits and sparse and held > needed:
        raise MalformedError(f"{held:,} bytes for a sparse tensor of {needed:,} at most")
    return Tensor(
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
