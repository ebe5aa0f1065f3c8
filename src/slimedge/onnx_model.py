"""An `.onnx` file parsed with care: it is what it says, and its weights lie in its own folder.

Weights may lie in files beside the model. Only plain files inside the model's own folder are read for that: a
path that leads elsewhere, directly or through a symbolic link, would let a model file read any file
(CVE-2022-25882, CVE-2024-27318).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from slimedge.errors import InputError
from slimedge.sniffing import Content, sniff

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

# protobuf's own bound on one message.
_MAX_BYTES = (2 << 30) - 1
# TensorProto's UINT4, INT4, FLOAT4E2M1; UINT2, INT2.
_FOUR_BITS, _TWO_BITS = (21, 22, 23), (25, 26)


def load(path: Path | str) -> ModelProto:
    """Parse an `.onnx` file and check where its weights lie; those in other files are not loaded.

    Args:
        path: the file.

    Raises:
        InputError: not an ONNX model, cut off, damaged, or with weights that are missing or lie elsewhere.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    content = sniff(path)
    if content not in (Content.ONNX, Content.UNKNOWN):
        raise InputError(f"{path} is {content}, not an ONNX model; give a .onnx file.")
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise InputError(
            f"{path} has {size:,} bytes, and an ONNX file holds 2 GiB at most; keep its weights in a file beside it."
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise InputError(
            f"{path} is cut off, damaged or no ONNX model; copy it again, or export it again."
        ) from error
    if not model.ir_version or not model.opset_import or not model.graph.output:
        raise InputError(f"{path} is cut off, damaged or no ONNX model; copy it again, or export it again.")
    locations(model, path)
    return model


def locations(model: ModelProto, path: Path) -> tuple[Path, ...]:
    """Give the files beside a model that hold its weights.

    Args:
        model: parsed from `path`.
        path: of the model.

    Returns:
        Each file once, in the order in which the model names them.

    Raises:
        InputError: a location outside the model's folder, a symbolic link, or a file that is missing or too
            short.
    """
    from onnx import TensorProto

    found: dict[str, Path] = {}
    for tensor in tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        facts = {entry.key: entry.value for entry in tensor.external_data}
        location = facts.get("location", "")
        found.setdefault(location, _inside(location, tensor.name, path))
        try:
            offset, length = int(facts.get("offset", 0)), int(facts.get("length", 0))
        except ValueError:
            offset = length = -1
        length = max(length, _bytes_needed(tensor)) if min((length, *tensor.dims)) >= 0 else -1
        held = found[location].stat().st_size
        if offset < 0 or length < 0 or offset + length > held:
            raise InputError(
                f"{path} wants {length:,} bytes at {offset:,} of '{location}' for '{tensor.name}', which has {held:,}; "
                "copy both files again, or export again."
            )
    return tuple(found.values())


def _inside(location: str, tensor: str, path: Path) -> Path:
    """Give the file at a location that a model names, if it is a plain file in the model's folder."""
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not location or "\0" in location or ".." in (*parts, *windows.parts) or windows.anchor:
        raise InputError(
            f"{path} wants the weights '{tensor}' from '{location}', outside its own folder; only files beside the "
            "model are read, so put them there and export again."
        )
    file = path.parent
    for part in parts:
        file /= part
        if file.is_symlink():
            raise InputError(
                f"{path} wants the weights '{tensor}' from '{location}', and {file} is a symbolic link; put the file "
                "itself beside the model."
            )
    if not file.is_file():
        raise InputError(
            f"{path} has its weights in '{location}', and there is no file {file}; copy it beside the model."
        )
    return file


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Give every tensor that a model holds: initializers, and those in attributes, of subgraphs as well."""
    tops = [model.graph]
    for training in model.training_info:
        tops.extend((training.initialization, training.algorithm))
    nodes = [node for function in model.functions for node in function.node]
    tops.extend(inner for node in nodes for inner in _subgraphs(node))
    every = [graph for top in tops for graph in graphs(top)]
    nodes.extend(node for graph in every for node in graph.node)
    sparse = [tensor for graph in every for tensor in graph.sparse_initializer]
    for graph in every:
        yield from graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            yield from attribute.tensors
            sparse.extend(attribute.sparse_tensors)
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                sparse.append(attribute.sparse_tensor)
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Give a graph and all graphs inside its nodes."""
    todo = [graph]
    while todo:
        current = todo.pop()
        yield current
        todo.extend(inner for node in current.node for inner in _subgraphs(node))


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def type_of(tensor: TensorProto) -> tuple[str, int]:
    """Give the name of a tensor's element type and the bits of one number; of an unknown type 0."""
    from onnx import helper

    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        return "unknown", 0
    small = 4 if tensor.data_type in _FOUR_BITS else 2 if tensor.data_type in _TWO_BITS else 0
    return dtype.name, small or dtype.itemsize * 8


def _bytes_needed(tensor: TensorProto) -> int:
    return -(-math.prod(int(size) for size in tensor.dims) * type_of(tensor)[1] // 8)


def values_of(tensor: TensorProto, path: Path) -> NDArray[Any]:
    """Give a tensor's numbers; one that lies in another file must have been checked before."""
    from onnx import TensorProto, numpy_helper

    try:
        if tensor.data_location == TensorProto.EXTERNAL:
            facts = {entry.key: entry.value for entry in tensor.external_data}
            plain = TensorProto()
            plain.CopyFrom(tensor)
            plain.ClearField("external_data")
            plain.data_location = TensorProto.DEFAULT
            with (path.parent / facts["location"]).open("rb") as file:
                file.seek(int(facts.get("offset", 0)))
                plain.raw_data = file.read(_bytes_needed(tensor))
            return numpy_helper.to_array(plain)
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
        raise InputError(
            f"{path} has weights '{tensor.name}' whose bytes do not fit their shape {list(tensor.dims)}; "
            "copy it again, or export it again."
        ) from error
