"""Which units go: the ones that are worth the least, as many as a target asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.groups import Group, parameters_of, work_of
from slimedge.compress.channels.removing import without
from slimedge.compress.channels.tracing import Tracing
from slimedge.compress.channels.units import Ids
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.macs import count_graph

# Of a group; what is left of a layer beyond this is no layer any more.
MOST = 0.9
RANKINGS = ("layer", "global")
KINDS = ("ratio", "macs", "parameters")
# How finely a ratio is searched.
STEPS = 1000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Target:
    """How much is to be removed.

    Attributes:
        kind: `ratio` of the units that go; `macs` or `parameters` that are left.
        value: the ratio in 0…1, or a count.
    """

    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class Choosing:
    """What units are chosen from, and how.

    Attributes:
        graph: what was traced.
        tracing: of it.
        groups: that can lose units.
        scores: worth of each unit, shape (units made,).
        in_loss: whether the scores are a growth of the loss.
        ranking: `layer`, the same ratio in each group, or `global`, over all of them.
        multiple: of the channels that are left in a layer.
        most: of a group, the largest ratio that goes.
    """

    graph: Graph
    tracing: Tracing
    groups: Sequence[Group]
    scores: NDArray[np.float64]
    in_loss: bool
    ranking: str
    multiple: int = 1
    most: float = MOST

    def for_target(self, target: Target) -> frozenset[int]:
        """Choose units.

        Raises:
            InputError: the target cannot be reached; says what can.
        """
        orders = [group.units[np.argsort(self.scores[group.units], kind="stable")] for group in self.groups]
        counts_at, last = self._way(orders, target.kind)
        if target.kind == "ratio":
            counts = counts_at(round(target.value * last / (self.most if self.ranking == "layer" else 1)))
            return _taken(orders, self._rounded(counts))

        def left(step: int) -> int:
            graph = without(self.graph, self.tracing, _taken(orders, self._rounded(counts_at(step))))
            return (count_graph(graph).total or 0) if target.kind == "macs" else parameters_of(graph)

        least = left(last)
        if least > target.value:
            whole = left(0)
            raise InputError(
                f"{target.kind} of model '{self.graph.name}' come to {100 * least / whole:.1f} % of what they are with "
                f"{100 * self.most:.0f} % of all channels removed that can go, and {100 * target.value / whole:.1f} % "
                "was asked for; ask for less, or leave fewer layers out."
            )
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if left(middle) <= target.value else (middle + 1, high)
        return _taken(orders, self._rounded(counts_at(low)))

    def _way(self, orders: Sequence[Ids], kind: str) -> tuple[Callable[[int], Counts], int]:
        """Give how many units of each group are gone after so many steps, and the last step."""
        sizes = np.asarray([len(order) for order in orders])
        limits = np.minimum(np.floor(self.most * sizes), sizes - 1).astype(np.int64)
        if self.ranking == "layer":

            def at_ratio(step: int) -> Counts:
                wanted = np.rint(self.most * step / STEPS * sizes).astype(np.int64)
                return np.asarray(np.minimum(wanted, limits))

            return at_ratio, STEPS
        work = work_of(self.graph, self.tracing, kind) if self.in_loss else np.ones(len(self.scores))
        worth, group_of = [], []
        for index, order in enumerate(orders):
            # In the order of the scores within a group, whatever the work.
            worth.append(np.maximum.accumulate(self.scores[order] / np.maximum(work[order], 1e-12)))
            group_of.append(np.full(len(order), index))
        ranked = np.concatenate(group_of)[np.argsort(np.concatenate(worth), kind="stable")]

        def at_place(step: int) -> Counts:
            return np.asarray(np.minimum(np.bincount(ranked[:step], minlength=len(orders)), limits))

        return at_place, len(ranked)

    def _rounded(self, counts: Counts) -> Counts:
        """Take away so many that what is left is a multiple, or the whole group."""
        found = []
        for group, count in zip(self.groups, counts, strict=True):
            size, step = len(group.units), group.step(self.multiple)
            left = size - int(count)
            options = [size, *range(step, size, step)]
            found.append(size - min(options, key=lambda option: (abs(option - left), option)))
        return np.asarray(found)


def _taken(orders: Sequence[Ids], counts: Counts) -> frozenset[int]:
    return frozenset(int(one) for order, count in zip(orders, counts, strict=True) for one in order[:count])
