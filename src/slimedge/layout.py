"""A channels_first model as a channels_last one: TensorFlow's CPU kernels, TFLite and integer kernels know only that.

Kernels have the same layout in both (Keras keeps height, width, inputs, outputs), so only tensors are transposed: once
behind each input and before whatever looks at positions, and not at all between layers that follow the channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slimedge.graph import Graph, Layer, Node, Value, with_arguments

FIRST, LAST = "channels_first", "channels_last"
# They treat every number alike, so they follow the layout of what they are given.
ELEMENTWISE = frozenset(
    {
        "ActivityRegularization",
        "Dropout",
        "ELU",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "LeakyReLU",
        "ReLU",
    }
)
ACTIVATIONS_OVER_AN_AXIS = frozenset({"softmax", "log_softmax", "sparsemax", "glu"})
MERGING = frozenset({"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"})
# One weight a channel, along `axis`.
ALONG_AXIS = frozenset({"BatchNormalization", "GroupNormalization"})
RANKS = (3, 4, 5)


def is_channels_first(graph: Graph) -> bool:
    """Tell whether any layer of a graph takes channels before positions."""
    return any(node.layer.config.get("data_format") == FIRST for node in graph.nodes)


def channels_last(graph: Graph) -> Graph:
    """Give the graph with every channels_first layer turned, and the same inputs and outputs.

    Args:
        graph: any; what is channels_last or has no layout stays as it is.
    """
    turn = _Turn(graph)
    for node in graph.nodes:
        turn.add(node)
    outputs = {value: turn.first(value) for value in graph.outputs}
    return replace(
        graph,
        nodes=tuple(turn.nodes),
        outputs=tuple(outputs[value] for value in graph.outputs),
        output_structure=with_arguments(graph.output_structure, outputs),
    )


@dataclass(slots=True)
class _Turn:
    """The nodes made so far, and which values of the old graph exist in which layout.

    `firsts` and `lasts` map a value of the old graph to its form as it was and with channels last; one of them may be
    missing, and is made where something asks for it.
    """

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    firsts: dict[Value, Value] = field(default_factory=dict)
    lasts: dict[Value, Value] = field(default_factory=dict)
    layers: dict[Layer, Layer] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.firsts.update((value, value) for value in self.graph.inputs)
        self.names.update(node.name for node in self.graph.nodes)
        self.names.update(node.layer.name for node in self.graph.nodes)
        self.names.update(self.graph.input_names)

    def first(self, value: Value) -> Value:
        if value not in self.firsts:
            order = (len(value.shape) - 1, *range(1, len(value.shape) - 1))
            self.firsts[value] = self._permuted(value, self.lasts[value], order, "channels_first")
        return self.firsts[value]

    def last(self, value: Value) -> Value:
        if value not in self.lasts:
            order = (*range(2, len(value.shape)), 1)
            self.lasts[value] = self._permuted(value, self.firsts[value], order, "channels_last")
        return self.lasts[value]

    def add(self, node: Node) -> None:
        turned = self._turned(node)
        if turned is None:
            moved = {value: self.first(value) for value in node.inputs}
            self.nodes.append(_with_inputs(node, moved, node.layer, node.outputs))
            self.firsts.update((value, value) for value in node.outputs)
            return
        moved = {value: self.last(value) for value in node.inputs}
        if len(node.output.shape) in RANKS:
            output = Value(_moved_shape(node.output.shape), node.output.dtype)
            self.lasts[node.output] = output
        else:  # a pooling or flattening that leaves no positions
            output = node.output
            self.firsts[output] = output
        self.nodes.append(_with_inputs(node, moved, turned, (output,)))

    def _turned(self, node: Node) -> Layer | None:
        """The layer as it works on channels_last inputs, or None where it takes them as they were."""
        if (
            len(node.outputs) != 1
            or not all(len(value.shape) in RANKS for value in node.inputs)
            or not node.inputs
        ):
            return None
        changes = self._changes(node)
        if changes is None:
            return None
        if node.layer not in self.layers:
            self.layers[node.layer] = node.layer.changed(**changes) if changes else node.layer
        return self.layers[node.layer]

    def _changes(self, node: Node) -> Mapping[str, Any] | None:
        """Settings to change for channels_last inputs, or None where the layer does not follow the layout."""
        kind, config = node.layer.kind, node.layer.config
        if config.get("data_format") == FIRST and len(node.inputs) == 1:
            return {"data_format": LAST}
        # What follows is turned only where its input already is; a layer in a channels_last part stays.
        if not any(value in self.lasts for value in node.inputs):
            return None
        rank = len(node.inputs[0].shape)
        if any(len(value.shape) != rank for value in node.inputs):
            return None
        if kind in ELEMENTWISE or (kind in MERGING and len(node.inputs) > 1 and _takes_values_only(node)):
            return {}
        if kind == "Activation":
            return (
                {} if config.get("activation") not in ACTIVATIONS_OVER_AN_AXIS and _is_named(config) else None
            )
        if kind in ALONG_AXIS:
            return {"axis": -1} if config.get("axis") == 1 else None
        if kind == "Concatenate" and isinstance(config.get("axis"), int):
            axis = config["axis"] % rank
            return None if axis == 0 else {"axis": rank - 1 if axis == 1 else axis - 1}
        return None

    def _permuted(self, value: Value, source: Value, order: tuple[int, ...], suffix: str) -> Value:
        from keras import layers

        producer = next((node.source for node in self.nodes if source in node.outputs), "")
        owner = producer or self.graph.input_names[self.graph.inputs.index(value)]
        name = f"{owner}_{suffix}"
        while name in self.names:
            name += "_"
        self.names.add(name)
        shape = (source.shape[0], *(source.shape[axis] for axis in order))
        result = Value(shape, value.dtype)
        layer = Layer(layers.Permute, {"name": name, "dims": list(order), "dtype": "float32"})
        if value.dtype != "float32":
            layer = layer.changed(dtype=value.dtype)
        self.nodes.append(Node(name, owner, layer, (source,), {}, (result,)))
        return result


def _takes_values_only(node: Node) -> bool:
    """Whether all operands are tensors of the graph; a constant would have to be turned as well."""
    import keras

    return not any(
        hasattr(leaf, "shape") and not isinstance(leaf, Value) for leaf in keras.tree.flatten(node.args)
    )


def _is_named(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("activation"), str)


def _moved_shape(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:], shape[1])


def _with_inputs(node: Node, moved: Mapping[Value, Value], layer: Layer, outputs: tuple[Value, ...]) -> Node:
    return replace(
        node,
        layer=layer,
        args=with_arguments(node.args, moved),
        kwargs=with_arguments(dict(node.kwargs), moved),
        outputs=outputs,
    )
