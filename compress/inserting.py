"""The fake-quants of a plan, put into its graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.kernels import snapped_bias
from slimedge.compress.planning import Grid, Plan
from slimedge.compress.rules import Role, role_of
from slimedge.graph import Graph, Layer, Node, Value, with_arguments
from slimedge.weight_rounding import NARROW_BITS


def insert(plan: Plan, *, trainable: bool = True) -> Graph:
    """Put the fake-quants of a plan into its graph.

    Args:
        plan: what is rounded.
        trainable: keep float weights under a layer that rounds them at each call; else write the rounded weights
            into plain layers, which compute the same, faster.
    """
    graph, placement, grids = plan.graph, plan.placement, plan.grids
    wrapped = _rounded_kernels(plan, trainable=trainable)
    raw = {value: Value(value.shape, value.dtype) for value in placement.groups}
    names = {*(node.name for node in graph.nodes), *graph.input_names}
    nodes: list[Node] = []

    def rounding(source: str, before: Value, after: Value, group: int, name: str, **how: bool) -> Node:
        from slimedge.fake_quant import FakeQuant

        grid = grids[group]
        while name in names:
            name += "_"
        names.add(name)
        config = {
            "name": name,
            "low": grid.low,
            "high": grid.high,
            "bits": grid.bits,
            "dtype": "float32",
            **how,
        }
        layer = Layer(FakeQuant, config, _range_weights(grid))
        return Node(name, source, layer, (before,), {}, (after,))

    for value, name in zip(graph.inputs, graph.input_names, strict=True):
        if value in raw:
            # An input may be named as no TensorFlow scope can be.
            scope = re.sub(r"[^A-Za-z0-9_.]", "_", name)
            nodes.append(rounding(name, raw[value], value, placement.groups[value], f"{scope}_fq"))
    for node in graph.nodes:
        moved: dict[Value, Value] = {}
        for value in (value for taker, value in placement.requantized if taker is node):
            moved[value] = Value(value.shape, value.dtype)
            group = placement.groups[node.output]
            name = f"{node.name}_requantize"
            apart = _is_wide(grids[group]) or _is_wide(grids[placement.groups[value]])
            nodes.append(
                rounding(node.source, value, moved[value], group, name, requantizes=True, apart=apart)
            )
        new = replace(node, layer=wrapped.get(node.layer, node.layer))
        if moved:
            new = _with_inputs(new, moved)
        rounded = [value for value in node.outputs if value in raw]
        if rounded:
            highest = grids[placement.groups[rounded[0]]].high
            outputs = tuple(raw.get(value, value) for value in node.outputs)
            new = replace(new, layer=_opened(new, highest), outputs=outputs)
        nodes.append(new)
        for value in rounded:
            group = placement.groups[value]
            apart = _is_wide(grids[group]) and node not in placement.integers
            nodes.append(rounding(node.source, raw[value], value, group, f"{node.name}_fq", apart=apart))
    renamed = {value: raw[value] for value in graph.inputs if value in raw}
    return replace(
        graph,
        nodes=tuple(nodes),
        inputs=tuple(renamed.get(value, value) for value in graph.inputs),
        outputs=tuple(renamed.get(value, value) for value in graph.outputs),
        input_structure=with_arguments(graph.input_structure, renamed),
        output_structure=with_arguments(graph.output_structure, renamed),
    )


def _rounded_kernels(plan: Plan, *, trainable: bool) -> dict[Layer, Layer]:
    import keras

    from slimedge.fake_quant import FakeQuantWeights

    input_scales = plan.input_scales()
    wrapped = {}
    for layer, kernel in plan.kernels.items():
        weights = {**dict(layer.weights), "kernel": kernel.value}
        if kernel.bias is not None:
            scales = input_scales[layer]
            weights["bias"] = (
                snapped_bias(kernel.bias, scales[0], kernel.scale) if len(scales) == 1 else kernel.bias
            )
        if not trainable:
            wrapped[layer] = layer.changed(weights={**weights, "kernel": kernel.rounded()})
            continue
        inner = layer.type.from_config(dict(layer.config))  # type: ignore[attr-defined]
        config: dict[str, Any] = {
            "name": layer.name,
            "dtype": "float32",
            "layer": keras.saving.serialize_keras_object(inner),
            "axes": {name: list(kept) for name, kept in plan.placement.kernels[layer].items()},
            "bits": kernel.bits,
        }
        wrapped[layer] = Layer(FakeQuantWeights, config, (("kernel_scale", kernel.scale), *weights.items()))
    return wrapped


def _is_wide(grid: Grid) -> bool:
    return grid.bits > NARROW_BITS


def _range_weights(grid: Grid) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    return (("low", np.asarray(grid.low, np.float32)), ("high", np.asarray(grid.high, np.float32)))


def _opened(node: Node, highest: float) -> Layer:
    """A ReLU with an unusual upper end needs none where the fake-quant behind it ends at or below it."""
    limit = node.layer.config.get("max_value")
    if role_of(node) is Role.RELU and limit not in (None, 6.0) and highest <= float(limit) * (1 + 1e-6):
        return node.layer.changed(max_value=None)
    return node.layer


def _with_inputs(node: Node, moved: Mapping[Value, Value]) -> Node:
    return replace(
        node, args=with_arguments(node.args, moved), kwargs=with_arguments(dict(node.kwargs), moved)
    )
