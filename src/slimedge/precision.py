"""A model that computes in half precision, on a GPU or TPU, as one that computes in float32 with the same weights.

Mixed precision keeps its weights in float32 (Micikevicius et al., 2018, "Mixed Precision Training"), so nothing of
them is lost; CPUs and microcontrollers have no kernels for the halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimedge.graph import Graph, Layer, Value, with_values

HALVES = frozenset({"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


def computes_in_half(graph: Graph) -> bool:
    """Tell whether any tensor or layer of a graph is in half precision."""
    values = [*graph.inputs, *(value for node in graph.nodes for value in node.outputs)]
    return any(value.dtype in HALVES for value in values) or any(
        _has_half(node.layer.config) for node in graph.nodes
    )


def single_precision(graph: Graph) -> Graph:
    """Give a graph in which every layer, tensor and weight of half precision is float32."""
    import numpy as np

    layers: dict[Layer, Layer] = {}
    for node in graph.nodes:
        if node.layer not in layers:
            weights = tuple(
                (name, array.astype(np.float32) if str(array.dtype) in HALVES else array)
                for name, array in node.layer.weights
            )
            layers[node.layer] = Layer(node.layer.type, _single(node.layer.config), weights)
    values = [*graph.inputs, *(value for node in graph.nodes for value in node.outputs)]
    moved = {value: Value(value.shape, "float32") for value in values if value.dtype in HALVES}
    return with_values(graph, moved, layers)


def mixed_precision(graph: Graph, policy: str) -> Graph:
    """Give a graph whose layers compute in half precision, with weights in float32; its inputs stay as they are.

    Args:
        graph: of float32.
        policy: `mixed_float16` or `mixed_bfloat16`.
    """
    half = policy.removeprefix("mixed_")
    layers = {
        layer: layer.changed(dtype=policy)
        for layer in graph.calls()
        if _single_policy(layer.config.get("dtype")) and "dtype" in layer.config
    }
    made = {
        value: Value(value.shape, half)
        for node in graph.nodes
        if node.layer in layers
        for value in node.outputs
        if value.dtype == "float32"
    }
    return with_values(graph, made, layers)


def _single_policy(dtype: Any) -> bool:
    """Whether a layer's setting means float32: by name, or as Keras writes a policy."""
    if isinstance(dtype, Mapping):
        dtype = dtype.get("config", {}).get("name")
    return bool(dtype == "float32")


def _single(config: Any) -> Any:
    """A config with every policy and type of half precision replaced, in wrapped layers as well."""
    if isinstance(config, Mapping):
        return {
            key: value if key == "name" and "dtype" in config else _single(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(map(_single, config)) if not hasattr(config, "_fields") else config
    return "float32" if isinstance(config, str) and config in HALVES else config


def _has_half(config: Any) -> bool:
    if isinstance(config, Mapping):
        return any(
            _has_half(value) for key, value in config.items() if key != "name" or "dtype" not in config
        )
    if isinstance(config, (list, tuple)):
        return any(map(_has_half, config))
    return isinstance(config, str) and config in HALVES
