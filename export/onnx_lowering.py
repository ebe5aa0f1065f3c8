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


def fuse_dense(graph: OnnxGraph) -> None:
    """Turn MatMul with a 2-D constant and the bias that follows into one Gemm, where the input is 2-D."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(graph.model).graph
    tensors = (*inferred.value_info, *inferred.input)
    sizes = {v.name: tuple(size.dim_value for size in v.type.tensor_type.shape.dim) for v in tensors}
    sizes |= {name: constant.shape for name, constant in graph.constants.items()}
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


def pad_integers(graph: OnnxGraph) -> None:
    """Pad integers with their zero point instead of real numbers with 0, so that a convolution behind can be integer.

    A causal convolution is a Pad and a convolution without one.
    """
    producers, consumers = graph.producers(), graph.consumers()
    for pad in [node for node in graph.nodes if node.op_type == "Pad" and _pads_with_zeros(graph, node)]:
        if any(taker.op_type == "QuantizeLinear" for taker in consumers.get(pad.output[0], [])):
            continue  # a ZeroPadding, which is rounded as it is
        chain: list[NodeProto] = []
        source = producers.get(pad.input[0])
        while source is not None and source.op_type in _MOVES - {"Pad"}:
            chain.append(source)
            source = producers.get(source.input[0])
        if source is None or source.op_type != "DequantizeLinear" or graph.constants[source.input[1]].ndim:
            continue
        tensor, final = source.input[0], pad.output[0]
        place = next(index for index, other in enumerate(graph.nodes) if other is pad)
        made = []
        for number, node in enumerate(reversed(chain)):
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.input[0], copy.output[0] = tensor, f"{final}_moved_{number}"
            tensor = copy.output[0]
            made.append(copy)
        zero = graph.add_constant(f"{final}_zero", np.asarray(graph.constants[source.input[2]]).reshape(()))
        integer = helper.make_node("Pad", [tensor, pad.input[1], zero], [f"{final}_integers"], pad.name)
        real = helper.make_node(
            "DequantizeLinear", [integer.output[0], *source.input[1:3]], [final], f"{source.name}_padded"
        )
        graph.nodes[place : place + 1] = [*made, integer, real]
    graph.remove_unused()


def squeeze_after_rounding(graph: OnnxGraph) -> None:
    """Put the Squeeze of a convolution of sequences behind its QuantizeLinear, so that the two can run as one."""
    consumers, producers = graph.consumers(), graph.producers()
    for squeeze in [node for node in graph.nodes if node.op_type == "Squeeze"]:
        source, takers = producers.get(squeeze.input[0]), consumers.get(squeeze.output[0], [])
        if source is None or source.op_type != "Conv" or squeeze.output[0] in graph.outputs:
            continue
        if (
            consumers[squeeze.input[0]] != [squeeze]
            or len(takers) != 1
            or takers[0].op_type != "QuantizeLinear"
        ):
            continue
        quantize, final = takers[0], takers[0].output[0]
        quantize.input[0], quantize.output[0] = squeeze.input[0], f"{final}_unsqueezed"
        squeeze.input[0], squeeze.output[0] = quantize.output[0], final
        graph.remove([squeeze])
        place = next(index for index, other in enumerate(graph.nodes) if other is quantize) + 1
        graph.nodes.insert(place, squeeze)


def quantize_biases(graph: OnnxGraph) -> None:
    """Write the bias of each integer layer as int32 in units of input scale · kernel scale."""
    producers = graph.producers()
    for node in list(graph.nodes):
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm"} or len(node.input) < 3:
            continue
        kernel, given = producers.get(node.input[1]), _dequantized(producers, node.input[0])
        bias = graph.constants.get(node.input[2])
        if kernel is None or kernel.op_type != "DequantizeLinear" or given is None or bias is None:
            continue
        step = graph.constants[given.input[1]].astype(np.float64) * graph.constants[kernel.input[1]]
        scale = np.asarray(step, np.float32)
        limits = np.iinfo(np.int32)
        integers = np.clip(np.rint(bias / scale.astype(np.float64)), limits.min, limits.max).astype(np.int32)
        name = f"{node.output[0]}_bias"
        inputs = [graph.add_constant(f"{name}_int32", integers), graph.add_constant(f"{name}_scale", scale)]
        inputs.append(graph.add_constant(f"{name}_zero", np.zeros(scale.shape, np.int32)))
        extra: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        graph.insert_before(node, helper.make_node("DequantizeLinear", inputs, [name], name, **extra))
        node.input[2] = name


# Ops that hand their input's numbers on, so that its scale is also theirs.
_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad"}


def _dequantized(producers: Mapping[str, NodeProto], tensor: str) -> NodeProto | None:
    """The DequantizeLinear from which a tensor comes, through ops that only move numbers."""
    node = producers.get(tensor)
    while node is not None and node.op_type in _MOVES:
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def keep_zero_padding(graph: OnnxGraph) -> None:
    """Write the zeros of a Pad in front of a MaxPool as the smallest number that is not zero.

    ONNX Runtime fuses a Pad of zeros into the pooling, which pads with minus infinity: where the window holds negative
    numbers only, the maximum is another one.
    """
    consumers = graph.consumers()
    smallest = np.asarray(np.finfo(np.float32).tiny)
    for node in graph.nodes:
        takers = consumers.get(node.output[0], []) if node.op_type == "Pad" else []
        if any(taker.op_type == "MaxPool" for taker in takers) and _pads_with_zeros(graph, node):
            del node.input[2:]
            node.input.append(graph.add_constant(f"{node.output[0]}_value", smallest))


def _pads_with_zeros(graph: OnnxGraph, node: NodeProto) -> bool:
    if attribute(node, "mode", b"constant") != b"constant" or len(node.input) > 3:
        return False
    value = graph.constants.get(node.input[2]) if len(node.input) == 3 and node.input[2] else np.float32(0)
    return value is not None and value.dtype == np.float32 and not np.any(value)


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


def drop_clipped_relus(graph: OnnxGraph) -> None:
    """Remove a Relu or Clip that only a QuantizeLinear follows which clips at least as much."""
    consumers, producers = graph.consumers(), graph.producers()
    gone = []
    for node in graph.nodes:
        takers = consumers.get(node.output[0], [])
        if node.op_type not in {"Relu", "Clip"} or not takers or node.output[0] in graph.outputs:
            continue
        bounds = _bounds(graph, node)
        if bounds is None:
            continue
        low, high = bounds
        if all(taker.op_type == "QuantizeLinear" for taker in takers) and all(
            _covers(graph, taker, low, high) for taker in takers
        ):
            gone.append(node)
            source = producers.get(node.input[0])
            shared = len(consumers[node.input[0]]) > 1 or node.input[0] in graph.outputs
            if source is None or shared:
                graph.redirect(node.output[0], node.input[0])
            else:
                source.output[list(source.output).index(node.input[0])] = node.output[0]
    graph.remove(gone)


def _covers(graph: OnnxGraph, quantize: NodeProto, low: float, high: float) -> bool:
    scale, zero = graph.constants[quantize.input[1]], graph.constants[quantize.input[2]]
    limits = np.iinfo(zero.dtype)
    bottom = float(scale) * (limits.min - int(zero))
    top = float(scale) * (limits.max - int(zero))
    return bottom >= low and top <= high * (1 + 1e-6)


def integer_relus(graph: OnnxGraph) -> None:
    """Move a Relu or Clip behind the QuantizeLinear that follows, where it clips integers.

    Rounding keeps the order and 0 is on the grid, so the numbers stay the same; in between, ONNX Runtime would fuse it
    with the convolution before it, and compute both in float.
    """
    consumers = graph.consumers()
    for node in [node for node in graph.nodes if node.op_type in {"Relu", "Clip"}]:
        takers = consumers.get(node.output[0], [])
        bounds = _bounds(graph, node)
        alone = consumers.get(node.input[0]) == [node] and node.input[0] not in graph.outputs
        if bounds is None or not alone or len(takers) != 1 or node.output[0] in graph.outputs:
            continue
        quantize = takers[0]
        if quantize.op_type != "QuantizeLinear" or graph.producer(node.input[0]) is None:
            continue
        scale, zero = (graph.constants[name] for name in quantize.input[1:3])
        limits = np.iinfo(zero.dtype)
        name = quantize.output[0]
        steps = np.rint(np.array(bounds, np.float32) / scale) + zero
        ends = [np.asarray(step, zero.dtype) for step in np.clip(steps, limits.min, limits.max)]
        inputs = [graph.add_constant(f"{name}_end", end) for end in ends]
        quantize.input[0], quantize.output[0] = node.input[0], f"{name}_unclipped"
        place = next(index for index, other in enumerate(graph.nodes) if other is quantize) + 1
        clip = helper.make_node("Clip", [quantize.output[0], *inputs], [name], node.name)
        graph.nodes.insert(place, clip)
        graph.remove([node])


def _bounds(graph: OnnxGraph, node: NodeProto) -> tuple[float, float] | None:
    """The ends to which a Relu or a Clip with constants clips."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    ends = [graph.constants.get(name) for name in node.input[1:3]]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return float(ends[0]), float(ends[1])


