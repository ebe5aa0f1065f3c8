"""Which tensor of a simplified graph is the one that TFMOT has a range of."""

from __future__ import annotations

from collections.abc import Mapping

from slimedge.compress.placement import Placement
from slimedge.compress.rules import Role, role_of
from slimedge.graph import Graph, Node, Value

Ends = tuple[float, float]


def ranges_of_groups(
    told: Mapping[str, Mapping[str, Ends]], graph: Graph, simplified: Graph, placement: Placement
) -> dict[int, Ends]:
    """Give TFMOT's range of each group of values that it has one of, the union where it has several.

    Args:
        told: TFMOT's ranges: of `inputs` by position, and of tensors `before` the activation of a layer and `after` it
            by the layer's name.
        graph: as TFMOT got it; the source of each node is its layer's name.
        simplified: what became of it.
        placement: where that is quantized.
    """
    found: dict[int, Ends] = {}

    def meet(value: Value | None, ends: Ends) -> None:
        group = None if value is None else placement.groups.get(value)
        if group is None or group in placement.fixed:
            return
        low, high = found.get(group, ends)
        found[group] = (min(low, ends[0]), max(high, ends[1]))

    for position, ends in told["inputs"].items():
        meet(simplified.inputs[int(position)], ends)
    tensors = _Tensors(graph, simplified)
    for name, ends in told["before"].items():
        meet(tensors.before(name), ends)
    for name, ends in told["after"].items():
        meet(tensors.after(name), ends)
    return found


class _Tensors:
    """The values of a simplified graph by the layers of the graph that it was made of."""

    def __init__(self, graph: Graph, simplified: Graph) -> None:
        self._parts: dict[str, list[Node]] = {}
        for node in simplified.nodes:
            self._parts.setdefault(node.source, []).append(node)
        calls = graph.calls()
        self._nodes = {node.layer.name: node for node in graph.nodes if calls[node.layer] == 1}
        producers = graph.producers()
        # A layer that is folded into the one before it computes that one's output now.
        self._folded = {
            name: producers[node.inputs[0]].layer.name
            for name, node in self._nodes.items()
            if name not in self._parts and node.inputs and node.inputs[0] in producers
        }

    def before(self, name: str) -> Value | None:
        """Give what a layer computes in front of its activation; None where another layer is folded into it."""
        node = self._weighted(name)
        return None if node is None or name in self._folded.values() else node.output

    def after(self, name: str) -> Value | None:
        """Give what a layer computes; None where that is nowhere any more."""
        if name in self._folded.values():
            return None
        if name in self._folded:
            inner = self._folded[name]
            while inner in self._folded:
                inner = self._folded[inner]
            node = self._weighted(inner)
            return None if node is None else node.output
        parts = self._parts.get(name, []) if name in self._nodes else []
        return parts[-1].output if parts else None

    def _weighted(self, name: str) -> Node | None:
        parts = self._parts.get(name, []) if name in self._nodes else []
        return next((node for node in parts if role_of(node) is Role.WEIGHTED), None)
