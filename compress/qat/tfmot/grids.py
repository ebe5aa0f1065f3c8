"""The grids that TFMOT rounds kernels to, for kernels that BatchNorm is folded into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.kernels import bias_floor
from slimedge.compress.planning import Plan
from slimedge.graph import Graph, Layer

# Of a folded weight; float32 sums and products differ by less.
TOLERANCE = 1e-4


def with_scales(plan: Plan, graph: Graph, scales: Mapping[str, NDArray[Any]]) -> Plan:
    """Give a plan whose kernels are rounded to the integers that TFMOT rounds them to.

    TFMOT rounds a kernel before BatchNorm multiplies what it computes, with a scale for each entry of the last axis, or
    one for all: so dense and most depthwise layers have one scale there. Folding multiplies each channel by a gain,
    and its scale with it.

    Args:
        plan: of a simplified graph.
        graph: the one that TFMOT trained.
        scales: TFMOT's, by the name of the layer; each one number, or one for each entry of the kernel's last axis.
    """
    before = {layer.name: layer for layer in graph.calls()}
    input_scales = plan.input_scales()
    changed = {}
    for layer, kernel in plan.kernels.items():
        if layer.name not in scales:
            continue
        axes = plan.placement.kernels[layer]["kernel"]
        gain = _gain(before[layer.name], kernel.value, axes)
        if gain is None:
            continue
        scale = gain * scales[layer.name]
        floor = bias_floor(kernel.value, axes, kernel.bias, min(input_scales[layer]))
        scale = scale if floor is None else np.maximum(scale, floor)
        changed[layer] = replace(kernel, scale=np.asarray(scale, np.float32))
    return plan.with_kernels(changed)


def _gain(layer: Layer, folded: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Give by how much each channel of a kernel grew, sizes 1 but on `axes`; None where something else changed, too."""
    kernel = layer.weight("kernel")
    if kernel is None or kernel.shape != folded.shape:
        return None
    reduced = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    largest, grown = (
        np.max(np.abs(array), axis=reduced, keepdims=True).astype(np.float64) for array in (kernel, folded)
    )
    gain = np.divide(grown, largest, out=np.ones_like(grown), where=(largest > 0) & (grown > 0))
    off = np.abs(np.abs(kernel) * gain - np.abs(folded))
    return gain if bool(np.all(off <= TOLERANCE * grown)) else None
