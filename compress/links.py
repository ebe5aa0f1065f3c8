"""Where a factor for each channel can move from one layer's weights into the next one's without changing the model.

    relu(W1 x + b1) W2 = relu((W1 x + b1) / s) (s W2)     for s > 0

(Nagel et al., 2019, "Data-free quantization through weight equalization and bias correction", eq. 5 to 7.)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.folding import OUTPUT_AXES, has_plain_weights
from slimedge.compress.rules import relu_limit
from slimedge.graph import Graph, Layer, Node, Value

# Computed channel by channel, and f(a x) = a f(x) for a > 0.
HOMOGENEOUS = frozenset(
    {
        "AveragePooling1D",
        "AveragePooling2D",
        "Cropping1D",
        "Cropping2D",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "LeakyReLU",
        "MaxPooling1D",
        "MaxPooling2D",
        "UpSampling1D",
        "UpSampling2D",
        "ZeroPadding1D",
        "ZeroPadding2D",
    }
)
# Makes one axis of all; the channels stay its fastest part.
FLATTENS = "Flatten"


@dataclass(frozen=True, slots=True)
class Link:
    """A tensor whose channels can be scaled.

    Attributes:
        producer: the node that makes it; its layer has weights for each channel of its output.
        between: nodes that a factor passes through.
        consumers: nodes that take it, each with a kernel.
        channels: of the tensor.
    """

    producer: Node
    between: tuple[Node, ...]
    consumers: tuple[Node, ...]
    channels: int


def links_of(graph: Graph, *, producers: Collection[str] = tuple(OUTPUT_AXES)) -> list[Link]:
    """Find the links of a graph.

    Args:
        graph: simplified.
        producers: kinds of layers that may make the tensor.

    Returns:
        Links in the order of the graph; a ReLU with a largest value lets no factor pass.
    """
    consumers, calls = graph.consumers(), graph.calls()
    found = []
    for node in graph.nodes:
        channels = node.output.shape[-1] if node.output.shape else None
        if node.layer.kind not in producers or calls[node.layer] != 1 or channels is None:
            continue
        if not _scales(node):
            continue
        ends = _ends(graph, consumers, calls, node.output, channels)
        if ends is not None:
            found.append(Link(node, *ends, channels))
    return found


def _scales(node: Node) -> bool:
    """Whether a factor for each channel of a node's output goes into its layer's weights."""
    layer = node.layer
    if layer.kind in OUTPUT_AXES:
        return has_plain_weights(layer) and layer.config.get("activation") in (None, "linear")
    names = [name for name, _ in layer.weights]
    last = len(node.output.shape) - 1
    return (
        "gamma" in names
        and set(names) - {"moving_mean", "moving_variance"} <= {"gamma", "beta"}
        and layer.config.get("axis") in (-1, last, [-1], [last], (-1,), (last,))
    )


def _ends(
    graph: Graph,
    consumers: Mapping[Value, list[Node]],
    calls: Mapping[Layer, int],
    value: Value,
    channels: int,
) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """The nodes between, and the weighted ones behind them; None where another kind of node takes the tensor."""
    between: list[Node] = []
    while True:
        takers = consumers.get(value, [])
        if not takers or value in graph.outputs:
            return None
        if all(_takes(taker, calls, channels) for taker in takers):
            return tuple(between), tuple(takers)
        if len(takers) != 1 or not _passes(takers[0]):
            return None
        between.append(takers[0])
        value = takers[0].output


def _takes(node: Node, calls: Mapping[Layer, int], channels: int) -> bool:
    layer = node.layer
    return bool(
        layer.kind in OUTPUT_AXES
        and calls[layer] == 1
        and layer.config.get("activation") in (None, "linear")
        and int(layer.config.get("groups", 1)) == 1
        and has_plain_weights(layer)
        and dict(layer.weights)["kernel"].shape[input_axis(layer)] % channels == 0
    )


def _passes(node: Node) -> bool:
    limit = relu_limit(node)
    if limit is not None:
        return limit == math.inf
    if node.layer.kind == FLATTENS or node.layer.kind in HOMOGENEOUS:
        return bool(node.layer.config.get("data_format", "channels_last") == "channels_last")
    return False


def input_axis(layer: Layer) -> int:
    """Give the axis of a kernel along which the channels of the input lie."""
    if layer.kind.endswith("Transpose"):
        return -1
    return 0 if layer.kind == "Dense" else -2


def output_ranges(layer: Layer) -> NDArray[np.float64]:
    """Give max|w| of each output channel, shape (channels,)."""
    kernel = np.abs(dict(layer.weights)["kernel"]).astype(np.float64)
    axes = OUTPUT_AXES[layer.kind]
    return np.asarray(
        kernel.max(axis=tuple(axis for axis in range(kernel.ndim) if axis not in axes))
    ).reshape(-1)


def input_ranges(layer: Layer, channels: int) -> NDArray[np.float64]:
    """Give max|w| of each input channel, shape (channels,)."""
    lines = np.moveaxis(np.abs(dict(layer.weights)["kernel"]), input_axis(layer), 0).astype(np.float64)
    # Behind a Flatten the channels repeat for each position.
    return np.asarray(lines.reshape(-1, channels, int(np.prod(lines.shape[1:]))).max(axis=(0, 2)))


def scaled_outputs(layer: Layer, gain: NDArray[np.float64]) -> Layer:
    """Give a layer with every weight of an output channel multiplied, `gain` of shape (channels,).

    A normalization layer's gain and offset, or a kernel and bias.
    """
    axes = OUTPUT_AXES.get(layer.kind)
    weights = {}
    for name, array in layer.weights:
        if name == "kernel" and axes is not None:
            shape = [size if axis in axes else 1 for axis, size in enumerate(array.shape)]
            weights[name] = (array * gain.reshape(shape)).astype(np.float32)
        elif name.startswith("moving_"):
            weights[name] = array  # of the input
        else:
            weights[name] = (array * gain).astype(np.float32)
    return layer.changed(weights=weights).with_affine(gain, np.zeros_like(gain))


def scaled_inputs(layer: Layer, gain: NDArray[np.float64]) -> Layer:
    """Give a layer with every weight of an input channel multiplied, `gain` of shape (channels,)."""
    weights = dict(layer.weights)
    kernel = weights["kernel"]
    axis = input_axis(layer)
    repeated = np.tile(gain, kernel.shape[axis] // len(gain))
    shape = [1] * kernel.ndim
    shape[axis] = -1
    weights["kernel"] = (kernel * repeated.reshape(shape)).astype(np.float32)
    return layer.changed(weights=weights)
