"""Scale migration: channels with large activations are made smaller, and the weights that take them larger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import Watch, layer_batches
from slimedge.compress.folding import OUTPUT_AXES
from slimedge.compress.links import Link, input_ranges, links_of, scaled_inputs, scaled_outputs
from slimedge.compress.methods import Method
from slimedge.graph import Graph, Layer, with_values

if TYPE_CHECKING:
    from slimedge.data import Data

EXAMPLES = 512
PRODUCERS = (*OUTPUT_AXES, "LayerNormalization")


@dataclass(frozen=True, slots=True)
class Smoothing(Method):
    """SmoothQuant (Xiao et al., 2023, "SmoothQuant: accurate and efficient post-training quantization", eq. 4).

    s_j = max|x_j|^strength / max|w_j|^(1 - strength) for each channel j of a tensor x between layers: the layer before
    (a convolution, a dense layer or a LayerNormalization) is divided by it, the kernels behind are multiplied. What
    the model computes stays the same.

    Args:
        strength: 0 leaves the weights even, 1 the activations.
    """

    strength: float = 0.5

    def prepare(self, graph: Graph, data: Data) -> Graph:
        """Move scales in a float graph."""
        links = links_of(graph, producers=PRODUCERS)
        sizes = _largest(graph, links, data)
        now: dict[Layer, Layer] = {}
        for link, activations in zip(links, sizes, strict=True):
            behind = [now.get(node.layer, node.layer) for node in link.consumers]
            weights = np.max([input_ranges(layer, link.channels) for layer in behind], axis=0)
            factor = _factor(activations, weights, self.strength)
            first = now.get(link.producer.layer, link.producer.layer)
            now[link.producer.layer] = scaled_outputs(first, 1 / factor)
            for node in link.consumers:
                now[node.layer] = scaled_inputs(now.get(node.layer, node.layer), factor)
        return with_values(graph, {}, now)


SMOOTHING = Smoothing()


def _factor(
    activations: NDArray[np.float64], weights: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    usable = (activations > 0) & (weights > 0)
    large = np.where(usable, activations, 1.0) ** strength / np.where(usable, weights, 1.0) ** (1 - strength)
    return np.where(usable, large, 1.0)


def _largest(graph: Graph, links: list[Link], data: Data) -> list[NDArray[np.float64]]:
    """max|x| of each channel of each link's tensor."""
    if not links:
        return []
    seen = Watch(graph, [link.producer.output for link in links])
    largest = [np.zeros(link.channels) for link in links]
    for batch in layer_batches(data, seen.batch_size, EXAMPLES):
        for index, array in enumerate(seen.run(batch)):
            lines = np.abs(array.reshape(-1, array.shape[-1]))
            largest[index] = np.maximum(largest[index], lines.max(axis=0))
    return largest
