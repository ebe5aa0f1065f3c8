"""A functional Keras model as plain data: layers with their weights, calls, and the values between them.

Rewrites (folding, splitting, quantizing, pruning) are functions from `Graph` to `Graph`; `slimedge.graph_reading`
reads a Keras model, only `slimedge.graph_making` makes Keras objects again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.moments import Moments


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that flows between calls; two values are the same only if they are one object.

    Attributes:
        shape: sizes, None where any size goes (the batch).
        dtype: Keras name of the element type.
    """

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A Keras layer or operation taken apart: enough to make it again.

    One `Layer` object in several nodes is one shared layer.

    Attributes:
        type: its class.
        config: what `from_config` takes.
        weights: in the order of `layer.weights`, each with its variable's name.
        moments: of its output over the training data, where a BatchNorm that was folded into it tells.
    """

    type: type
    config: Mapping[str, Any]
    weights: tuple[tuple[str, NDArray[Any]], ...] = ()
    moments: Moments | None = None

    @property
    def kind(self) -> str:
        """The class name (`Conv2D`); that of a class which is not Keras' own has its module before it."""
        name, module = self.type.__name__, self.type.__module__
        return name if module.partition(".")[0] in {"keras", "slimedge"} else f"{module}.{name}"

    @property
    def name(self) -> str:
        """The Keras name."""
        return str(self.config.get("name", self.kind))

    def weight(self, name: str) -> NDArray[Any] | None:
        """Give the weight of that name, or None."""
        return next((array for weight, array in self.weights if weight == name), None)

    def with_affine(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Layer:
        """Give a copy that is known to give `gain · x + offset` in the place of x, per channel."""
        return self if self.moments is None else replace(self, moments=self.moments.affine(gain, offset))

    def with_arrays(self, arrays: Iterable[NDArray[Any]]) -> Layer:
        """Give a copy with other weights, in their order: the two halves of a Bidirectional have the same names."""
        named = zip(self.weights, arrays, strict=True)
        return replace(self, weights=tuple((name, array) for (name, _), array in named))

    def changed(self, *, weights: Mapping[str, NDArray[Any]] | None = None, **config: Any) -> Layer:
        """Give a copy with other settings, and with all weights replaced where they are given."""
        kept = self.weights if weights is None else tuple(weights.items())
        return replace(self, config={**self.config, **config}, weights=kept)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One call of a layer.

    Attributes:
        name: unique in its graph.
        source: name of the layer of the user's model that it stands for.
        layer: what is called.
        args: positional arguments, with `Value`s at the places of tensors.
        kwargs: named arguments, likewise.
        outputs: the values that it makes.
    """

    name: str
    source: str
    layer: Layer
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Value, ...]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The values among the arguments, in order."""
        return tuple(values_in((self.args, dict(self.kwargs))))

    @property
    def output(self) -> Value:
        """The first (mostly the only) output."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Calls in an order in which they can be made.

    Attributes:
        name: of the model.
        inputs: with `input_names`, in Keras order.
        outputs: with `output_names`, in Keras order.
        nodes: topologically sorted.
        input_structure: what the model's call takes (a tensor, list or dict) with `Value`s in it.
        output_structure: what it gives, likewise.
    """

    name: str
    inputs: tuple[Value, ...]
    input_names: tuple[str, ...]
    outputs: tuple[Value, ...]
    output_names: tuple[str, ...]
    nodes: tuple[Node, ...]
    input_structure: Any
    output_structure: Any

    def producers(self) -> dict[Value, Node]:
        """Map each value to the node that makes it."""
        return {value: node for node in self.nodes for value in node.outputs}

    def consumers(self) -> dict[Value, list[Node]]:
        """Map each value to the nodes that take it, in order; model outputs are not among them."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found.setdefault(value, []).append(node)
        return found

    def calls(self) -> dict[Layer, int]:
        """Count how often each layer is called."""
        counts: dict[Layer, int] = {}
        for node in self.nodes:
            counts[node.layer] = counts.get(node.layer, 0) + 1
        return counts

    def fresh_name(self, wanted: str) -> str:
        """Give `wanted`, or with a number behind it where that is taken."""
        taken = {node.name for node in self.nodes} | {node.layer.name for node in self.nodes}
        return fresh(wanted, taken | set(self.input_names))

    def with_nodes(self, nodes: Iterable[Node], replaced: Mapping[Value, Value] | None = None) -> Graph:
        """Give the graph with other nodes; `replaced` redirects values wherever they are used."""
        moved = dict(replaced or {})

        def final(value: Value) -> Value:
            while value in moved:
                value = moved[value]
            return value

        redirect = mapper(final)
        rewired = tuple(
            replace(node, args=redirect(node.args), kwargs=redirect(dict(node.kwargs))) for node in nodes
        )
        return replace(
            self,
            nodes=_without_dead(rewired, tuple(map(final, self.outputs))),
            outputs=tuple(map(final, self.outputs)),
            output_structure=redirect(self.output_structure),
        )


def with_values(
    graph: Graph, values: Mapping[Value, Value], layers: Mapping[Layer, Layer] | None = None
) -> Graph:
    """Give a graph with other values in the places of some, inputs and outputs included, and other layers."""

    def final(value: Value) -> Value:
        return values.get(value, value)

    redirect, changed = mapper(final), layers or {}
    return replace(
        graph,
        inputs=tuple(map(final, graph.inputs)),
        outputs=tuple(map(final, graph.outputs)),
        nodes=tuple(
            replace(
                node,
                layer=changed.get(node.layer, node.layer),
                args=redirect(node.args),
                kwargs=redirect(dict(node.kwargs)),
                outputs=tuple(map(final, node.outputs)),
            )
            for node in graph.nodes
        ),
        input_structure=redirect(graph.input_structure),
        output_structure=redirect(graph.output_structure),
    )


def with_arguments(structure: Any, values: Mapping[Value, Value]) -> Any:
    """Give a structure of arguments with other values in the places of some."""
    return mapper(lambda value: values.get(value, value))(structure)


def _without_dead(nodes: tuple[Node, ...], outputs: tuple[Value, ...]) -> tuple[Node, ...]:
    needed = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def values_in(structure: Any) -> list[Value]:
    """Give the values in a structure of arguments, in order."""
    import keras

    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, Value)]


def mapper(change: Callable[[Value], Any]) -> Callable[[Any], Any]:
    """Give a function that changes each value in a structure, and nothing else."""
    import keras

    def on(structure: Any) -> Any:
        return keras.tree.map_structure(
            lambda leaf: change(leaf) if isinstance(leaf, Value) else leaf, structure
        )

    return on


def fresh(wanted: str, taken: set[str]) -> str:
    """Give `wanted`, or with a number behind it where that is taken."""
    if wanted not in taken:
        return wanted
    return next(name for n in itertools.count(1) if (name := f"{wanted}_{n}") not in taken)
