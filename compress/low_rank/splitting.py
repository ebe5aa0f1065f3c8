"""A graph with some of its layers split into chains of smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from slimedge.compress.low_rank.options import Option
from slimedge.compress.low_rank.ways import WAYS, Part, Subject
from slimedge.graph import Graph, Layer, Node, Value

# Settings of a layer that only the last of its chain may have.
_LAST_ONLY: Mapping[str, Any] = {
    "use_bias": False,
    "bias_axes": None,
    "activation": "linear",
    "bias_regularizer": None,
    "bias_constraint": None,
    "activity_regularizer": None,
}


def split(graph: Graph, subjects: Mapping[str, Subject], chosen: Mapping[str, Option]) -> Graph:
    """Replace layers by chains of the ranks that were chosen; the last of a chain keeps the layer's name.

    Args:
        graph: any.
        subjects: its layers that can be split, by name.
        chosen: likewise what becomes of them; those that stay whole may be among them.
    """
    chains = {
        subjects[name].layer: _chain(
            graph, subjects[name].layer, WAYS[option.way].parts(subjects[name], option.ranks)
        )
        for name, option in chosen.items()
        if option.way
    }
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.extend(_called(node, chains[node.layer]) if node.layer in chains else [node])
    return graph.with_nodes(nodes)


def _called(node: Node, chain: list[Layer]) -> list[Node]:
    """The calls of a chain in the place of one call."""
    nodes: list[Node] = []
    given = node.inputs[0]
    for layer in chain[:-1]:
        operation = layer.type.from_config(dict(layer.config))  # type: ignore[attr-defined]
        made = Value(tuple(operation.compute_output_shape(given.shape)), node.output.dtype)
        suffix = layer.name.removeprefix(node.layer.name)
        nodes.append(Node(f"{node.name}{suffix}", node.source, layer, (given,), {}, (made,)))
        given = made
    return [*nodes, replace(node, layer=chain[-1], args=(given,), kwargs={})]


def _chain(graph: Graph, layer: Layer, parts: tuple[Part, ...]) -> list[Layer]:
    made = []
    for part in parts[:-1]:
        removed = {name: value for name, value in _LAST_ONLY.items() if name in layer.config}
        name = graph.fresh_name(f"{layer.name}_{part.suffix}")
        settings = {**removed, **_unconstrained(layer), **part.settings, "name": name}
        made.append(layer.changed(weights={"kernel": _as(layer, part.kernel)}, **settings))
    last = parts[-1]
    weights = {name: array if name != "kernel" else _as(layer, last.kernel) for name, array in layer.weights}
    return [*made, layer.changed(weights=weights, **_unconstrained(layer), **last.settings)]


def _unconstrained(layer: Layer) -> dict[str, Any]:
    """Without what holds for the whole kernel, and not for its factors."""
    return {"kernel_constraint": None} if "kernel_constraint" in layer.config else {}


def _as(layer: Layer, kernel: NDArray[Any]) -> NDArray[Any]:
    own = layer.weight("kernel")
    return kernel if own is None else kernel.astype(own.dtype)
