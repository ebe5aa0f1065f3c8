"""From tf2onnx's graph to an exact one: int8 kernels, int32 biases, no op that does nothing.

tf2onnx sees the weights as inputs, so nothing of it copies or changes them; here they take their place,
integers with a DequantizeLinear where the Keras graph has them on a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from slimedge.errors import ConversionError
from slimedge.export.onnx_graph import OnnxGraph, attribute, moved
from slimedge.export.tracing import Weight

# Where the output channels lie in an ONNX kernel.
CONVOLUTIONS = {"Conv": 0, "ConvTranspose": 1}


def fill_weights(graph: OnnxGraph, weights: Mapping[str, Weight]) -> None:
    """Put each left-out weight in its place, through the transposes and reshapes that tf2onnx left there."""
    pending = {f"{name}:0": weight for name, weight in weights.items()}
    graph.inputs = [name for name in graph.inputs if name not in pending]
    consumers = graph.consumers()
    gone: list[NodeProto] = []
    for tensor, weight in pending.items():
        scale, channel = weight.scale, None
        if scale is not None:
            numbers = np.arange(scale.size, dtype=np.int32).reshape(scale.shape)
            channel = np.broadcast_to(numbers, weight.value.shape)
        for place in _place(graph, consumers, gone, tensor, weight.value, scale, channel):
            graph.layers[place] = weight.layer.rpartition("/")[0]
    graph.remove(gone)


def _place(
    graph: OnnxGraph,
    consumers: Mapping[str, list[NodeProto]],
    gone: list[NodeProto],
    tensor: str,
    value: NDArray[Any],
    scale: NDArray[np.float32] | None,
    channel: NDArray[np.int32] | None,
) -> list[str]:
    """Give the tensors that the weight became."""
    takers = consumers.get(tensor, [])
    rest, places = [], []
    for node in takers:
        new = moved(node, value, graph.constants) if node.input[0] == tensor else None
        if new is None:
            rest.append(node)
            continue
        # Each number's channel moves along with it: whatever the op does, it keeps its own scale.
        channels = None if channel is None else moved(node, channel, graph.constants)
        gone.append(node)
        places += _place(graph, consumers, gone, node.output[0], new, scale, channels)
    if not rest:
        return places
    places.append(tensor)
    if scale is None or channel is None:
        graph.constants[tensor] = np.ascontiguousarray(value)
        return places
    integers = graph.add_constant(f"{tensor}_int8", np.ascontiguousarray(value))
    axis, vector = _per_axis(scale, channel)
    step = graph.add_constant(f"{tensor}_scale", vector)
    zero = graph.add_constant(f"{tensor}_zero", np.zeros(vector.shape, np.int8))
    extra: dict[str, Any] = {} if axis is None else {"axis": axis}
    graph.insert_before(
        rest[0], helper.make_node("DequantizeLinear", [integers, step, zero], [tensor], tensor, **extra)
    )
    return places


def _per_axis(
    scale: NDArray[np.float32], channel: NDArray[np.int32]
) -> tuple[int | None, NDArray[np.float32]]:
    """Give the axis along which the channels lie, and their scales in that order."""
    if scale.size == 1:
        return None, np.asarray(scale.reshape(()))
    for axis, size in enumerate(channel.shape):
        line = channel[tuple(slice(None) if other == axis else 0 for other in range(channel.ndim))]
        if size == scale.size and len(np.unique(line)) == size:
            return axis, np.ascontiguousarray(scale.reshape(-1)[line])
    raise ConversionError(
        f"the {scale.size} channels of a kernel do not lie along one axis in ONNX (shape {channel.shape}); report "
        "the model, or export to TFLite."
    )


def sizes_of(graph: OnnxGraph) -> dict[str, tuple[int, ...]]:
    """Give the sizes of the tensors of a graph as it came, 0 where one is open."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(graph.model).graph
    tensors = (*inferred.value_info, *inferred.input)
    sizes = {v.name: tuple(size.dim_value for size in v.type.tensor_type.shape.dim) for v in tensors}
    return sizes | {name: constant.shape for name, constant in graph.constants.items()}


