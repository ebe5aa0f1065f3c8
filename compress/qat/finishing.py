"""What was trained as the numbers of a quantized graph: ranges on their grids, scales, biases that int32 can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.kernels import bias_floor, snapped_bias
from slimedge.compress.qat.layers import Trained
from slimedge.compress.qat.rewriting import Training, with_weights
from slimedge.fake_quant import FakeQuant, FakeQuantWeights, aligned_range
from slimedge.graph import Graph, Layer
from slimedge.graph_making import layer_names

if TYPE_CHECKING:
    import keras

Arrays = dict[str, NDArray[Any]]


def finished(graph: Graph, training: Training, model: keras.Model) -> Graph:
    """Give a quantized graph with the numbers that a model learned.

    Args:
        graph: the quantized one.
        training: what was made of it.
        model: what was made of that, trained.
    """
    names = layer_names(training.graph)
    found: dict[Layer, Any] = {}
    for layer in graph.calls():
        stand_in = training.layers.get(layer, layer)
        if stand_in in names and layer.weights:
            found[layer] = model.get_layer(names[stand_in])
    ranges = {
        layer: _aligned(made.range(), layer.config["bits"])
        for layer, made in found.items()
        if layer.type is FakeQuant and made.mode != "fixed"
    }
    weights: dict[Layer, list[NDArray[Any]]] = {}
    for layer, made in found.items():
        if layer in ranges:
            low, high, _ = ranges[layer]
            weights[layer] = [np.asarray(low, np.float32), np.asarray(high, np.float32)]
        elif layer.type is FakeQuantWeights:
            arrays = _rounded(layer, made.trained(), _input_scales(graph, layer, ranges))
            weights[layer] = [arrays[name] for name, _ in layer.weights]
        elif layer.type is not FakeQuant:
            weights[layer] = [np.asarray(variable.numpy()) for variable in made.weights]
    return with_weights(graph, weights)


def _aligned(ends: tuple[Any, Any], bits: int) -> tuple[float, float, float]:
    low, high = (float(end) for end in ends)
    return aligned_range(low, high, bits)


def _input_scales(
    graph: Graph, layer: Layer, ranges: Mapping[Layer, tuple[float, float, float]]
) -> set[float]:
    producers = graph.producers()
    makers = [producers[node.inputs[0]].layer for node in graph.nodes if node.layer is layer]
    return {
        ranges[maker][2]
        if maker in ranges
        else _aligned((maker.config["low"], maker.config["high"]), maker.config["bits"])[2]
        for maker in makers
        if maker.type is FakeQuant
    }


def _rounded(layer: Layer, trained: Trained, input_scales: set[float]) -> Arrays:
    arrays: Arrays = dict(trained.weights)
    for name, scale in trained.scales.items():
        axes = tuple(layer.config["axes"][name])
        floor = (
            bias_floor(arrays[name], axes, arrays.get("bias"), min(input_scales)) if input_scales else None
        )
        arrays[f"{name}_scale"] = np.asarray(scale if floor is None else np.maximum(scale, floor), np.float32)
    if "bias" in arrays and len(input_scales) == 1 and "kernel_scale" in arrays:
        (input_scale,) = input_scales
        arrays["bias"] = snapped_bias(arrays["bias"], input_scale, arrays["kernel_scale"])
    return arrays
