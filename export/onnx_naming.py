"""Keras names on every node and tensor of an ONNX graph."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from onnx import NodeProto

from slimedge.export.onnx_graph import OnnxGraph, rename_inputs


def name_after_layers(
    graph: OnnxGraph, layers: Collection[str], inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> None:
    """Name nodes and tensors `layer/Op`, outputs as Keras names them, and open dimensions `batch`.

    Args:
        graph: changed in place.
        layers: names of the Keras layers.
        inputs: present tensor name to Keras input name.
        outputs: present tensor name to Keras output name.
    """
    known = set(layers)
    final = {**inputs, **outputs}
    taken = set(final.values())
    of_node = {id(node): _layer_of(node, known, graph.layers) for node in graph.nodes}
    _inherit(graph, of_node)
    for node in graph.nodes:
        layer = of_node[id(node)] or "model"
        node.name = _free(f"{layer}/{node.op_type}", taken)
        for tensor in node.output:
            if tensor and tensor not in final:
                final[tensor] = _free(f"{layer}/{node.op_type}:out", taken)
        for position, tensor in enumerate(node.input):
            if tensor in graph.constants and tensor not in final:
                final[tensor] = _free(f"{layer}/{_role(node, position)}", taken)
    for node in graph.nodes:
        rename_inputs(node, final)
        for index, tensor in enumerate(node.output):
            node.output[index] = final.get(tensor, tensor)
    graph.constants = {final.get(name, name): value for name, value in graph.constants.items()}
    graph.inputs = [final[name] for name in graph.inputs]
    graph.outputs = [final[name] for name in graph.outputs]
    for value in (*graph.model.graph.input, *graph.model.graph.output):
        value.name = final.get(value.name, value.name)
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if not size.HasField("dim_value") or size.dim_value < 0:
                size.dim_param = "batch" if axis == 0 else f"{value.name}_{axis}"


def layer_of_scope(scope: str, layers: Collection[str]) -> str | None:
    """Give the Keras layer that a TensorFlow scope (`model_1/conv_1/BiasAdd`) belongs to, the innermost one."""
    for part in reversed(re.split(r"[/;:]", scope)):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return name
    return None


def _layer_of(node: NodeProto, layers: Collection[str], weights: Mapping[str, str]) -> str | None:
    for tensor in (*node.input, *node.output):
        if layer_of_scope(weights.get(tensor, ""), layers):
            return layer_of_scope(weights[tensor], layers)
    for scope in (node.name, *node.output):
        found = layer_of_scope(scope, layers)
        if found:
            return found
    return None


def _inherit(graph: OnnxGraph, of_node: dict[int, str | None]) -> None:
    """Give a node without a layer that of its kernel's DequantizeLinear, else of what precedes or follows it."""
    producers, consumers = graph.producers(), graph.consumers()
    for _ in range(3):
        for node in graph.nodes:
            if of_node[id(node)]:
                continue
            before = [producers[name] for name in reversed(node.input) if name in producers]
            after = [taker for name in node.output for taker in consumers.get(name, [])]
            near = (of_node[id(other)] for other in (*after, *before))
            of_node[id(node)] = next((name for name in near if name), None)


def _role(node: NodeProto, position: int) -> str:
    if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
        return ("values", "scale", "zero_point")[position]
    if node.op_type in {"Conv", "ConvTranspose", "Gemm"} and position:
        return ("", "kernel", "bias")[position]
    return f"{node.op_type.lower()}_{position}"


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
