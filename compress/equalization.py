"""Cross-layer equalization: the channels of neighbouring kernels are scaled to the same ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import Watch, layer_batches, signal_to_noise
from slimedge.compress.links import (
    input_ranges,
    links_of,
    output_ranges,
    scaled_inputs,
    scaled_outputs,
)
from slimedge.compress.methods import Method
from slimedge.compress.rules import relu_limit
from slimedge.graph import Graph, Layer, with_values

if TYPE_CHECKING:
    from slimedge.data import Data

# A ReLU6 becomes a ReLU, as in the paper, where that is hardly seen in the outputs.
LEAST_SQNR_DB = 30.0
EXAMPLES = 256


@dataclass(frozen=True, slots=True)
class Equalization(Method):
    """Cross-layer equalization (Nagel et al., 2019, section 4.1, eq. 10 and 11).

    s_i = sqrt(r1_i / r2_i) for each channel i between two layers, with r the largest |w| of the channel on either
    side; repeated over all pairs until no s differs from 1. A ReLU6 between two layers stands in the way: they are
    replaced by ReLU where the calibration examples' outputs stay the same to 30 dB, else those layers are left.

    Args:
        sweeps: largest number of passes over the model.
        tolerance: of s, at which it ends.
    """

    sweeps: int = 100
    tolerance: float = 1e-3

    def prepare(self, graph: Graph, data: Data) -> Graph:
        """Equalize a float graph."""
        return equalized(without_caps(graph, data), sweeps=self.sweeps, tolerance=self.tolerance)


EQUALIZATION = Equalization()


def equalized(graph: Graph, *, sweeps: int = 100, tolerance: float = 1e-3) -> Graph:
    """Give a graph that computes the same, with the ranges of channels on both sides of a link made equal.

    Args:
        graph: simplified.
        sweeps: largest number of passes.
        tolerance: largest |log s| at which it ends.
    """
    links = links_of(graph)
    now: dict[Layer, Layer] = {
        node.layer: node.layer for link in links for node in (link.producer, *link.consumers)
    }
    for _ in range(sweeps):
        largest = 0.0
        for link in links:
            first = now[link.producer.layer]
            behind = [now[node.layer] for node in link.consumers]
            factor = _factor(
                output_ranges(first), np.max([input_ranges(layer, link.channels) for layer in behind], axis=0)
            )
            now[link.producer.layer] = scaled_outputs(first, 1 / factor)
            for node in link.consumers:
                now[node.layer] = scaled_inputs(now[node.layer], factor)
            largest = max(largest, float(np.max(np.abs(np.log(factor)), initial=0)))
        if largest <= tolerance:
            break
    return with_values(graph, {}, now)


def _factor(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """sqrt(r1 / r2); 1 for a channel of zeros."""
    usable = (before > 0) & (after > 0)
    ratio = np.divide(before, after, out=np.ones_like(before), where=usable)
    return np.asarray(np.sqrt(ratio))


def without_caps(graph: Graph, data: Data) -> Graph:
    """Give a graph with ReLU in the places of ReLU6, where that hardly changes its outputs; else the graph itself."""
    capped = [node for node in graph.nodes if math.isfinite(relu_limit(node) or math.inf)]
    if not capped:
        return graph
    changed = {node.layer: node.layer.changed(max_value=None) for node in capped if node.layer.kind == "ReLU"}
    changed |= {node.layer: _plain(node.layer) for node in capped if node.layer.kind == "Activation"}
    other = with_values(graph, {}, changed)
    floats = [index for index, value in enumerate(graph.outputs) if value.dtype == "float32"]
    exact = Watch(graph, [graph.outputs[index] for index in floats])
    plain = Watch(other, [other.outputs[index] for index in floats])
    batches = layer_batches(data, exact.batch_size, EXAMPLES)
    levels = signal_to_noise((exact.run(batch), plain.run(batch)) for batch in batches)
    return other if levels and min(levels) >= LEAST_SQNR_DB else graph


def _plain(layer: Layer) -> Layer:
    return layer.changed(activation="relu")
