"""The weights of a model that become clusters: kernels and tables, by the names of the user's layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from slimedge.compress.layer_weights import owner_of, sources
from slimedge.compress.weight_axes import output_axes
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.graph_making import layer_names

if TYPE_CHECKING:
    import keras

KERNELS = ("kernel", "embeddings")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight is.

    Attributes:
        source: name of the layer of the user's model.
        layer: name of the layer in the model that was made of the graph.
        index: among that layer's weights.
        axes: of its output channels.
    """

    source: str
    layer: str
    index: int
    axes: tuple[int, ...]

    def variable(self, model: keras.Model) -> Any:
        """Give the variable of a model with the same layers."""
        return model.get_layer(self.layer).weights[self.index]


def places(
    graph: Graph, network: keras.Model, layers: Collection[str], exclude: Collection[str]
) -> tuple[Place, ...]:
    """Give the kernels and tables of the layers that are chosen.

    Args:
        graph: of a float model.
        network: made of it.
        layers: patterns of names, as of `fnmatch`; none for all layers.
        exclude: likewise, of layers that are left out.

    Raises:
        InputError: a pattern fits no layer with a kernel or table, or no layer is left.
    """
    names = layer_names(graph)
    found: list[Place] = []
    for layer, source in sources(graph):
        made = network.get_layer(names[layer])
        owners = owner_of(made)
        found += [
            Place(source, made.name, index, output_axes(owners[id(variable)], variable.name, variable.shape))
            for index, variable in enumerate(made.weights)
            if variable.name.endswith(KERNELS)
        ]
    known = list(dict.fromkeys(place.source for place in found))
    for pattern in (*layers, *exclude):
        if not any(fnmatchcase(source, pattern) for source in known):
            shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise InputError(
                f"the pattern '{pattern}' fits no layer of model '{graph.name}' with a kernel or table; "
                f"those are {shown or 'none'}."
            )
    chosen = [
        place
        for place in found
        if (not layers or any(fnmatchcase(place.source, pattern) for pattern in layers))
        and not any(fnmatchcase(place.source, pattern) for pattern in exclude)
    ]
    if not chosen:
        raise InputError(f"no layer of model '{graph.name}' with a kernel or table is left; exclude fewer.")
    return tuple(chosen)
