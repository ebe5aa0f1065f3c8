"""What of a kernel matters: how strong its inputs are together, and what the BatchNorm behind it makes of its outputs.

The error of a layer's outputs over examples x, with the gain g of a BatchNorm behind it, is

    E |g · (W' - W)ᵀ x|² = |M^½ (W' - W) g|²,   M = E[x xᵀ]

so the nearest factors of M^½ W g, taken back through M^½ and g, make the smallest error (Zhang et al., 2016,
"Accelerating very deep convolutional networks for classification and detection", section 3.1). For a convolution over
several positions M is that of the channels of one position, as if neighbours had nothing in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import Watch, layer_batches
from slimedge.compress.folding import affine_of
from slimedge.compress.low_rank.matrices import plain_product
from slimedge.graph import Graph, Layer, Node

if TYPE_CHECKING:
    from slimedge.data import Data

Array = NDArray[np.float64]

EXAMPLES = 512
# Of the mean strength of an input, so that one which no example used still counts a little.
DAMPING = 1e-3


@dataclass(frozen=True, slots=True)
class Weighting:
    """Weights of the two last axes of a kernel; None where all count alike.

    Attributes:
        root: M^½, (inputs, inputs).
        inverse: of it.
        gain: of each output, above 0.
    """

    root: Array | None = None
    inverse: Array | None = None
    gain: Array | None = None

    def on(self, kernel: Array) -> Array:
        """Give a kernel (…, inputs, outputs) weighted."""
        return _scaled(kernel if self.root is None else np.asarray(self.root @ kernel), self.gain)

    def off_inputs(self, factor: Array) -> Array:
        """Take the weights of the inputs off a factor (…, inputs, any)."""
        return factor if self.inverse is None else np.asarray(self.inverse @ factor)

    def off_outputs(self, factor: Array) -> Array:
        """Take the weights of the outputs off a factor (…, any, outputs)."""
        return _scaled(factor, None if self.gain is None else 1 / self.gain)


def weighting(moments: Array, gain: Array | None) -> Weighting:
    """Give the weights of a layer.

    Args:
        moments: M, (inputs, inputs).
        gain: of each output; None where no BatchNorm follows.
    """
    positive = None
    if gain is not None and np.any(gain):
        largest = np.abs(gain).max()
        positive = np.maximum(np.abs(gain) / largest, DAMPING)
    if not np.any(moments):
        return Weighting(gain=positive)
    values, vectors = np.linalg.eigh(moments)
    roots = np.sqrt(np.maximum(values, 0) + DAMPING * float(np.mean(np.diagonal(moments))))
    return Weighting((vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T, positive)


def weightings(
    graph: Graph, calls: Mapping[Layer, Sequence[Node]], data: Data | None
) -> dict[Layer, Weighting]:
    """Give the weights of layers.

    Args:
        graph: that they are in.
        calls: of each layer.
        data: bound to the graph's inputs; None makes all inputs and outputs alike, since gains alone, without the
            inputs that they answer, make things worse.
    """
    if data is None:
        return dict.fromkeys(calls, Weighting())
    moments = _moments(graph, calls, data)
    return {layer: weighting(moments[layer], _gain(graph, nodes)) for layer, nodes in calls.items()}


def _moments(graph: Graph, calls: Mapping[Layer, Sequence[Node]], data: Data) -> dict[Layer, Array]:
    """The sums of x xᵀ over examples and positions."""
    pairs = [(layer, node) for layer, nodes in calls.items() for node in nodes]
    watch = Watch(graph, [node.inputs[0] for _, node in pairs])
    sums: dict[Layer, Array] = {}
    for batch in layer_batches(data, watch.batch_size, EXAMPLES):
        for (layer, _), array in zip(pairs, watch.run(batch), strict=True):
            rows = _rows(layer, array).astype(np.float64)
            found = rows.T @ rows
            sums[layer] = sums[layer] + found if layer in sums else found
    return sums


def _rows(layer: Layer, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a layer takes, as (positions, inputs) in the order of its kernel's matrix."""
    equation = plain_product(str(layer.config["equation"])) if layer.kind == "EinsumDense" else None
    if equation is None:
        return array.reshape(-1, array.shape[-1])
    start = array.ndim - len(equation.given)
    axes = [start + equation.given.index(letter) for letter in equation.summed]
    count = len(axes)
    moved = np.moveaxis(array, axes, range(array.ndim - count, array.ndim))
    return moved.reshape(-1, int(np.prod(moved.shape[moved.ndim - count :])))


def _gain(graph: Graph, nodes: Sequence[Node]) -> Array | None:
    """What the BatchNorm behind a layer of one call multiplies its outputs with; None where there is none."""
    node = nodes[0]
    behind = graph.consumers().get(node.output, [])
    if len(nodes) > 1 or len(behind) != 1 or node.layer.kind == "EinsumDense" or node.output in graph.outputs:
        return None
    plain = node.layer.config.get("activation") in (None, "linear")
    if not plain or behind[0].layer.kind != "BatchNormalization":
        return None
    affine = affine_of(behind[0])
    return None if affine is None else affine[0]


def _scaled(kernel: Array, gain: Array | None) -> Array:
    return kernel if gain is None else kernel * gain
