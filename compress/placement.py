"""Which tensors get a fake-quant, and which of them share one range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slimedge.compress.rules import FIXED_RANGES, FUSES_RELU, KERNEL_AXES, Role, activation_of, role_of
from slimedge.graph import Graph, Layer, Node, Value


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a graph is quantized.

    Attributes:
        groups: each quantized value to the number of its range; values of one number share the range.
        fixed: ranges that follow from a formula, by number.
        requantized: (node, value) where an input must be moved to the range of the node's output.
        kernels: each layer whose weights are quantized, to its weights' kept axes.
        left_float: source layer to the reason why it stays float.
        integers: the calls that compute on integers.
    """

    groups: Mapping[Value, int]
    fixed: Mapping[int, tuple[float, float]]
    requantized: tuple[tuple[Node, Value], ...]
    kernels: Mapping[Layer, Mapping[str, tuple[int, ...]]]
    left_float: Mapping[str, str]
    integers: frozenset[Node]


@dataclass(slots=True)
class Groups:
    """Union-find over values."""

    parent: dict[Value, Value] = field(default_factory=dict)

    def find(self, value: Value) -> Value:
        """Give the value that stands for the group of this one."""
        self.parent.setdefault(value, value)
        while self.parent[value] is not value:
            self.parent[value] = self.parent[self.parent[value]]
            value = self.parent[value]
        return value

    def join(self, first: Value, second: Value) -> None:
        """Make one group of two."""
        self.parent[self.find(first)] = self.find(second)


def place(graph: Graph, *, exclude: Mapping[str, str] | None = None) -> Placement:
    """Decide where fake-quants go.

    A tensor is quantized when an integer layer makes or takes it, unless a ReLU fused into that layer
    follows. Pooling, reshaping and concatenation share one range between inputs and output; softmax,
    sigmoid and tanh have the range of their formula.

    Args:
        graph: simplified, with BatchNorm folded.
        exclude: names of the user's layers that stay float, each with its reason.

    Returns:
        The placement; layers that stay float are in it with their reason.
    """
    roles: dict[Node, Role] = {}
    left_float: dict[str, str] = {}
    for node in graph.nodes:
        role = (exclude or {}).get(node.source) or role_of(node)
        if isinstance(role, Role):
            roles[node] = role
        else:
            left_float.setdefault(node.source, role)
    for node in _left_behind(graph, roles):
        del roles[node]
        left_float.setdefault(node.source, "the layer that it would be fused into stays float")
    for node in set(roles) - joined_to_integers(graph, roles):
        del roles[node]
        left_float.setdefault(node.source, "none of its neighbours runs on integers")
    return _group(graph, roles, left_float)


def _left_behind(graph: Graph, roles: Mapping[Node, Role]) -> list[Node]:
    """Give the ReLUs behind layers that would take them in and that stay float: a range before each would cost two."""
    producers = graph.producers()
    makers = {node: producers.get(node.inputs[0]) for node, role in roles.items() if role is Role.RELU}
    return [
        node
        for node, maker in makers.items()
        if maker is not None and maker not in roles and maker.layer.kind in FUSES_RELU
    ]


def joined_to_integers(graph: Graph, roles: Mapping[Node, Role]) -> set[Node]:
    """Give the nodes that a chain of integer nodes joins to one that computes with a kernel or arithmetic.

    Args:
        graph: any.
        roles: of its integer nodes.
    """
    producers, consumers = graph.producers(), graph.consumers()
    reached = {node for node, role in roles.items() if role in (Role.WEIGHTED, Role.ARITHMETIC)}
    frontier = list(reached)
    while frontier:
        node = frontier.pop()
        beside = [producers[value] for value in node.inputs if value in producers]
        beside += [taker for value in node.outputs for taker in consumers.get(value, [])]
        for other in beside:
            if other in roles and other not in reached:
                reached.add(other)
                frontier.append(other)
    return reached


def _group(graph: Graph, roles: Mapping[Node, Role], left_float: Mapping[str, str]) -> Placement:
    consumers, producers = graph.consumers(), graph.producers()
    groups = Groups()
    fixed: dict[Value, tuple[float, float]] = {}
    joined = _joined_caps(graph, roles)
    requantized: list[tuple[Node, Value]] = []

    def hidden(value: Value) -> bool:
        """Whether a ReLU fused into the producer makes the only use of this value."""
        node, takers = producers.get(value), consumers.get(value, [])
        return (
            node is not None
            and node in roles
            and node.layer.kind in FUSES_RELU
            and value not in graph.outputs
            and [roles.get(taker) for taker in takers] == [Role.RELU]
            and takers[0] not in joined
        )

    for node in graph.nodes:
        role = roles.get(node)
        if role is None:
            continue
        for value in (*node.inputs, node.output):
            if not hidden(value):
                groups.find(value)
        if role is Role.FIXED:
            fixed[node.output] = FIXED_RANGES[activation_of(node) or ""]
        elif role is Role.SAME_SCALE:
            inputs = list(dict.fromkeys(node.inputs))
            known = {fixed.get(value) for value in inputs}
            if len(known) == 1 and inputs[0] in fixed:
                fixed[node.output] = fixed[inputs[0]]
                for value in inputs:
                    groups.join(value, node.output)
                continue
            for value in inputs:
                if value in fixed:
                    requantized.append((node, value))
                else:
                    groups.join(value, node.output)
    numbers: dict[Value, int] = {}
    placed = {value: numbers.setdefault(groups.find(value), len(numbers)) for value in groups.parent}
    return Placement(
        groups=placed,
        fixed={placed[value]: bounds for value, bounds in fixed.items()},
        requantized=tuple(requantized),
        kernels={
            node.layer: {"kernel": KERNEL_AXES[node.layer.kind]}
            for node, role in roles.items()
            if role is Role.WEIGHTED
        },
        left_float=dict(left_float),
        integers=frozenset(roles),
    )


def _joined_caps(graph: Graph, roles: Mapping[Node, Role]) -> set[Node]:
    """ReLUs with a `max_value` of their own whose output shares a range with other tensors.

    That range may end above the `max_value`, so the ReLU has to be computed.
    """
    made_by: dict[Value, Node] = {}
    found = set()
    for node in graph.nodes:
        role = roles.get(node)
        if role is Role.RELU and node.layer.config.get("max_value") not in (None, 6.0):
            made_by[node.output] = node
        elif role is Role.SAME_SCALE:
            capped = [made_by[value] for value in node.inputs if value in made_by]
            if len(set(node.inputs)) > 1:
                found.update(capped)
            elif capped:
                made_by[node.output] = capped[0]
    return found
