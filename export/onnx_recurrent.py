"""ONNX's LSTM and GRU operators in the place of recurrent layers that were taken out of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from slimedge.export.onnx_graph import OnnxGraph, captured
from slimedge.export.recurrent import GATES, Direction, Joint, Recurrence

# ONNX's order of gates, in Keras' numbering: LSTM has i o f c and Keras i f c o; both have z r h in a GRU.
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}


def join(graph: OnnxGraph, joint: Joint, *, apart: bool = False) -> None:
    """Put the operator between the tensor that the graph gives and those that it takes.

    Args:
        graph: changed in place; the tensors are no outputs and inputs afterwards.
        joint: the layer and its tensors.
        apart: keep the weights of two directions as two constants, each with scales of its own, joined by a Concat.
    """
    recurrence, given, made = joint.recurrence, joint.given, joint.made
    nodes = _Nodes(graph, recurrence)
    kind, count = recurrence.kind, len(recurrence.directions)
    backwards = recurrence.directions[0].backwards
    steps_first = nodes.add("Transpose", [given], perm=[1, 0, 2])
    parts = ("all", "hidden", "cell") if kind == "LSTM" else ("all", "hidden")
    every, *finals = (f"{recurrence.call}_{part}" for part in parts)
    nodes.put(
        kind,
        [steps_first, *nodes.weights(apart=apart)],
        [every, *finals],
        hidden_size=recurrence.units,
        direction="bidirectional" if count == 2 else "reverse" if backwards else "forward",
        **({"linear_before_reset": int(recurrence.reset_after)} if kind == "GRU" else {}),
    )
    if recurrence.sequences and count == 2:
        turned = nodes.add("Transpose", [every], perm=[2, 0, 1, 3])
        nodes.put("Reshape", [turned, nodes.numbers(0, 0, -1)], [made[0]])
    elif recurrence.sequences:
        squeezed = nodes.add("Squeeze", [every, nodes.numbers(1)])
        nodes.put("Transpose", [squeezed], [made[0]], perm=[1, 0, 2])
    elif count == 2:
        turned = nodes.add("Transpose", [finals[0]], perm=[1, 0, 2])
        nodes.put("Reshape", [turned, nodes.numbers(0, -1)], [made[0]])
    else:
        nodes.put("Squeeze", [finals[0], nodes.numbers(0)], [made[0]])
    states = [(state, index) for index in range(count) for state in finals]
    for tensor, (state, index) in zip(made[1:], states, strict=False):
        nodes.put("Gather", [state, nodes.constant("index", np.array(index, np.int64))], [tensor], axis=0)
    graph.outputs = [name for name in graph.outputs if name != given]
    graph.inputs = [name for name in graph.inputs if name not in made]
    proto = graph.model.graph
    for values, gone in ((proto.output, {given}), (proto.input, set(made))):
        kept = [value for value in values if value.name not in gone]
        del values[:]
        values.extend(kept)
    graph.nodes = _sorted([*graph.nodes, *nodes.made])


class _Nodes:
    """Makes the nodes and constants of one recurrence."""

    def __init__(self, graph: OnnxGraph, recurrence: Recurrence) -> None:
        self.graph, self.recurrence, self.made = graph, recurrence, list[NodeProto]()

    def put(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        name = f"{self.recurrence.layer}/{kind}"
        self.made.append(helper.make_node(kind, list(inputs), list(outputs), name, **attributes))

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        tensor = f"{self.recurrence.call}_{kind.lower()}_{len(self.made)}"
        self.put(kind, inputs, [tensor], **attributes)
        return tensor

    def constant(self, name: str, value: NDArray[Any]) -> str:
        return self.graph.add_constant(f"{self.recurrence.call}_{name}", value)

    def numbers(self, *numbers: int) -> str:
        return self.constant("axes", np.array(numbers, np.int64))

    def weights(self, *, apart: bool) -> list[str]:
        """Constants of kernel, recurrent kernel and bias, directions first."""
        directions = [_arrays(direction, self.recurrence.kind) for direction in self.recurrence.directions]
        names = []
        for name, arrays in zip(
            ("kernel", "recurrent_kernel", "bias"), zip(*directions, strict=True), strict=True
        ):
            if apart and len(arrays) == 2:
                parts = [self.constant(f"{name}_{index}", array[None]) for index, array in enumerate(arrays)]
                names.append(self.add("Concat", parts, axis=0))
            else:
                names.append(self.constant(name, np.stack(arrays)))
        return names


def _arrays(direction: Direction, kind: str) -> tuple[NDArray[np.float32], ...]:
    """Kernels of shape (gates · units, inputs) and the two biases in a row, gates in ONNX's order."""
    gates = GATES[kind]

    def ordered(array: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = np.split(array, gates, axis=-1)
        return np.concatenate([parts[gate] for gate in ORDER[kind]], axis=-1)

    bias = (
        direction.bias
        if direction.bias.ndim == 2
        else np.stack([direction.bias, np.zeros_like(direction.bias)])
    )
    return (
        np.ascontiguousarray(ordered(direction.kernel).T),
        np.ascontiguousarray(ordered(direction.recurrent_kernel).T),
        ordered(bias).reshape(-1),
    )


def _sorted(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Order nodes so that each follows those whose tensors it takes (Kahn, 1962), keeping the order where it may."""
    makers = {tensor: index for index, node in enumerate(nodes) for tensor in node.output if tensor}
    done: list[NodeProto] = []
    placed: set[int] = set()
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            index = stack[-1]
            taken = (*nodes[index].input, *captured(nodes[index]))
            waiting = [makers[name] for name in taken if name in makers and makers[name] not in placed]
            if index in placed:
                stack.pop()
            elif waiting:
                stack.extend(waiting)
            else:
                placed.add(index)
                done.append(nodes[index])
                stack.pop()
    return done
