"""A quantized graph as one that trains, and what was trained put back into the quantized graph.

The graph that comes back differs from the one that was given in its numbers only: what exporters lower, and every
promise on shared ranges, stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting.outputs import Output, cut_to
from slimedge.compress.kernels import kernel_scale
from slimedge.compress.placement import Groups
from slimedge.compress.qat.layers import TrainedNorm, TrainedRange, TrainedWeights
from slimedge.compress.rules import FIXED_RANGES, Role, activation_of, relu_limit, role_of
from slimedge.fake_quant import FakeQuant, FakeQuantWeights
from slimedge.graph import Graph, Layer, Node, Value, with_values

# A range that ends so little above the cap of its ReLU ends at it.
CAP_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A graph that trains.

    Attributes:
        graph: it takes its inputs as a list, and gives what the losses compare as one.
        layers: each layer of the quantized graph that another one stands in for.
    """

    graph: Graph
    layers: Mapping[Layer, Layer]


@dataclass(frozen=True, slots=True)
class Norm:
    """A convolution or dense layer and the BatchNorm that was folded into it, both as they were before."""

    layer: Layer
    norm: Layer


def training_graph(
    graph: Graph,
    outputs: tuple[Output, ...],
    *,
    ranges: str,
    learned_scales: bool,
    norms: Mapping[str, Norm] | None = None,
) -> Training:
    """Put layers that train in the places of the fake-quants.

    Args:
        graph: read from a quantized model.
        outputs: those of its outputs that have a target.
        ranges: `learned` or `moving_average`, for all but the ranges of inputs and of functions with a fixed one.
        learned_scales: whether the scales of weights train; else they follow the largest weight.
        norms: by the name of the layer, BatchNorms that train with it.
    """
    layers = {
        layer: _weights(layer, learned=learned_scales, norm=(norms or {}).get(layer.name))
        for layer in graph.calls()
        if layer.type is FakeQuantWeights
    }
    for group in range_groups(graph):
        layers |= dict.fromkeys((node.layer for node in group), _range(graph, group, ranges))
    trained = with_values(graph, {}, layers)
    names = [f"trained_{index}" for index in range(len(outputs))]
    return Training(cut_to(trained, outputs, names), layers)


def with_bits(graph: Graph, bits: int) -> Graph:
    """Give a quantized graph whose weights have grids of other bits, each to the largest weight of its channel."""
    changed = {}
    for layer in graph.calls():
        if layer.type is not FakeQuantWeights or layer.config["bits"] == bits:
            continue
        arrays = dict(layer.weights)
        for name, axes in layer.config["axes"].items():
            arrays[f"{name}_scale"] = kernel_scale(arrays[name], axes, bits=bits)
        changed[layer] = layer.changed(weights=arrays, bits=bits)
    return with_values(graph, {}, changed)


def range_groups(graph: Graph) -> list[list[Node]]:
    """Give the fake-quants of a quantized graph by the range that they share.

    Those in front of a layer that only moves values share one with those behind it (`Role.SAME_SCALE`), where they
    have the same one now.
    """
    rounding = {node.output: node for node in graph.nodes if node.layer.type is FakeQuant}
    consumers = graph.consumers()
    groups = Groups()
    for value in rounding:
        groups.find(value)
    for node in graph.nodes:
        if role_of(node) is not Role.SAME_SCALE:
            continue
        behind = [taker for taker in consumers.get(node.output, []) if taker.output in rounding]
        beside = [*(rounding[value] for value in node.inputs if value in rounding), *behind]
        for other in beside[1:]:
            if _same_grid(beside[0].layer, other.layer):
                groups.join(beside[0].output, other.output)
    found: dict[Value, list[Node]] = {}
    for value, node in rounding.items():
        found.setdefault(groups.find(value), []).append(node)
    return list(found.values())


def with_weights(graph: Graph, weights: Mapping[Layer, Sequence[NDArray[Any]]]) -> Graph:
    """Give a graph with other weights, in the order of those of each layer; a range is in the config, too."""
    changed = {}
    for layer, arrays in weights.items():
        # Not by name: the two halves of a Bidirectional have the same ones.
        named = tuple((name, array) for (name, _), array in zip(layer.weights, arrays, strict=True))
        ends = {name: float(array) for name, array in named} if layer.type is FakeQuant else {}
        changed[layer] = Layer(layer.type, {**layer.config, **ends}, named)
    return with_values(graph, {}, changed)


def _same_grid(one: Layer, other: Layer) -> bool:
    return all(one.config[name] == other.config[name] for name in ("low", "high", "bits"))


def _range(graph: Graph, group: list[Node], ranges: str) -> Layer:
    producers = graph.producers()
    makers = [producers.get(node.inputs[0]) for node in group]
    fixed = any(maker is None or activation_of(maker) in FIXED_RANGES for maker in makers)
    first = group[0].layer
    caps = [cap for maker in makers if maker is not None and (cap := relu_limit(maker)) is not None]
    capped = [cap for cap in caps if math.isfinite(cap) and first.config["high"] <= cap * (1 + CAP_TOLERANCE)]
    config = {
        "name": first.name,
        "low": first.config["low"],
        "high": first.config["high"],
        "bits": first.config["bits"],
        "mode": "fixed" if fixed else ranges,
        "cap": min(capped, default=None),
        "dtype": "float32",
    }
    return Layer(TrainedRange, config)


def _weights(layer: Layer, *, learned: bool, norm: Norm | None) -> Layer:
    import keras

    config = {**layer.config, "learned": learned}
    names = [f"{name}_scale" for name in layer.config["axes"]]
    weights = dict(layer.weights)
    scales = [(name, weights.pop(name)) for name in names]
    exponents = [(f"{name}_exponent", np.zeros_like(scale)) for name, scale in scales] if learned else []
    if norm is None:
        return Layer(TrainedWeights, config, (*exponents, *scales, *weights.items()))
    inner = norm.layer.type.from_config(dict(norm.layer.config))  # type: ignore[attr-defined]
    batchnorm = norm.norm.type.from_config(dict(norm.norm.config))  # type: ignore[attr-defined]
    config["layer"] = keras.saving.serialize_keras_object(inner)
    config["norm"] = keras.saving.serialize_keras_object(batchnorm)
    arrays = [(f"norm_{name}", array) for name, array in norm.norm.weights]
    return Layer(TrainedNorm, config, (*exponents, *scales, *norm.layer.weights, *arrays))
