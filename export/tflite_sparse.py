"""Weights with many zeros in TFLite's sparse encoding, where that is smaller, hardly larger after gzip, and as fast.

TensorFlow's own pass (that of `tf.lite.Optimize.EXPERIMENTAL_SPARSITY`) keeps of each kernel the numbers that are not
zero and their places. A fully connected layer of floats whose zeros come in blocks (1×4 along its inputs) computes with
that; before every other one the file gets a DENSIFY, which LiteRT runs once when it prepares the file, so that it is as
fast as before. Two things are put back: what is larger so (a place takes a byte or two, as much as an int8 number), and
int8 kernels of fully connected layers. XNNPACK refuses those behind a DENSIFY, and the kernel for their blocks of 16
takes twice the time of the dense one and rounds some ties to the other side (seen with LiteRT 2.3).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.export.tflite_edit import codes_of
from slimedge.export.trial import Arrays, TfliteTrial
from slimedge.flatbuffer import MalformedError

# The pass leaves kernels with a smaller share of zeros dense.
LEAST_ZEROS = 0.3
# What a file may have after gzip, of what the dense one has: gzip packs zeros as well, and places less well.
LARGEST_PACKED = 1.05
# Smaller ones save nothing that counts.
LEAST_WEIGHTS = 256

Close = Callable[[Arrays, Arrays], bool]


def sparse_where_smaller(content: bytes, examples: Arrays, close: Close) -> bytes:
    """Give a file with its kernels in sparse encoding where that is smaller and gives the same answers.

    Args:
        content: a TFLite file that is finished.
        examples: arrays by input name, to try both files on.
        close: tells whether the outputs of the second file are those of the first, but for rounding: products
            without the zeros are summed in another order.

    Returns:
        `content` itself where nothing is won, or LiteRT does not answer with the sparse file as with that.
    """
    from ai_edge_litert import schema_py_generated as schema

    if not _has_zeros(_model(content, schema), schema):
        return content
    encoded = _encoded(content)
    if encoded is None:
        return content
    model = _model(encoded, schema)
    _put_back(model, schema)
    made = _packed(model, len(encoded))
    smaller = len(made) < len(content) and _packed_size(made) <= LARGEST_PACKED * _packed_size(content)
    return made if smaller and _same(content, made, examples, close) else content


def _packed_size(content: bytes) -> int:
    return len(zlib.compress(content, 9))


def decoded(model: Any, tensor: Any, schema: Any) -> NDArray[Any] | None:
    """Give the numbers of a tensor whose last axis is sparse, perhaps in blocks; None for another encoding.

    Args:
        model: `ModelT` of a flatbuffer.
        tensor: with `sparsity`.
        schema: the module of the flatbuffer's classes.

    Raises:
        MalformedError: its places do not fit its shape.
    """
    told, formats = tensor.sparsity, schema.DimensionType
    shape = [int(size) for size in tensor.shape]
    axes = len(shape)
    blocks = [] if told.blockMap is None else [int(axis) for axis in told.blockMap]
    kinds = [dimension.format for dimension in told.dimMetadata]
    in_order = [int(axis) for axis in told.traversalOrder] == list(range(axes + len(blocks)))
    wanted = [formats.DENSE] * (axes - 1) + [formats.SPARSE_CSR] + [formats.DENSE] * len(blocks)
    if blocks not in ([], [axes - 1]) or not in_order or kinds != wanted:
        return None
    block = int(told.dimMetadata[-1].denseSize) if blocks else 1
    last = told.dimMetadata[axes - 1]
    segments, places = (np.asarray(part.values, np.int64) for part in (last.arraySegments, last.arrayIndices))
    dtype = np.float32 if tensor.type == schema.TensorType.FLOAT32 else np.int8
    values = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(dtype)
    rows, counts = int(np.prod(shape[:-1])), np.diff(segments)
    if len(counts) != rows or len(values) != block * len(places) or int(counts.sum()) != len(places):
        raise MalformedError(f"{len(values)} numbers at {len(places)} places in {len(counts)} of {rows} rows")
    dense = np.zeros((rows, shape[-1] // block, block), dtype)
    dense[np.repeat(np.arange(rows), counts), places] = values.reshape(-1, block)
    return dense.reshape(shape)


def encoded_bytes(model: Any, tensor: Any) -> int:
    """Give how many bytes the numbers and places of a sparse tensor take."""
    count = len(model.buffers[tensor.buffer].data)
    for dimension in tensor.sparsity.dimMetadata:
        for part in (dimension.arraySegments, dimension.arrayIndices):
            if part is not None:
                width = {"Uint8VectorT": 1, "Uint16VectorT": 2}.get(type(part).__name__, 4)
                count += width * len(part.values)
    return count


def _model(content: bytes, schema: Any) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _packed(model: Any, size: int) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(size + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _has_zeros(model: Any, schema: Any) -> bool:
    """Whether any constant has so many zeros that the pass encodes it."""
    dtypes = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8}
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type not in dtypes or tensor.sparsity is not None:
            continue
        values = np.asarray(data, np.uint8).view(dtypes[tensor.type])
        if len(values) >= LEAST_WEIGHTS and np.mean(values == 0) >= LEAST_ZEROS:
            return True
    return False


def _encoded(content: bytes) -> bytes | None:
    from tensorflow.lite.python import convert

    try:
        return bytes(convert.mlir_sparsify(content))
    except Exception:  # noqa: BLE001 - the pass raises whatever MLIR reports; the dense file is as right
        return None


def _put_back(model: Any, schema: Any) -> None:
    """Make kernels dense that are larger so, or that runtimes do not compute well with."""
    kinds, codes = schema.BuiltinOperator, codes_of(model)
    for graph in model.subgraphs:
        connected = {
            int(index)
            for operator in graph.operators
            if codes[operator.opcodeIndex] == kinds.FULLY_CONNECTED
            for index in operator.inputs
        }
        refused = {
            index for index in connected if index >= 0 and graph.tensors[index].type == schema.TensorType.INT8
        }
        for index in refused:
            if graph.tensors[index].sparsity is not None:
                _densify(model, graph.tensors[index], schema)
        graph.operators = [
            operator
            for operator in graph.operators
            if codes[operator.opcodeIndex] != kinds.DENSIFY
            or not _goes(model, graph, operator, refused, schema)
        ]


def _goes(model: Any, graph: Any, operator: Any, refused: set[int], schema: Any) -> bool:
    """Whether a DENSIFY is no use; its output is then a constant."""
    target = int(operator.outputs[0])
    tensor = graph.tensors[int(operator.inputs[0])]
    width = 4 if tensor.type == schema.TensorType.FLOAT32 else 1
    smaller = encoded_bytes(model, tensor) < width * int(np.prod(tensor.shape))
    if (smaller and target not in refused) or not _densify(model, tensor, schema):
        return False
    # The sparse tensor, which nothing reads any more, becomes another name of the same numbers.
    graph.tensors[target].buffer = tensor.buffer
    return True


def _densify(model: Any, tensor: Any, schema: Any) -> bool:
    """Give a tensor its numbers with the zeros; False where its encoding is not known."""
    dense = decoded(model, tensor, schema)
    if dense is None:
        return False
    model.buffers[tensor.buffer].data = dense.reshape(-1).view(np.uint8)
    tensor.sparsity = None
    return True


def _same(content: bytes, made: bytes, examples: Arrays, close: Close) -> bool:
    """Whether LiteRT gives the same outputs with both files."""
    exact = TfliteTrial(content).run(examples)
    try:
        got = TfliteTrial(made).run(examples)
    except (RuntimeError, ValueError):  # an operator that this LiteRT cannot prepare
        return False
    return close(exact, got)
