"""What stands before a QuantizeLinear, moved behind it or dropped, so that a convolution meets its rounding."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from slimedge.export.onnx_graph import OnnxGraph


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
        if not graph.rounds_to_bytes(quantize):
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
