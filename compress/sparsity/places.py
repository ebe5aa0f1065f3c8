"""Where the weights of a model lie in what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slimedge.compress.sparsity.weights import Prunable
from slimedge.graph_reading import operations_of

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Place:
    """One weight in the graph of a model.

    Attributes:
        weight: of the model itself.
        layer: name in the graph of the layer that it is in.
        index: of the weight among those of that layer.
    """

    weight: Prunable
    layer: str
    index: int

    def within(self, network: keras.Model) -> Prunable:
        """Give the weight in a model that was made of the graph."""
        return replace(self.weight, variable=network.get_layer(self.layer).weights[self.index])


def places_of(model: keras.Model, weights: Sequence[Prunable]) -> list[Place]:
    """Give where weights lie; those in layers that no output needs lie nowhere.

    Args:
        model: any that `slimedge.graph_reading.from_model` reads.
        weights: of it.
    """
    at = {
        id(variable): (name, index)
        for name, operation in operations_of(model).items()
        for index, variable in enumerate(getattr(operation, "weights", []))
    }
    return [Place(weight, *at[id(weight.variable)]) for weight in weights if id(weight.variable) in at]
