"""Which tensor of a simplified graph is the one that TFMOT has a range of."""

from __future__ import annotations

from collections.abc import Mapping

from slimedge.compress.placement import Placement
from slimedge.compress.rules import Role, role_of
from slimedge.graph import Graph, Node, Value

Ends = tuple[float, float]
# Of TFMOT's tensors: of `inputs` by position, of those `before` the activation of a layer and `after` it by its name.
Groups = Mapping[str, Mapping[str, int]]
Ranges = Mapping[str, Mapping[str, Ends]]


def groups_of(graph: Graph, simplified: Graph, placement: Placement) -> Groups:
    """Give the group of values whose range is that of a tensor, for all that TFMOT may have; but for fixed ranges.

    Args:
        graph: as TFMOT gets it; the source of each node is its layer's name.
        simplified: what became of it.
        placement: where that is quantized.
    """
    tensors = _Tensors(graph, simplified)
    names = {node.layer.name for node in graph.nodes}
    values: dict[str, dict[str, Value | None]] = {
        "inputs": {str(position): value for position, value in enumerate(simplified.inputs)},
        "before": {name: tensors.before(name) for name in names},
        "after": {name: tensors.after(name) for name in names},
    }
    return {
        where: {
            name: group
            for name, value in found.items()
            if value is not None
            and (group := placement.groups.get(value)) is not None
            and group not in placement.fixed
        }
        for where, found in values.items()
    }


def by_group(ranges: Ranges, groups: Groups) -> dict[int, Ends]:
    """Give the range of each group that has one, the union where it has several.

    Example:
        >>> by_group({"after": {"a": (0, 2), "b": (-1, 1), "c": (0, 1)}}, {"after": {"a": 5, "b": 5}})
        {5: (-1, 2)}
    """
    found: dict[int, Ends] = {}
    for where, named in ranges.items():
        for name, (low, high) in named.items():
            group = groups[where].get(name)
            if group is not None:
                lowest, highest = found.get(group, (low, high))
                found[group] = (min(low, lowest), max(high, highest))
    return found


def by_tensor(ranges: Mapping[int, Ends], groups: Groups) -> Ranges:
    """Give the range of each tensor whose group has one."""
    return {
        where: {name: ranges[group] for name, group in named.items() if group in ranges}
        for where, named in groups.items()
    }


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