def drop_reshapes(graph: OnnxGraph, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Remove each Reshape to the shape that there is: tf2onnx makes one of a Transpose of a picture of one pixel.

    It would keep ONNX Runtime from joining the layouts on both sides, and cost two transposes.
    """
    for node in [node for node in graph.nodes if node.op_type == "Reshape"]:
        before, after = sizes.get(node.input[0], ()), graph.constants.get(node.input[1])
        if after is None or not before or node.output[0] in graph.outputs or attribute(node, "allowzero"):
            continue
        # An open size at the start is the same on both sides where all others are.
        wanted = [int(size) for size in after]
        if tuple(wanted[1:]) == before[1:] and wanted[0] in {-1, 0, before[0]}:
            graph.remove([node])
            graph.redirect(node.output[0], node.input[0])


def fuse_dense(graph: OnnxGraph, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Turn MatMul with a 2-D constant and the bias that follows into one Gemm, where the input is 2-D."""
    consumers = graph.consumers()
    gone = []
    for node in graph.nodes:
        if node.op_type != "MatMul" or any(len(sizes.get(name, ())) != 2 for name in node.input):
            continue
        takers = consumers.get(node.output[0], [])
        node.op_type = "Gemm"
        if len(takers) == 1 and takers[0].op_type == "Add" and node.output[0] not in graph.outputs:
            bias = next((name for name in takers[0].input if name != node.output[0]), "")
            if bias in graph.constants and graph.constants[bias].shape == sizes.get(node.input[1], ())[1:]:
                node.input.append(bias)
                node.output[0] = takers[0].output[0]
                gone.append(takers[0])
    graph.remove(gone)


def fold_affine(graph: OnnxGraph) -> None:
    """Fold the constant product and sum of an unfolded BatchNorm into the float convolution before it."""
    changed = True
    while changed:
        changed = False
        consumers = graph.consumers()
        for node in graph.nodes:
            if node.op_type not in CONVOLUTIONS or node.output[0] in graph.outputs:
                continue
            takers = consumers.get(node.output[0], [])
            if len(takers) == 1 and _fold_one(graph, consumers, node, takers[0]):
                graph.remove([takers[0]])
                changed = True
                break


def _fold_one(graph: OnnxGraph, consumers: Mapping[str, Any], conv: NodeProto, after: NodeProto) -> bool:
    kernel = graph.constants.get(conv.input[1])
    if after.op_type not in {"Mul", "Add"} or kernel is None or len(consumers[conv.input[1]]) != 1:
        return False
    other = next((name for name in after.input if name != conv.output[0]), "")
    constant = graph.constants.get(other)
    channels = kernel.shape[CONVOLUTIONS[conv.op_type]] * (
        attribute(conv, "group", 1) if conv.op_type == "ConvTranspose" else 1
    )
    if constant is None or constant.size != channels or kernel.dtype != np.float32:
        return False
    rank = kernel.ndim
    if constant.ndim and (constant.ndim < rank - 1 or constant.shape[-(rank - 1)] != channels):
        return False
    if conv.op_type == "ConvTranspose" and attribute(conv, "group", 1) != 1:
        return False
    vector = constant.reshape(-1).astype(np.float32)
    has_bias = len(conv.input) > 2 and conv.input[2]
    bias = graph.constants.get(conv.input[2]) if has_bias else np.zeros(channels, np.float32)
    if bias is None:
        return False
    if after.op_type == "Mul":
        shape = [-1 if axis == CONVOLUTIONS[conv.op_type] else 1 for axis in range(rank)]
        graph.constants[conv.input[1]] = kernel * vector.reshape(shape)
        bias = bias * vector
    else:
        bias = bias + vector
    name = graph.add_constant(f"{conv.input[1]}_bias", bias.astype(np.float32))
    if has_bias:
        conv.input[2] = name
    else:
        del conv.input[2:]
        conv.input.append(name)
    conv.output[0] = after.output[0]
    return True


def bias_before_squeeze(graph: OnnxGraph) -> None:
    """Give a convolution the bias that is added behind the Squeeze which makes it one of sequences."""
    consumers = graph.consumers()
    gone = []
    for node in graph.nodes:
        if node.op_type != "Conv" or len(node.input) > 2 or node.output[0] in graph.outputs:
            continue
        squeezes = consumers.get(node.output[0], [])
        squeeze = squeezes[0] if len(squeezes) == 1 and squeezes[0].op_type == "Squeeze" else None
        adds = (
            []
            if squeeze is None or squeeze.output[0] in graph.outputs
            else consumers.get(squeeze.output[0], [])
        )
        if squeeze is None or len(adds) != 1 or adds[0].op_type != "Add":
            continue
        other = next((name for name in adds[0].input if name != squeeze.output[0]), "")
        bias = graph.constants.get(other)
        # One number a channel, with one axis of positions left behind the channels.
        if bias is None or bias.ndim < 2 or bias.shape[-2:] != (bias.size, 1):
            continue
        node.input.append(graph.add_constant(f"{node.output[0]}_added", bias.reshape(-1)))
        squeeze.output[0] = adds[0].output[0]
        gone.append(adds[0])
    graph.remove(gone)


def drop_identities(graph: OnnxGraph) -> None:
    """Remove each Identity, but for one that makes an output of the model out of an input or another output."""
    for node in [node for node in graph.nodes if node.op_type == "Identity"]:
        source, target = node.input[0], node.output[0]
        maker = graph.producer(source)
        if target in graph.outputs and (maker is None or source in graph.outputs):
            continue
        graph.remove([node])
        if target not in graph.outputs:
            graph.redirect(target, source)
        elif maker is not None:
            maker.output[list(maker.output).index(source)] = target
            graph.redirect(source, target)
