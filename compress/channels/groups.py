"""The units of a graph in groups: those that the same layers make, of which one must be left."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.tracing import Tracing
from slimedge.compress.channels.units import FIXED, Ids
from slimedge.compress.selecting import Meaning, as_written, selected
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer
from slimedge.macs import count_graph

# What a CPU multiplies in the time in which it takes or makes one float: 10 FLOP a byte, which fits the times of the
# convolutions of two nets in ONNX Runtime with AVX2.
MACS_A_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Group:
    """Units of equal standing.

    Attributes:
        layers: names of those that make them.
        units: the numbers that stand for them.
        width: channels a unit, in the layer where those are the fewest.
        parts: of the units, those that each layer makes; not all of them where a concatenation puts layers in a row.
    """

    layers: tuple[str, ...]
    units: Ids
    width: int
    parts: tuple[Ids, ...]

    def step(self, multiple: int) -> int:
        """Give the number of units whose channels are a multiple."""
        return multiple // math.gcd(multiple, self.width)


def groups_of(
    graph: Graph,
    tracing: Tracing,
    layers: Collection[str] = (),
    exclude: Collection[str] = (),
    meaning: Meaning = as_written,
) -> list[Group]:
    """Give the groups that can lose units.

    Args:
        graph: what was traced.
        tracing: of it.
        layers: patterns of names; a group can lose units where all layers that make it are chosen.
        exclude: likewise, of layers that are not.
        meaning: what else a pattern stands for.

    Raises:
        InputError: there is none, or a pattern fits no layer that makes one.
    """
    roots = tracing.units.groups()
    place = np.full(tracing.units.count, -1)
    for index, units in enumerate(roots):
        place[units] = index
    makers: list[dict[str, int]] = [{} for _ in roots]
    parts: list[dict[str, Ids]] = [{} for _ in roots]
    taken = np.zeros(len(roots), bool)
    for use in tracing.uses.values():
        found = tracing.units.roots(use.ids)
        indices, counts = np.unique(place[found[found != FIXED]], return_counts=True)
        taken[indices] |= use.role == "in"
        for index, positions in zip(indices, counts, strict=True):
            if use.role == "out":
                width = int(positions) // len(roots[index])
                makers[index][use.layer.name] = min(width, makers[index].get(use.layer.name, width))
                own = found[(found != FIXED) & (place[found] == index)]
                parts[index][use.layer.name] = np.union1d(own, parts[index].get(use.layer.name, own))
    # Not what nothing sums over: it may be that it is not needed at all, and there is nothing to tell its worth by.
    usable = [
        index for index in range(len(roots)) if makers[index] and taken[index] and len(roots[index]) > 1
    ]
    names = selected(
        (name for index in usable for name in makers[index]),
        layers,
        exclude,
        model=graph.name,
        what="makes channels that can go",
        meaning=meaning,
    )
    if not names:
        raise InputError(
            f"model '{graph.name}' has no channels that can go: each of them reaches an input or output of the model, "
            "or a layer that computes with all of them together; nothing was changed."
        )
    chosen = [
        Group(
            tuple(makers[index]),
            roots[index],
            max(1, min(makers[index].values())),
            tuple(parts[index].values()),
        )
        for index in usable
        if names.issuperset(makers[index])
    ]
    if not chosen:
        raise InputError(
            f"no channels of model '{graph.name}' are made by the chosen layers alone: a sum ties them to those of "
            f"other layers; choose these, too: {', '.join(sorted({n for i in usable for n in makers[i]} - names)[:8])}."
        )
    return chosen


def work_of(graph: Graph, tracing: Tracing, kind: str) -> NDArray[np.float64]:
    """Give what removing each unit saves, to first order.

    Of MACs, those for which a CPU's time stands: the numbers that a layer takes and makes cost time as well, which is
    most of it in a depthwise convolution (Williams et al., 2009, "Roofline").

    Args:
        graph: what was traced.
        tracing: of it.
        kind: `macs`, `parameters`, or `ratio`, where each unit counts the same.

    Returns:
        Shape (units made,), as `Criterion.score` gives.
    """
    totals = np.zeros(tracing.units.count)
    if kind == "ratio":
        return totals + 1
    macs = count_graph(graph).by_layer
    seen: set[tuple[Layer, int]] = set()
    for use in tracing.uses.values():
        array = use.layer.weights[use.weight][1]
        if kind == "parameters":
            whole = float(array.size)
        else:
            # Of a layer with several weights, each axis of the first one tells for all.
            fresh = (use.layer, use.axis) not in seen and array.ndim > 1
            seen.add((use.layer, use.axis))
            whole = float(macs.get(use.layer.name, 0)) if fresh else 0.0
        np.add.at(totals, tracing.units.roots(use.ids), whole / len(use.ids))
    if kind == "macs":
        multiplying = (node for node in graph.nodes if macs.get(node.layer.name))
        for value in (value for node in multiplying for value in (*node.inputs, *node.outputs)):
            ids = tracing.ids[value]
            moved = MACS_A_NUMBER * math.prod(size or 1 for size in value.shape[1:])
            np.add.at(totals, tracing.units.roots(ids), moved / ids.size)
    return totals


def parameters_of(graph: Graph) -> int:
    """Count the numbers in all weights of a graph."""
    return sum(array.size for layer in graph.calls() for _, array in layer.weights)
