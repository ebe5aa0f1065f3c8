"""Sums and products with constants, and hard sigmoids, as affine layers that fold into what stands beside them.

    hard_sigmoid(x) = relu6(x + 3) / 6 = min(relu(x / 6 + 1/2), 1)

(Howard et al., 2019, "Searching for MobileNetV3", section 5.2): an affine map whose ends the clipping of its int8
grid makes. Behind a convolution of one use it costs nothing, elsewhere a 1×1 depthwise convolution
(`slimedge.compress.folding`). A `Rescaling` stands for every affine map here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.folding import rescaling_affine
from slimedge.compress.rules import relu_limit
from slimedge.graph import Graph, Layer, Node, Value, with_arguments

# Functions of keras.ops that are also activations.
ACTIVATIONS = {
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Tanh": "tanh",
}

Array = NDArray[np.float64]


def name_activations(graph: Graph) -> Graph:
    """Turn `keras.ops.relu6(x)` and its like into `Activation("relu6")(x)`."""
    from keras import layers

    nodes = []
    for node in graph.nodes:
        function = ACTIVATIONS.get(node.layer.kind)
        if function is None or len(node.args) != 1 or node.kwargs or not _is_float(node):
            nodes.append(node)
            continue
        config = {"name": node.layer.name, "activation": function, "dtype": "float32"}
        nodes.append(replace(node, layer=Layer(layers.Activation, config)))
    return graph.with_nodes(nodes)


def constants_to_rescaling(graph: Graph) -> Graph:
    """Turn `2 * x + 1`, `x / 6` and the like into `Rescaling`, where the constant is one number or one a channel."""
    nodes = []
    for node in graph.nodes:
        affine = _affine(node)
        nodes.append(node if affine is None else _rescaled(node, node.name, node.inputs[0], affine))
    return graph.with_nodes(nodes)


def split_hard_sigmoid(graph: Graph) -> Graph:
    """Turn `hard_sigmoid` into `Rescaling(1/6, 1/2)` and `ReLU(max_value=1)`."""
    nodes: list[Node] = []
    for node in graph.nodes:
        function = node.layer.config.get("activation")
        if node.layer.kind != "Activation" or function != "hard_sigmoid" or not _is_float(node):
            nodes.append(node)
            continue
        middle = Value(node.output.shape, node.output.dtype)
        affine = np.asarray(1 / 6), np.asarray(0.5)
        name = graph.fresh_name(f"{node.name}_rescaled")
        nodes.append(_rescaled(replace(node, outputs=(middle,)), name, node.inputs[0], affine))
        nodes.append(replace(node, layer=_relu(node.layer, 1.0), args=(middle,), kwargs={}))
    return graph.with_nodes(nodes)


def scale_before_relu(graph: Graph) -> Graph:
    """Let a positive factor and the ReLU before it change places: a · relu6(x) = min(relu(a · x), 6 a)."""
    producers, consumers = graph.producers(), graph.consumers()
    nodes = {node: [node] for node in graph.nodes}
    for node in graph.nodes:
        if not _is_rescaling(node):
            continue
        scale, offset = rescaling_affine(node.layer)
        relu = producers.get(node.inputs[0])
        if (
            relu is None
            or relu.output in graph.outputs
            or consumers[relu.output] != [node]
            or (limit := relu_limit(relu)) is None
            or scale.shape != ()
            or scale <= 0
            or np.any(offset != 0)
        ):
            continue
        middle = Value(node.output.shape, node.output.dtype)
        affine = _rescaled(replace(node, outputs=(middle,)), node.name, relu.inputs[0], (scale, offset))
        nodes[relu] = [affine]
        layer = _relu(relu.layer, None if np.isinf(limit) else float(limit * scale))
        nodes[node] = [replace(relu, layer=layer, args=(middle,), kwargs={}, outputs=node.outputs)]
    return graph.with_nodes(made for node in graph.nodes for made in nodes[node])


def scale_before_product(graph: Graph) -> Graph:
    """Let a factor go to the operand of a product that a ReLU makes: a · (x · relu(y)) = x · (a · relu(y))."""
    producers, consumers = graph.producers(), graph.consumers()

    def only(value: Value, taker: Node) -> bool:
        return consumers[value] == [taker] and value not in graph.outputs

    nodes = {node: [node] for node in graph.nodes}
    for node in graph.nodes:
        product = producers.get(node.inputs[0]) if _is_rescaling(node) else None
        if product is None or product.layer.kind != "Multiply" or not only(product.output, node):
            continue
        factor, offset = rescaling_affine(node.layer)
        operand = next(
            (
                value
                for value in product.inputs
                if product.inputs.count(value) == 1
                and value in producers
                and relu_limit(producers[value]) is not None
                and only(value, product)
                and value.shape == node.output.shape
            ),
            None,
        )
        if operand is None or np.any(offset != 0):
            continue
        scaled = Value(operand.shape, operand.dtype)
        arguments = with_arguments((product.args, dict(product.kwargs)), {operand: scaled})
        affine = _rescaled(replace(node, outputs=(scaled,)), node.name, operand, (factor, offset))
        nodes[product] = [affine]
        nodes[node] = [replace(product, args=arguments[0], kwargs=arguments[1], outputs=node.outputs)]
    return graph.with_nodes(made for node in graph.nodes for made in nodes[node])


def merge_rescalings(graph: Graph) -> Graph:
    """Make one `Rescaling` of two in a row that nobody else sees between."""
    consumers = graph.consumers()
    made_by: dict[Value, Node] = {}
    replaced: dict[Node, Node] = {}
    gone: set[Node] = set()
    for node in graph.nodes:
        if not _is_rescaling(node):
            continue
        given = node.inputs[0]
        before = made_by.get(given)
        made_by[node.output] = node
        if before is None or consumers[given] != [node] or given in graph.outputs:
            continue
        first = replaced.get(before, before)
        (one, start), (two, end) = (rescaling_affine(each.layer) for each in (first, node))
        gone.add(before)
        replaced[node] = _rescaled(node, node.name, first.inputs[0], (one * two, start * two + end))
    return graph.with_nodes(replaced.get(node, node) for node in graph.nodes if node not in gone)


def _is_float(node: Node) -> bool:
    """Whether all that a node takes and gives is float32, as what is put in its place will be."""
    return all(value.dtype == "float32" for value in (*node.inputs, *node.outputs))


def _is_rescaling(node: Node) -> bool:
    return node.layer.kind == "Rescaling" and len(node.inputs) == 1 and node.output.dtype == "float32"


def _affine(node: Node) -> tuple[Array, Array] | None:
    """Factor and summand of an operation on one tensor and one constant; None where it is something else."""
    tensors = [argument for argument in node.args if isinstance(argument, Value)]
    if node.kwargs or len(tensors) != 1 or len(node.inputs) != 1 or len(node.args) > 2:
        return None
    given = tensors[0]
    if not _is_float(node) or given.shape != node.output.shape:
        return None
    one, zero = np.asarray(1.0), np.asarray(0.0)
    if node.layer.kind == "Negative":
        return -one, zero
    if len(node.args) != 2:
        return None
    first = node.args[0] is given
    constant = _numbers(node.args[1 if first else 0], given.shape[-1])
    if constant is None:
        return None
    kind = node.layer.kind
    if kind == "Add":
        return one, constant
    if kind == "Subtract":
        return (one, -constant) if first else (-one, constant)
    if kind == "Multiply":
        return constant, zero
    if kind in {"Divide", "TrueDivide"} and first and np.all(constant != 0):
        return 1 / constant, zero
    return None


def _numbers(constant: Any, channels: int | None) -> Array | None:
    """A constant as one number or one a channel of the last axis; None where it is neither."""
    if not isinstance(constant, int | float | np.generic) and not hasattr(constant, "shape"):
        return None
    array = np.asarray(constant, np.float64)
    if array.size == 1:
        return array.reshape(())
    return array.ravel() if array.shape[-1] == array.size == channels else None


def _rescaled(node: Node, name: str, given: Value, affine: tuple[Array, Array]) -> Node:
    """What gives a node's outputs as an affine map of one value."""
    from keras import layers

    scale, offset = affine
    config = {"name": name, "scale": scale.tolist(), "offset": offset.tolist(), "dtype": "float32"}
    return replace(node, name=name, layer=Layer(layers.Rescaling, config), args=(given,), kwargs={})


def _relu(layer: Layer, limit: float | None) -> Layer:
    from keras import layers

    return Layer(layers.ReLU, {"name": layer.name, "max_value": limit, "dtype": "float32"})
