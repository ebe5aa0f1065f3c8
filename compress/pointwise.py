"""Affine layers without a convolution to fold into, as 1×1 depthwise convolutions.

Both formats run these on integers, with a scale per channel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimedge.compress.folding import Affine, affine_of, normalized
from slimedge.compress.placement import joined_to_integers
from slimedge.compress.rules import Role, role_of
from slimedge.compress.simplifying import one_position
from slimedge.graph import Graph, Layer, Node, Value


def affine_to_depthwise(graph: Graph) -> Graph:
    """Turn each per-channel affine layer beside integer layers into a 1×1 depthwise convolution.

    A layer that is not per last-axis channel, or of rank over 4, or among float layers only, stays as it is. A row of
    numbers (rank 2) becomes a picture of one pixel for it, and for a ReLU behind it, so that the two can be fused.
    """
    found = _beside_integers(graph)
    consumers = graph.consumers()
    nodes: list[Node] = []
    done: set[Node] = set()
    made: dict[Layer, Layer] = {}
    for node in graph.nodes:
        if node in done:
            continue
        if node not in found:
            nodes.append(node)
            continue
        if node.layer not in made:
            made[node.layer] = _depthwise(node, found[node])
        new = replace(node, layer=made[node.layer], args=(node.inputs[0],), kwargs={})
        if len(node.output.shape) > 2:
            nodes.append(new)
            continue
        chain, takers = [new], consumers.get(node.output, [])
        if len(takers) == 1 and role_of(takers[0]) is Role.RELU and node.output not in graph.outputs:
            chain += takers
            done.update(takers)
        nodes += _on_a_pixel(graph, chain)
    return graph.with_nodes(nodes)


def _beside_integers(graph: Graph) -> dict[Node, Affine]:
    """The affine nodes that a chain of integer nodes joins to one that computes with a kernel or arithmetic."""
    affines = {
        node: affine
        for node in graph.nodes
        if len(node.output.shape) <= 4 and (affine := affine_of(node)) is not None
    }
    roles = dict.fromkeys(affines, Role.SAME_SCALE)
    for node in graph.nodes:
        role = role_of(node)
        if isinstance(role, Role):
            roles[node] = role
    joined = joined_to_integers(graph, roles)
    return {node: affine for node, affine in affines.items() if node in joined}


def _depthwise(node: Node, affine: Affine) -> Layer:
    from keras import layers

    gain, offset = affine
    one_d = len(node.output.shape) == 3
    kernel = gain.reshape((1, -1, 1) if one_d else (1, 1, -1, 1))
    config = {
        "name": node.layer.name,
        **one_position(1 if one_d else 2),
        "data_format": "channels_last",
        "dtype": node.layer.config.get("dtype", "float32"),
        "trainable": bool(node.layer.weights),  # a constant stays one
    }
    weights = (("kernel", kernel.astype(np.float32)), ("bias", offset.astype(np.float32)))
    return Layer(
        layers.DepthwiseConv1D if one_d else layers.DepthwiseConv2D, config, weights, normalized(node.layer)
    )


def _on_a_pixel(graph: Graph, chain: list[Node]) -> list[Node]:
    """Nodes in a row that take and give rows of numbers, on pictures of one pixel between two Reshapes."""
    first, last = chain[0], chain[-1]
    batch, channels = first.output.shape
    given = Value((batch, 1, 1, channels), first.output.dtype)
    made = [_reshape(graph, first, "pixel", first.inputs[0], given)]
    for node in chain:
        after = Value(given.shape, given.dtype)
        made.append(replace(node, args=(given,), kwargs={}, outputs=(after,)))
        given = after
    return [*made, _reshape(graph, last, "row", given, last.output)]


def _reshape(graph: Graph, node: Node, end: str, given: Value, after: Value) -> Node:
    from keras import layers

    name = graph.fresh_name(f"{node.name}_{end}")
    layer = Layer(layers.Reshape, {"name": name, "target_shape": after.shape[1:], "dtype": "float32"})
    return Node(name, node.source, layer, (given,), {}, (after,))
