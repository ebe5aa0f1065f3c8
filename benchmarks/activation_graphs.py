"""The activation memory of Keras models and of model files: what their layers and ops mean for `activation_memory`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from slimedge import graph_reading
from slimedge.benchmarks.activation_memory import Op, Peak, Role, fused, peak
from slimedge.benchmarks.file_graph import FileGraph, FileOp
from slimedge.compress import rules
from slimedge.compress.simplifying import TRAINING_ONLY
from slimedge.errors import InputError
from slimedge.graph import Node, Value

if TYPE_CHECKING:
    import keras


def of_model(model: keras.Model) -> Peak | None:
    """Find the activation memory of a Keras model for one example, a layer being one op.

    A quantized model counts as the files that are made of it: after a `FakeQuant` stand integers, before it nothing
    where the layer computes on integers, and its inputs and outputs are floats.

    Args:
        model: functional, Sequential or subclassed.

    Returns:
        The peak; None where a size other than the batch is open, and of a subclass whose call cannot be followed.
    """
    try:
        network = graph_reading.from_model(model)
    except InputError:
        return None
    names: dict[Value, str] = {}
    sizes: dict[str, int | None] = {}
    ops: list[Op] = []

    def name(value: Value) -> str:
        if value not in names:
            names[value] = str(len(names))
            sizes[names[value]] = _bytes(value)
        return names[value]

    for node in network.nodes:
        inputs, outputs = tuple(map(name, node.inputs)), tuple(map(name, node.outputs))
        if node.layer.kind != "FakeQuant":
            ops.append(Op(node.name, inputs, outputs, _layer_role(node)))
            continue
        integers = f"{outputs[0]} on its grid"
        sizes[integers] = _bytes(node.output, bits=8 if node.layer.config["bits"] <= 8 else 16)
        ops.append(Op(node.name, inputs, (integers,), Role.QUANTIZE))
        ops.append(Op(node.name, (integers,), outputs, Role.DEQUANTIZE))
    ends = tuple(map(name, network.inputs)), tuple(map(name, network.outputs))
    batch = network.inputs[0].shape[0] if network.inputs and network.inputs[0].shape else None
    return _for_one_example(ops, sizes, *ends, batch or 1)


def of_file(graph: FileGraph) -> Peak | None:
    """Find the activation memory of an ONNX or TFLite file for one example of its batch.

    While an op with graphs inside runs (a loop, a branch), the largest of them counts, too.

    Args:
        graph: of either format, whose op types differ.

    Returns:
        The peak; None where a size is not known.
    """
    constant = set(graph.weights)
    ops: list[Op] = []
    for op in graph.ops:
        takes = tuple(name for name in op.takes if name not in constant)
        if op.kind in _KNOWN_BEFORE or (op.takes and not takes):
            constant.update(op.gives)
        else:
            ops.append(Op(op.name, takes, op.gives, _file_role(op, constant), _body_bytes(op)))
    outputs = tuple(name for name in graph.outputs if name not in constant)
    return _for_one_example(ops, graph.tensor_bytes, graph.inputs, outputs, graph.batch)


def _for_one_example(
    ops: list[Op],
    sizes: Mapping[str, int | None],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    batch: int,
) -> Peak | None:
    found = peak(*fused(ops, sizes, inputs, outputs), inputs, outputs)
    return None if found is None else Peak(-(-found.bytes // batch), found.op)


def _bytes(value: Value, bits: int | None = None) -> int | None:
    """Give the bytes of a Keras tensor for a batch of 1 where any goes; None where its size or type is not known."""
    batch, *rest = value.shape or (1,)
    if None in rest:
        return None
    bits = bits or _KERAS_BITS.get(value.dtype)
    return (
        None if bits is None else (batch or 1) * prod(size for size in rest if size is not None) * bits // 8
    )


def _layer_role(node: Node) -> Role:
    if node.layer.kind == "FakeQuantWeights":
        return Role.PLAIN
    if node.layer.kind in TRAINING_ONLY or node.layer.kind in _KERAS_ALIASES:
        same = {(value.dtype, _bytes(value)) for value in (*node.inputs, *node.outputs)}
        if len(node.inputs) == len(node.outputs) == len(same) == 1:
            return Role.ALIAS
    role = rules.role_of(node)
    if isinstance(role, str) or role is rules.Role.WEIGHTED:  # its weights were left as they are
        return Role.FLOAT
    return Role.CLIP if role is rules.Role.RELU else Role.PLAIN


def _file_role(op: FileOp, constant: set[str]) -> Role:
    """Tell what an op means; where the first input is a constant, nothing is shared with it."""
    role = _FILE_ROLES.get(op.kind, Role.PLAIN)
    return role if op.takes and op.takes[0] not in constant and len(op.gives) == 1 else Role.PLAIN


def _body_bytes(op: FileOp) -> int | None:
    needed = 0
    for body in op.bodies:
        found = None if body is None else of_file(body)
        if found is None:
            return None
        needed = max(needed, found.bytes)
    return needed


# Their values are constants or follow from shapes, which are fixed.
_KNOWN_BEFORE = frozenset({"Constant", "RANK", "SHAPE", "Shape", "Size"})
_KERAS_ALIASES = frozenset({"ExpandDims", "Flatten", "Reshape", "Squeeze"})
_KERAS_BITS = {
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2"), 8),
    **dict.fromkeys(("bfloat16", "float16", "int16", "uint16"), 16),
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("complex64", "float64", "int64", "uint64"), 64),
    "complex128": 128,
}
# ONNX's op types are CamelCase and TFLite's upper case, so that one table holds both. TFLite's QUANTIZE and DEQUANTIZE
# are ops like others: around them nothing is fused.
_FILE_ROLES = {
    **dict.fromkeys(("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"), Role.ALIAS),
    **dict.fromkeys(("EXPAND_DIMS", "RESHAPE", "SQUEEZE"), Role.ALIAS),
    **dict.fromkeys(("Clip", "Relu"), Role.CLIP),
    # Through which ONNX Runtime moves DequantizeLinear and QuantizeLinear.
    **dict.fromkeys(("MaxPool", "Slice", "Transpose"), Role.MOVE),
    "QuantizeLinear": Role.QUANTIZE,
    "DequantizeLinear": Role.DEQUANTIZE,
}