def signed_activations(graph: OnnxGraph) -> None:
    """Turn uint8 activations into int8 ones: the same grid, every zero point 128 lower."""
    signed: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or len(node.input) < 3:
            continue
        zero = graph.constants[node.input[2]]
        if zero.dtype == np.uint8:
            if node.input[2] not in signed:
                shifted = (zero.astype(np.int16) - 128).astype(np.int8)
                signed[node.input[2]] = graph.add_constant(f"{node.input[2]}_signed", shifted)
            node.input[2] = signed[node.input[2]]


def unsigned_kernels(graph: OnnxGraph) -> None:
    """Turn int8 kernels into uint8 ones with zero point 128: the same grid, and no x86 kernel saturates on it."""
    for node in graph.nodes:
        if node.op_type != "DequantizeLinear" or node.input[0] not in graph.constants:
            continue
        values, zero = graph.constants[node.input[0]], graph.constants[node.input[2]]
        if values.dtype == np.int8:
            shifted = (values.astype(np.int16) + 128).astype(np.uint8)
            node.input[0] = graph.add_constant(f"{node.input[0]}_unsigned", shifted)
            node.input[2] = graph.add_constant(
                f"{node.input[2]}_unsigned", np.full(zero.shape, 128, np.uint8)
            )


def integer_io(graph: OnnxGraph) -> None:
    """Take and give integers: remove each QuantizeLinear on an input and DequantizeLinear on an output."""
    consumers = graph.consumers()
    for value in graph.model.graph.input:
        takers = consumers.get(value.name, [])
        if not takers or any(taker.op_type != "QuantizeLinear" for taker in takers):
            continue
        zero = graph.constants[takers[0].input[2]]
        if any(list(taker.input[1:3]) != list(takers[0].input[1:3]) for taker in takers):
            continue
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(zero.dtype)
        graph.remove(takers)
        for taker in takers:
            graph.redirect(taker.output[0], value.name)
    producers, consumers = graph.producers(), graph.consumers()
    for value in graph.model.graph.output:
        node = producers.get(value.name)
        source = None if node is None else producers.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear" or source is None:
            continue
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(
            graph.constants[node.input[2]].dtype
        )
        inner = node.input[0]
        if value.name in consumers:  # it is used inside as well, as real numbers
            node.output[0] = f"{value.name}/DequantizeLinear:out"
            graph.redirect(value.name, node.output[0])
        else:
            graph.remove([node])
        source.output[0] = value.name
        graph.redirect(inner, value.name)
