"""A small editor over an ONNX graph: who makes a tensor, who takes it, what is constant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper

# Ops that hand their first input's numbers on in other places, so that its scale is also theirs.
MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze"})


class OnnxGraph:
    """Nodes and initializers of a model, editable; `finish` writes them back.

    Args:
        model: changed by `finish` only.

    Attributes:
        nodes: in order.
        constants: by name.
        layers: Keras layer of each weight that was filled in, by the tensor that it became.
        inputs: names of the model's inputs.
        outputs: names of the model's outputs.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.layers: dict[str, str] = {}
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]

    def producer(self, tensor: str) -> NodeProto | None:
        """Give the node that makes a tensor."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def producers(self) -> dict[str, NodeProto]:
        """Map each tensor to the node that makes it."""
        return {tensor: node for node in self.nodes for tensor in node.output}

    def consumers(self) -> dict[str, list[NodeProto]]:
        """Map each tensor to the nodes that take it, in a loop's body as well; a model output is taken by nobody."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for tensor in (*node.input, *captured(node)):
                found.setdefault(tensor, []).append(node)
        return found

    def rounds_to_bytes(self, node: NodeProto) -> bool:
        """Tell whether a QuantizeLinear or DequantizeLinear has a type that runtimes compute with: of 8 bits."""
        return self.constants[node.input[2]].dtype.itemsize == 1

    def add_constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant under a free name, and give that name."""
        while name in self.constants:
            name += "_"
        self.constants[name] = value
        return name

    def insert_before(self, node: NodeProto, new: NodeProto) -> None:
        """Put a node in front of another."""
        position = next(index for index, other in enumerate(self.nodes) if other is node)
        self.nodes.insert(position, new)

    def remove(self, gone: Iterable[NodeProto]) -> None:
        """Remove nodes."""
        identities = {id(node) for node in gone}
        self.nodes = [node for node in self.nodes if id(node) not in identities]

    def remove_unused(self) -> None:
        """Remove nodes whose results nobody takes."""
        while True:
            consumers = self.consumers()
            unused = [
                node
                for node in self.nodes
                if not any(tensor in consumers or tensor in self.outputs for tensor in node.output)
            ]
            if not unused:
                return
            self.remove(unused)

    def redirect(self, old: str, new: str) -> None:
        """Let everybody who takes `old` take `new`."""
        for node in self.nodes:
            rename_inputs(node, {old: new})

    def finish(self) -> ModelProto:
        """Write nodes and the constants in use, in the order of their use, back into the model."""
        used = dict.fromkeys(tensor for node in self.nodes for tensor in (*node.input, *captured(node)))
        used |= dict.fromkeys(self.outputs)
        graph = self.model.graph
        del graph.node[:]
        del graph.initializer[:]
        del graph.value_info[:]
        graph.node.extend(self.nodes)
        for name in [name for name in used if name in self.constants]:
            graph.initializer.append(numpy_helper.from_array(self.constants.pop(name), name))
        kept = [value for value in graph.input if value.name in self.inputs]
        del graph.input[:]
        graph.input.extend(kept)
        return self.model


def captured(node: NodeProto) -> list[str]:
    """Give the tensors from outside that the bodies of a loop or condition take."""
    found: dict[str, None] = {}
    for body in _bodies(node):
        own = _made_in(body)
        taken = [tensor for inner in body.node for tensor in (*inner.input, *captured(inner))]
        found |= dict.fromkeys(tensor for tensor in taken if tensor and tensor not in own)
    return list(found)


def rename_inputs(node: NodeProto, names: Mapping[str, str]) -> None:
    """Let a node, and the bodies in it, take other tensors."""
    for index, tensor in enumerate(node.input):
        node.input[index] = names.get(tensor, tensor)
    for body in _bodies(node):
        own = _made_in(body)
        outer = {old: new for old, new in names.items() if old not in own}
        for inner in body.node:
            rename_inputs(inner, outer)


def _bodies(node: NodeProto) -> list[GraphProto]:
    return [item.g for item in node.attribute if item.type == AttributeProto.GRAPH]


def _made_in(body: GraphProto) -> set[str]:
    names = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    return names | {tensor for node in body.node for tensor in node.output}


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Give a node's attribute as a Python value, or the default."""
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def moved(node: NodeProto, value: NDArray[Any], constants: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Do to an array what a shape op does to its first input; None where the node is something else."""
    kind = node.op_type
    if kind == "Identity":
        return value
    if kind == "Transpose":
        return np.transpose(value, attribute(node, "perm"))
    if kind not in {"Reshape", "Squeeze", "Unsqueeze"} or len(node.input) < 2:
        return None
    argument = constants.get(node.input[1])
    if argument is None:
        return None
    numbers = tuple(int(number) for number in argument.ravel())
    if kind == "Reshape":
        sizes = [value.shape[axis] if size == 0 else size for axis, size in enumerate(numbers)]
        return value.reshape(sizes)
    return np.squeeze(value, numbers) if kind == "Squeeze" else np.expand_dims(value, numbers)
