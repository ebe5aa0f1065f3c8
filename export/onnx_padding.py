"""Paddings that ONNX Runtime runs right, and on integers."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from slimedge.export.onnx_graph import MOVES, OnnxGraph, attribute


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
        while source is not None and source.op_type in MOVES:
            chain.append(source)
            source = producers.get(source.input[0])
        if source is None or source.op_type != "DequantizeLinear" or graph.constants[source.input[1]].ndim:
            continue
        if not graph.rounds_to_bytes(source):
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
