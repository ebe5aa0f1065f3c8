"""What lies between two values of a graph, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator

from slimedge.graph import Graph, Layer, Node, Value

# Nodes as the bits of a number, by their places in the graph: sets of hundreds of them are compared at once.
Mask = int


class Regions:
    """Which nodes of a graph come before and after each value.

    Args:
        graph: any.

    Attributes:
        makers: the node that makes each value.
        consumers: the nodes that take each value.
        unweighted: values that no weight has a part in, as inputs and masks, which may go past everything.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = graph.producers()
        self.consumers = graph.consumers()
        self.unweighted = _without_weights(graph)
        self._places = {node: place for place, node in enumerate(graph.nodes)}
        self._before: dict[Value, Mask] = dict.fromkeys(graph.inputs, 0)
        self._after: dict[Value, Mask] = {}
        for node in graph.nodes:
            found = self.bit(node)
            for value in node.inputs:
                found |= self._before[value]
            self._before.update(dict.fromkeys(node.outputs, found))
        for value in (*graph.inputs, *(value for node in graph.nodes for value in node.outputs))[::-1]:
            found = 0
            for node in self.consumers.get(value, ()):
                found |= self.bit(node)
                for output in node.outputs:
                    found |= self._after[output]
            self._after[value] = found

    def bit(self, node: Node) -> Mask:
        """Give the set of one node."""
        return 1 << self._places[node]

    def takers(self, value: Value) -> Mask:
        """Give the nodes that take a value."""
        return sum(self.bit(node) for node in self.consumers.get(value, ()))

    def before(self, value: Value) -> Mask:
        """Give the nodes that a value is computed by."""
        return self._before[value]

    def after(self, value: Value) -> Mask:
        """Give the nodes that are computed from a value."""
        return self._after[value]

    def between(self, start: Value, end: Value) -> Mask:
        """Give the nodes on all ways from one value to another."""
        return self.after(start) & self.before(end)

    def nodes(self, mask: Mask) -> Iterator[Node]:
        """Give the nodes of a set, in the order of the graph."""
        while mask:
            lowest = mask & -mask
            yield self.graph.nodes[lowest.bit_length() - 1]
            mask ^= lowest

    def leads_only_to(self, mask: Mask, end: Value) -> bool:
        """Whether nobody outside takes any other value that these nodes make."""
        return not any(
            value in self.graph.outputs or self.takers(value) & ~mask
            for node in self.nodes(mask)
            for value in node.outputs
            if value is not end
        )

    def sides(self, mask: Mask, start: Value) -> frozenset[Value]:
        """Give what these nodes take from outside, beside the value that they start from."""
        taken = {value for node in self.nodes(mask) for value in node.inputs}
        made = {value for node in self.nodes(mask) for value in node.outputs}
        return frozenset(taken - made - {start})


def _without_weights(graph: Graph) -> frozenset[Value]:
    found = set(graph.inputs)
    for node in graph.nodes:
        if not node.layer.weights and found.issuperset(node.inputs):
            found.update(node.outputs)
    return frozenset(found)


def has_kernel(layer: Layer) -> bool:
    """Whether a layer multiplies by a kernel, and not only by one number for each channel."""
    return any(array.ndim > 1 and "kernel" in name for name, array in layer.weights)
