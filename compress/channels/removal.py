"""Channels taken from a model a few at a time, each time those that are worth the least by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.channels.choosing import Choosing, Target, sizes_of
from slimedge.compress.channels.criteria import CRITERIA, Asked, Criterion
from slimedge.compress.channels.groups import Group, groups_of, parameters_of
from slimedge.compress.channels.removing import without
from slimedge.compress.channels.rules import RULES
from slimedge.compress.channels.tracing import Tracing, trace
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.compress.quantization import with_nested
from slimedge.errors import InputError, OutOfReachError
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.macs import count_graph
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# Of the whole, what goes at a time where a criterion holds for few channels only.
ROUND = 1 / 16
# On which BatchNorm's statistics are measured in between.
EXAMPLES = 1024
# Settings that count what a layer makes.
COUNTS = ("filters", "units", "output_dim", "num_heads")


@dataclass(frozen=True, slots=True)
class Removal:
    """What is removed, and how it is chosen; see `slimedge.compress.channel_pruning.prune_channels`."""

    target: Target
    criterion: str
    ranking: str
    multiple: int
    layers: tuple[str, ...]
    exclude: tuple[str, ...]
    seed: int

    @property
    def in_rounds(self) -> bool:
        """Whether what channels are worth is told again after each few of them.

        A growth of the loss is one near the model as it is; sizes of weights hardly change when others go. With the
        same ratio in each layer, a round would have to remove fractions of channels.
        """
        return bool(CRITERIA[self.criterion].in_loss) and self.ranking == "global"

    def groups(self, model: keras.Model, graph: Graph, tracing: Tracing) -> list[Group]:
        """Give the groups of a model that may lose channels; raises as `groups_of`."""
        return groups_of(
            graph, tracing, self.layers, self.exclude, lambda pattern: with_nested(model, [pattern])
        )


class Path:
    """The models on the way from a whole one to what is left of it.

    Rounds end at the same shares whatever is asked for, so that the models of all sizes lie on one path.

    Args:
        removal: how channels are chosen.
        whole: the model before anything was removed.
        data: bound to it.
        start: what is left so far; the whole one where it is None.
        progress: told the share that is left.

    Raises:
        InputError: no channels can go, or their MACs are not known.
    """

    def __init__(
        self,
        removal: Removal,
        whole: keras.Model,
        data: Data,
        start: keras.Model | None = None,
        progress: Progress = silent,
    ) -> None:
        graph = from_model(whole)
        tracing = trace(graph, RULES)
        groups = removal.groups(whole, graph, tracing)
        self._removal, self._data, self._progress = removal, data, progress
        self._sizes = sizes_of(groups)
        self._whole = self._size(graph, groups)
        self._name = whole.name
        self._smallest = self._size_without(graph, tracing, groups) / self._whole
        share = 1.0
        if start is not None:
            now = from_model(start)
            share = self._size(now, removal.groups(start, now, trace(now, RULES))) / self._whole
        self._models = {share: whole if start is None else start}

    def at(self, share: float) -> keras.Model:
        """Give the model with at most that share left, not trained, with the lineage of the one at the start.

        Raises:
            OutOfReachError: so little cannot be left.
        """
        if share < self._smallest:
            kind = self._removal.target.kind
            what = "channels that can go" if kind == "ratio" else kind
            raise OutOfReachError(
                f"{100 * self._smallest:.1f} % of the {what} of model '{self._name}' are left when all that can go "
                f"are gone, and {100 * share:.1f} % was asked for; ask for less, or leave fewer layers out."
            )
        nearest = min((known for known in self._models if known >= share), default=max(self._models))
        left = self._models[nearest]
        for end in self._rounds(nearest, share):
            self._progress(f"removing channels, {100 * end:.0f} % of {self._removal.target.kind} left")
            left = self._smaller(left, end)
            if end != share:
                left = self._models[end] = with_measured_norms(
                    left, self._data, examples=EXAMPLES, seed=self._removal.seed
                )
        return left

    def _rounds(self, start: float, end: float) -> list[float]:
        ends = [place * ROUND for place in range(int(1 / ROUND), 0, -1)] if self._removal.in_rounds else []
        return [*(each for each in ends if end < each < start), end]

    def _smaller(self, model: keras.Model, share: float) -> keras.Model:
        graph = from_model(model)
        removal, tracing = self._removal, trace(graph, RULES)
        method: Criterion = CRITERIA[removal.criterion]
        groups = removal.groups(model, graph, tracing)
        wanted = share * self._whole
        if removal.target.kind == "ratio":
            wanted = 1 - wanted / self._size(graph, groups)
            if wanted <= 0:
                return model
        scores = method.score(Asked(model, graph, tracing, self._data, removal.seed))
        order = (method.in_loss, removal.ranking, removal.multiple)
        choosing = Choosing(graph, tracing, groups, scores, *order, self._sizes)
        gone = choosing.for_target(Target(removal.target.kind, wanted))
        return with_lineage(to_model(without(graph, tracing, gone)), lineage_of(model))

    def _size_without(self, graph: Graph, tracing: Tracing, groups: list[Group]) -> int:
        """The size of what is left when all that can go is gone."""
        scores = np.zeros(tracing.units.count)
        choosing = Choosing(
            graph, tracing, groups, scores, False, "layer", self._removal.multiple, self._sizes
        )
        gone = choosing.all_that_can_go()
        if self._removal.target.kind == "ratio":
            return self._size(graph, groups) - len(gone)
        return size_of(without(graph, tracing, gone), self._removal.target.kind)

    def _size(self, graph: Graph, groups: list[Group]) -> int:
        if self._removal.target.kind == "ratio":
            return sum(len(group.units) for group in groups)
        return size_of(graph, self._removal.target.kind)


def size_of(graph: Graph, kind: str) -> int:
    """Give the MACs or the parameters of a graph.

    Raises:
        InputError: the MACs of a layer are not known.
    """
    if kind == "parameters":
        return parameters_of(graph)
    found = count_graph(graph)
    if found.total is None:
        raise InputError(
            f"the MACs of layer '{found.uncounted[0]}' of model '{graph.name}' are not known, so there is no share of "
            "them to leave; give a ratio or a share of the parameters."
        )
    return found.total


def before_and_after(before: Graph, after: Graph) -> dict[str, Any]:
    """Give MACs and parameters of both, and the channels of each layer that lost some, as JSON values."""
    one, other = ({layer.name: _count(layer.config) for layer in graph.calls()} for graph in (before, after))
    return {
        "macs": [count_graph(graph).total for graph in (before, after)],
        "parameters": [parameters_of(graph) for graph in (before, after)],
        "channels": {
            name: [one[name], other[name]] for name in one if one[name] != other.get(name, one[name])
        },
    }


def _count(config: Mapping[str, Any]) -> int | None:
    return next((int(config[name]) for name in COUNTS if name in config), None)
