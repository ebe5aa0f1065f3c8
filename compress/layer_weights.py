"""The layers of a graph by the user's names, and the layer that owns each variable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slimedge.graph import Graph, Layer


def sources(graph: Graph) -> Iterator[tuple[Layer, str]]:
    """Give each layer once, with the name that it has in the user's model."""
    seen: set[Layer] = set()
    for node in graph.nodes:
        if node.layer not in seen:
            seen.add(node.layer)
            yield node.layer, node.source


def owner_of(layer: Any) -> dict[int, Any]:
    """Map the id of each variable of a Keras layer to the innermost layer in it that has the variable."""
    return {id(variable): inner for inner in layer._flatten_layers() for variable in _own(inner)}


def _own(layer: Any) -> list[Any]:
    """Variables of a layer that none of the layers in it has."""
    inner = {
        id(variable) for child in layer._flatten_layers(include_self=False) for variable in child.weights
    }
    return [variable for variable in layer.weights if id(variable) not in inner]
