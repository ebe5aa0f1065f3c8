"""One round of removing channels: trace, score, choose, cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimedge.compress.channels.choosing import MOST, Choosing, Target
from slimedge.compress.channels.criteria import CRITERIA, Asked, Criterion
from slimedge.compress.channels.groups import groups_of, parameters_of
from slimedge.compress.channels.removing import without
from slimedge.compress.channels.rules import RULES
from slimedge.compress.channels.tracing import trace
from slimedge.compress.quantization import with_nested
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.macs import count_graph

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

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

    def choosing(self, model: keras.Model, data: Data, *, most: float = MOST) -> Choosing:
        """Find out which channels of a model can go, and what each is worth.

        Args:
            model: float.
            data: bound to it.
            most: of a group, the largest ratio that goes.

        Raises:
            InputError: no channels can go, or the criterion cannot be told.
        """
        method: Criterion = CRITERIA[self.criterion]
        graph = from_model(model)
        tracing = trace(graph, RULES)
        groups = groups_of(
            graph, tracing, self.layers, self.exclude, lambda pattern: with_nested(model, [pattern])
        )
        scores = method.score(Asked(model, graph, tracing, data, self.seed))
        return Choosing(graph, tracing, groups, scores, method.in_loss, self.ranking, self.multiple, most)

    def __call__(
        self, model: keras.Model, whole: Graph, data: Data, *, share: float, most: float
    ) -> keras.Model:
        """Give a smaller model, not trained.

        Args:
            model: what is left so far.
            whole: the graph before the first round.
            data: bound to the model.
            share: of the way to the target that is gone after this round, in 0…1.
            most: of a group, the largest ratio that goes in this round.

        Raises:
            InputError: no channels can go, or the target cannot be reached.
        """
        choosing = self.choosing(model, data, most=most)
        return with_lineage(smaller(choosing, self._target(whole, share)), lineage_of(model))

    def _target(self, whole: Graph, share: float) -> Target:
        kind, value = self.target.kind, self.target.value
        if kind == "ratio":
            return self.target
        count = size_of(whole, kind)
        return Target(kind, count * (1 - (1 - value) * share))


def smaller(choosing: Choosing, target: Target) -> keras.Model:
    """Give a model without the channels that are worth the least, with no lineage.

    Args:
        choosing: from what.
        target: how many; `macs` and `parameters` as counts.

    Raises:
        InputError: the target cannot be reached.
    """
    return to_model(without(choosing.graph, choosing.tracing, choosing.for_target(target)))


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
