"""A net that computes the same as another one, with the channels between its layers scaled apart.

Scales per tensor cannot hold such channels, scales per channel only one side of each layer: the case that cross-layer
equalization was made for (Nagel et al., 2019, figure 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slimedge.compress.equalization import without_caps
from slimedge.compress.folding import OUTPUT_AXES
from slimedge.compress.links import links_of, scaled_inputs, scaled_outputs
from slimedge.compress.simplifying import split_activations
from slimedge.graph import Layer, with_values
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data


def rescaled(model: keras.Model, data: Data, *, largest: float = 1_000.0, seed: int = 0) -> keras.Model:
    """Give a copy whose channels between layers are larger by factors of 1 to `largest`, evenly spread by logarithm.

    Args:
        model: float; its BatchNorms are kept, and a ReLU6 between two layers becomes a ReLU, where `data` hardly shows
            it in the outputs.
        data: bound to it.
        largest: factor.
        seed: of the factors.
    """
    generator = np.random.default_rng(seed)
    graph = without_caps(split_activations(from_model(model)), data)
    now: dict[Layer, Layer] = {}
    for link in links_of(graph, producers=(*OUTPUT_AXES, "BatchNormalization")):
        factor = np.exp(generator.uniform(0.0, np.log(largest), link.channels))
        first = link.producer.layer
        now[first] = scaled_outputs(now.get(first, first), factor)
        for node in link.consumers:
            now[node.layer] = scaled_inputs(now.get(node.layer, node.layer), 1 / factor)
    return to_model(with_values(graph, {}, now))
