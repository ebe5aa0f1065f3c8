"""Bias absorption: what a ReLU never cuts off is moved from the bias before it into the bias behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import Watch, layer_batches
from slimedge.compress.folding import OUTPUT_AXES
from slimedge.compress.links import Link, links_of
from slimedge.compress.methods import Method
from slimedge.compress.patches import mean_product
from slimedge.compress.rules import relu_limit
from slimedge.graph import Graph, Layer, Node, with_values

if TYPE_CHECKING:
    from slimedge.data import Data

EXAMPLES = 512


@dataclass(frozen=True, slots=True)
class BiasAbsorption(Method):
    """High-bias absorption (Nagel et al., 2019, section 4.1.3, eq. 15 and 16).

    relu(y) W2 + b2 = relu(y - c) W2 + (c W2 + b2) where y >= c. c = max(0, mean - 3 deviations) of each channel of y,
    from the calibration examples instead of BatchNorm's statistics. Left as they are: layers whose next one pads its
    input with zeros, which would need c there.

    Args:
        deviations: of y below its mean.
    """

    deviations: float = 3.0

    def prepare(self, graph: Graph, data: Data) -> Graph:
        """Move biases in a float graph."""
        links = [link for link in links_of(graph) if _moves_constants(link)]
        levels = _lowest(graph, [link.producer for link in links], data, self.deviations)
        now: dict[Layer, Layer] = {}
        for link, level in zip(links, levels, strict=True):
            if not level.any():
                continue
            first = now.get(link.producer.layer, link.producer.layer)
            now[link.producer.layer] = _moved(first, -level)
            for node in link.consumers:
                layer = now.get(node.layer, node.layer)
                kernel = np.asarray(layer.weight("kernel"), np.float64)
                now[node.layer] = _moved(layer, mean_product(layer, kernel, level, node.inputs[0].shape))
        return with_values(graph, {}, now)


BIAS_ABSORPTION = BiasAbsorption()


def _moves_constants(link: Link) -> bool:
    """Whether a constant that is taken off the producer's channels arrives at each consumer as it is."""
    if any(relu_limit(node) != math.inf for node in link.between):
        return False
    if "bias" not in dict(link.producer.layer.weights) or not link.between:
        return False
    return all(_takes_constants(node) for node in link.consumers)


def _takes_constants(node: Node) -> bool:
    """Whether a layer pads nothing and sees each channel once."""
    layer = node.layer
    if layer.kind == "Dense":
        return True
    sizes = layer.config["kernel_size"]
    whole = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return not layer.kind.endswith("Transpose") and (layer.config["padding"] == "valid" or set(whole) == {1})


def _lowest(graph: Graph, nodes: Sequence[Node], data: Data, deviations: float) -> list[NDArray[np.float64]]:
    """What each channel of each node's output hardly ever falls below, at least 0."""
    if not nodes:
        return []
    seen = Watch(graph, [node.output for node in nodes])
    sums = [np.zeros((3, node.output.shape[-1] or 0)) for node in nodes]
    for batch in layer_batches(data, seen.batch_size, EXAMPLES):
        for index, array in enumerate(seen.run(batch)):
            lines = array.reshape(-1, array.shape[-1]).astype(np.float64)
            sums[index] += np.stack(
                [np.full(lines.shape[1], len(lines)), lines.sum(axis=0), np.square(lines).sum(axis=0)]
            )
    levels = []
    for count, first, second in sums:
        mean = first / count
        spread = np.sqrt(np.maximum(second / count - mean**2, 0))
        levels.append(np.maximum(0, mean - deviations * spread))
    return levels


def _moved(layer: Layer, change: NDArray[np.float64]) -> Layer:
    """A layer with another bias."""
    weights = dict(layer.weights)
    axes = OUTPUT_AXES[layer.kind]
    channels = int(np.prod([weights["kernel"].shape[axis] for axis in axes]))
    bias = weights.get("bias", np.zeros(channels, np.float32))
    moved = layer.changed(weights={**weights, "bias": (bias + change).astype(np.float32)}, use_bias=True)
    return moved.with_affine(np.ones(channels), change)
