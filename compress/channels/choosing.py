"""Which units go: the ones that are worth the least, as many as a target asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.groups import Group, parameters_of, work_of
from slimedge.compress.channels.removing import without
from slimedge.compress.channels.tracing import Tracing
from slimedge.compress.channels.units import Ids
from slimedge.errors import OutOfReachError
from slimedge.graph import Graph
from slimedge.macs import count_graph

# Of a group; what is left of a layer beyond this is no layer any more.
MOST = 0.9
RANKINGS = ("layer", "global")
KINDS = ("ratio", "macs", "parameters")
# How finely a ratio is searched.
STEPS = 1000
# A worth that cannot be told is taken for this one.
LARGEST = 1e30
# Of the whole; sums of floats.
TOLERANCE = 1e-9
# Steps of a ranking, the last ones taken, that are looked at once more where more went than was asked for.
LOOKED_AT = 16

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
        multiple: of the channels that are left in a layer; halved until the layer had two of them.
        sizes: units that there were in the whole model, by the name of a layer that makes them; those that there are
            where none is told.
    """

    graph: Graph
    tracing: Tracing
    groups: Sequence[Group]
    scores: NDArray[np.float64]
    in_loss: bool
    ranking: str
    multiple: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)

    def for_target(self, target: Target) -> frozenset[int]:
        """Choose units.

        Raises:
            OutOfReachError: the target cannot be reached; says what can.
        """
        orders = [self._order(group) for group in self.groups]
        options = [self._options(group) for group in self.groups]
        in_turn = self.ranking == "global"
        ranked = self._least_worth(orders, options, target.kind) if in_turn else []
        if not in_turn:
            counts_at, last = _same_ratio([len(order) for order in orders], options)
        else:
            counts_at, last = (lambda step: _counted(options, ranked[:step])), len(ranked)

        def left(counts: Counts) -> float:
            removed = _taken(orders, counts)
            if target.kind == "ratio":
                return 1 - len(removed) / sum(len(order) for order in orders)
            graph = without(self.graph, self.tracing, removed)
            return (count_graph(graph).total or 0) if target.kind == "macs" else parameters_of(graph)

        wanted = 1 - target.value if target.kind == "ratio" else target.value
        least, whole = left(counts_at(last)), left(counts_at(0))
        most = wanted + TOLERANCE * whole
        if least > most:
            if target.kind == "ratio":
                raise OutOfReachError(
                    f"at most {100 * (1 - least):.1f} % of the channels of model '{self.graph.name}' that can go do "
                    f"so, and {100 * target.value:.1f} % was asked for; ask for less."
                )
            raise OutOfReachError(
                f"{target.kind} of model '{self.graph.name}' come to {100 * least / whole:.1f} % of what they are with "
                f"all channels removed that can go, and {100 * wanted / whole:.1f} % was asked for; ask for less, or "
                "leave fewer layers out."
            )
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if left(counts_at(middle)) <= most else (middle + 1, high)
        if not in_turn:
            return _taken(orders, counts_at(low))
        fewest = _fewest(ranked[:low], lambda steps: left(_counted(options, steps)) <= most)
        return _taken(orders, _counted(options, fewest))

    def nearest(self, ratio: float) -> frozenset[int]:
        """Choose that share of each group by itself, as near as its multiples allow; fewer of two that are as near."""
        orders = [self._order(group) for group in self.groups]
        options = [self._options(group) for group in self.groups]
        return _taken(orders, _nearest([len(order) for order in orders], options, ratio))

    def all_that_can_go(self) -> frozenset[int]:
        """Choose as many units as can go."""
        counts = np.asarray([self._options(group)[-1] for group in self.groups])
        return _taken([self._order(group) for group in self.groups], counts)

    def _stay(self, group: Group) -> set[int]:
        """Give the best unit of each layer: one without any is no layer."""
        return {int(part[np.argmax(self.scores[part])]) for part in group.parts}

    def _order(self, group: Group) -> Ids:
        """Give the units of a group in the order in which they go; those that stay are the last."""
        order = group.units[np.argsort(self.scores[group.units], kind="stable")]
        stay = np.isin(order, list(self._stay(group)))
        return np.concatenate([order[~stay], order[stay]])

    def _options(self, group: Group) -> Counts:
        """Give how many units of a group can be gone, ascending from 0."""
        size, step = len(group.units), group.step(self.multiple)
        whole = max([size, *(self.sizes.get(name, 0) for name in group.layers)])
        while step > 1 and whole < 2 * step:
            step = max(1, step // 2)
        least = max(len(self._stay(group)), math.ceil((1 - MOST) * whole))
        return np.asarray([0, *(size - left for left in range(size - 1, least - 1, -1) if left % step == 0)])

    def _least_worth(self, orders: Sequence[Ids], options: Sequence[Counts], kind: str) -> list[int]:
        """Give the place of the group that loses units at each step, the least loss for the work first."""
        scores = np.minimum(self.scores, LARGEST)
        work = work_of(self.graph, self.tracing, kind) if self.in_loss else np.ones(len(scores))
        worth, group_of = [], []
        for index, (order, counts) in enumerate(zip(orders, options, strict=True)):
            lost, saved = (
                np.diff(np.concatenate([[0.0], np.cumsum(each[order])])[counts]) for each in (scores, work)
            )
            # What stands before a step of a group comes before it.
            worth.append(np.maximum.accumulate(lost / np.maximum(saved, 1e-12)))
            group_of.append(np.full(len(counts) - 1, index))
        return [
            int(one) for one in np.concatenate(group_of)[np.argsort(np.concatenate(worth), kind="stable")]
        ]


def sizes_of(groups: Sequence[Group]) -> dict[str, int]:
    """Give how many units each group has, by the names of the layers that make it."""
    return {name: len(group.units) for group in groups for name in group.layers}


def _same_ratio(sizes: Sequence[int], options: Sequence[Counts]) -> tuple[Callable[[int], Counts], int]:
    """Give how many units of each group are gone after so many steps, of each the same ratio."""
    return (lambda step: _nearest(sizes, options, step / STEPS)), STEPS


def _nearest(sizes: Sequence[int], options: Sequence[Counts], ratio: float) -> Counts:
    """Give how many units of each group are gone when it is that share of them, as near as the options allow."""
    return np.asarray(
        [
            counts[np.argmin(np.abs(counts - ratio * size))]
            for counts, size in zip(options, sizes, strict=True)
        ]
    )


def _counted(options: Sequence[Counts], steps: Sequence[int]) -> Counts:
    """Give how many units of each group are gone after these steps, each told by the place of its group."""
    taken = np.bincount(np.asarray(steps, np.int64), minlength=len(options))
    return np.asarray([counts[done] for counts, done in zip(options, taken, strict=True)])


def _fewest(steps: Sequence[int], enough: Callable[[Sequence[int]], bool]) -> list[int]:
    """Leave out each of the last steps that is not needed: one step can go far beyond what the others left to go.

    Args:
        steps: places of groups, the last of which are worth the most; these are looked at first.
        enough: whether steps reach what was asked for.
    """
    kept, needed = list(steps), set[int]()
    for place in reversed(range(max(0, len(steps) - LOOKED_AT), len(steps))):
        # A step that a group needs is needed still when others were left out.
        if steps[place] in needed:
            continue
        fewer = [*kept[:place], *kept[place + 1 :]]
        if enough(fewer):
            kept = fewer
        else:
            needed.add(steps[place])
    return kept


def _taken(orders: Sequence[Ids], counts: Counts) -> frozenset[int]:
    return frozenset(int(one) for order, count in zip(orders, counts, strict=True) for one in order[:count])
