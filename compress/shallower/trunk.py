"""Values through which all of a graph's work for an output goes, and which of them stand between its units."""

from __future__ import annotations

from slimedge.compress.channels.rules.passing import POOLINGS
from slimedge.compress.shallower.regions import Regions, has_kernel
from slimedge.compress.simplifying import TRAINING_ONLY
from slimedge.graph import Node, Value


def trunk(regions: Regions, output: Value) -> list[Value]:
    """Give the values that each way from a weight to an output passes, in the order of the graph.

    Such a value dominates the output (Lowry and Medlock, 1969, "Object code optimization").

    Args:
        regions: of the graph.
        output: of the graph; what else the graph makes does not count.
    """
    nodes = list(regions.nodes(regions.before(output)))
    weighted = sum(regions.bit(node) for node in nodes if node.layer.weights)
    last = {value: place for place, node in enumerate(nodes) for value in node.inputs}
    alive: set[Value] = set()
    found: dict[Value, None] = {}
    for place, node in enumerate(nodes):
        made = set(node.outputs) - regions.unweighted
        alive = {value for value in alive | made if last.get(value, -1) > place}
        if len(alive) == 1:
            (value,) = alive
            # The weights of another tower may come later.
            if not weighted & ~(regions.before(value) | regions.after(value)):
                found[value] = None
    return list(found)


def finishes(node: Node) -> bool:
    """Whether a call belongs to the layer in front of it: an activation, a normalization, a dropout."""
    inputs, outputs = node.inputs, node.outputs
    return (
        len(inputs) == len(outputs) == 1
        and (inputs[0].shape, inputs[0].dtype) == (outputs[0].shape, outputs[0].dtype)
        and not has_kernel(node.layer)
    )


def finished(regions: Regions, value: Value) -> list[Value]:
    """Give a value and what its finishing calls make of it, one after the other, as long as nobody else takes it."""
    found = [value]
    while len(takers := regions.consumers.get(found[-1], [])) == 1 and finishes(takers[0]):
        if found[-1] in regions.graph.outputs:
            break
        found.append(takers[0].output)
    return found


def phase(regions: Regions, value: Value) -> str:
    """Say what was done to a value last: a unit can go where it ends in the phase in which it started."""
    while (node := regions.makers.get(value)) is not None:
        kind, inputs = node.layer.kind, node.inputs
        if len(inputs) != 1:
            return "merged"
        if has_kernel(node.layer):
            return "linear" if node.layer.config.get("activation") in (None, "linear") else "activated"
        if kind.endswith("Normalization"):
            return "normalized"
        if kind not in TRAINING_ONLY and kind not in POOLINGS and kind != "StochasticDepth":
            return "activated" if finishes(node) else kind
        value = inputs[0]
    return "given"


def stands_between_units(regions: Regions, value: Value) -> bool:
    """Whether the unit that makes a value ends with it.

    It does not where a normalization or an activation follows, and a depthwise convolution goes with the pointwise one
    behind it.
    """
    if len(finished(regions, value)) > 1:
        return False
    node = regions.makers.get(value)
    while node is not None and finishes(node):
        node = regions.makers.get(node.inputs[0])
    return node is None or not _is_depthwise(node)


def _is_depthwise(node: Node) -> bool:
    groups = node.layer.config.get("groups")
    return node.layer.kind.startswith("Depthwise") or (
        groups not in (None, 1) and groups == node.inputs[0].shape[-1]
    )
