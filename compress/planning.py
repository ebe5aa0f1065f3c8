"""A plan: all that is decided about a quantized graph, before any of it is put into the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.kernels import bias_floor, kernel_scale, on_grid
from slimedge.compress.placement import Placement
from slimedge.compress.rules import WIDE_FIXED_RANGE
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer
from slimedge.weight_rounding import NARROW_BITS

Ranges = Mapping[int, tuple[float, float]]
# From here on a grid that ends at the largest weight is the best, or so near to it that nothing is gained.
WIDE_BITS = 8


@dataclass(frozen=True, slots=True)
class Bits:
    """How many bits integers have.

    Attributes:
        weights: of kernels, 2 to 8.
        activations: of activations, 8 or 16.
    """

    weights: int = 8
    activations: int = 8


@dataclass(frozen=True, slots=True)
class Grid:
    """The integer grid of an activation.

    Attributes:
        low: real value of the smallest integer.
        high: real value of the largest.
        scale: between neighbours.
        bits: of the integers.
    """

    low: float
    high: float
    scale: float
    bits: int = 8


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is rounded, with the bias beside it.

    Attributes:
        value: float32; rounded where a method chose the integers, else as trained.
        scale: float32, the kernel's rank, size 1 but on the axes that keep a scale of their own.
        bits: of the integers.
        bias: float32, shape (channels,), or None.
    """

    value: NDArray[np.float32]
    scale: NDArray[np.float32]
    bits: int
    bias: NDArray[np.float32] | None

    def rounded(self) -> NDArray[np.float32]:
        """Give the kernel on its grid."""
        return on_grid(self.value, self.scale, self.bits)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rounded, and to what.

    Attributes:
        graph: float, simplified.
        placement: which values are rounded.
        grids: of each group of values.
        kernels: of each layer whose weights are rounded.
    """

    graph: Graph
    placement: Placement
    grids: Mapping[int, Grid]
    kernels: Mapping[Layer, Kernel]

    def input_scales(self) -> dict[Layer, list[float]]:
        """Give the scale of the input of each call of a layer with a kernel."""
        found: dict[Layer, list[float]] = {}
        for node in self.graph.nodes:
            if node.layer in self.placement.kernels:
                found.setdefault(node.layer, []).append(
                    self.grids[self.placement.groups[node.inputs[0]]].scale
                )
        return found

    def with_kernels(self, kernels: Mapping[Layer, Kernel]) -> Plan:
        """Give the plan with other kernels for some layers."""
        return replace(self, kernels={**self.kernels, **kernels})


def planned(
    graph: Graph,
    placement: Placement,
    ranges: Ranges,
    bits: Bits,
    *,
    layer_bits: Mapping[Layer, int] | None = None,
    per_tensor: bool = False,
    activation_bits: Mapping[int, int] | None = None,
) -> Plan:
    """Plan to round each weight to the nearest integer.

    Args:
        graph: the one that was placed.
        placement: which values are rounded.
        ranges: lowest and highest real value by group.
        bits: of the integers.
        layer_bits: of the weights of single layers.
        per_tensor: whether all channels of a kernel have one scale.
        activation_bits: of single groups, where they are others than those of `bits`.

    Raises:
        InputError: a range that holds no finite value.
    """
    grids = {}
    for group, ends in ranges.items():
        width = (activation_bits or {}).get(group, bits.activations)
        wide = width > NARROW_BITS and group in placement.fixed
        grids[group] = grid_of_range(*(WIDE_FIXED_RANGE if wide else ends), width)
    plan = Plan(graph, placement, grids, {})
    scales = plan.input_scales()
    kernels = {}
    for layer, axes in placement.kernels.items():
        weights = dict(layer.weights)
        width = (layer_bits or {}).get(layer, bits.weights)
        value, bias = weights["kernel"], weights.get("bias")
        floor = bias_floor(value, axes["kernel"], bias, min(scales[layer]))
        scale = kernel_scale(
            value,
            axes["kernel"],
            floor,
            bits=width,
            per_tensor=per_tensor,
            least_error=width < WIDE_BITS,
        )
        kernels[layer] = Kernel(value, scale, width, bias)
    return plan.with_kernels(kernels)


def grid_of_range(low: float, high: float, bits: int) -> Grid:
    """Give the grid that covers a range and holds 0 exactly; see `slimedge.fake_quant.aligned_range`.

    Raises:
        InputError: the range holds no finite value.

    Example:
        >>> grid_of_range(-1.0, 4.0, 8)
        Grid(low=-1.0, high=4.0, scale=0.0196078431372549, bits=8)
        >>> grid_of_range(-1.0, 0.5, 16)
        Grid(low=-1.0, high=0.999969482421875, scale=3.0517578125e-05, bits=16)
    """
    from slimedge.fake_quant import aligned_range

    if not low <= high:
        raise InputError(
            "calibration saw no finite value in one of the tensors; check the calibration data and the "
            "float model's outputs for NaN."
        )
    return Grid(*aligned_range(low, high, bits), bits)
