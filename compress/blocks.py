"""A graph cut into blocks, each joined to the next by one tensor (Li et al., 2021, "BRECQ", section 3.2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from slimedge.graph import Graph, Layer, Node, Value


@dataclass(frozen=True, slots=True)
class Block:
    """Nodes in a row.

    Attributes:
        nodes: in the order of the graph.
        inputs: values that they take and do not make.
        outputs: values that they make, and that others or the model's user take.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def blocks_of(
    graph: Graph, cuts: Collection[Value], kernels: Collection[Layer], *, least: int = 2
) -> list[Block]:
    """Cut a graph at each value that is the only one to go on, as soon as a block holds enough kernels.

    Args:
        graph: any.
        cuts: values at which a block may end.
        kernels: layers to count.
        least: kernels in a block; the last one may have fewer.

    Returns:
        The blocks, in order, with each node in one of them.
    """
    last = {value: index for index, node in enumerate(graph.nodes) for value in node.inputs}
    alive = {value for value in graph.inputs if value in last}
    found: list[Block] = []
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        nodes.append(node)
        alive = {value for value in (*alive, *node.outputs) if last.get(value, -1) > index}
        enough = sum(each.layer in kernels for each in nodes) >= least
        if index + 1 == len(graph.nodes) or (enough and len(alive) == 1 and alive <= set(cuts)):
            found.append(_block(graph, nodes, alive))
            nodes = []
    return found


def _block(graph: Graph, nodes: list[Node], alive: set[Value]) -> Block:
    made = [value for node in nodes for value in node.outputs]
    taken = dict.fromkeys(value for node in nodes for value in node.inputs)
    return Block(
        tuple(nodes),
        tuple(value for value in taken if value not in made),
        tuple(value for value in made if value in alive or value in graph.outputs),
    )
