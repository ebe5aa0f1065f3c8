"""Bias correction without data: the mean error that rounding makes follows from the BatchNorms of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from slimedge.compress.methods import Method
from slimedge.compress.patches import KINDS, mean_product
from slimedge.compress.planning import Kernel, Plan
from slimedge.compress.rules import relu_limit
from slimedge.graph import Graph, Node, Value
from slimedge.moments import Moments

if TYPE_CHECKING:
    from slimedge.data import Data

# Layers that leave what is known of each channel as it is. The zeros that one of them adds are not counted.
KEEPS = frozenset(
    {"Cropping1D", "Cropping2D", "Flatten", "Reshape", "UpSampling1D", "UpSampling2D"}
    | {"ZeroPadding1D", "ZeroPadding2D"}
)
# Layers that leave the mean; how far neighbouring values hang together, no BatchNorm says.
AVERAGES = frozenset(
    {"AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"}
)


@dataclass(frozen=True, slots=True)
class AnalyticBiasCorrection(Method):
    """Analytic bias correction (Nagel et al., 2019, section 4.2.1, eq. 17 to 19, and appendix C).

    b' = b - (W' - W) E x, with W' the rounded kernel and E x the mean of each input channel. A channel that a
    BatchNorm was folded into is taken for a normal one, with its beta as mean and its gamma as deviation, and goes on
    through ReLUs and sums of independent branches. Where a kernel reaches over the border, the zeros there are
    counted. A layer keeps its bias where the distribution of its input is not known.
    """

    def refine(self, plan: Plan, data: Data) -> Plan:
        """Correct the bias of each layer of one use that has one; the examples are not looked at."""
        del data
        known, calls = moments_of(plan.graph), plan.graph.calls()
        kernels = {}
        for node in plan.graph.nodes:
            kernel = plan.kernels.get(node.layer)
            if kernel is not None and calls[node.layer] == 1 and node.layer.kind in KINDS:
                given = known.get(node.inputs[0])
                kernels[node.layer] = kernel if given is None else _corrected(node, kernel, given)
        return plan.with_kernels(kernels)


ANALYTIC_BIAS_CORRECTION = AnalyticBiasCorrection()


def _corrected(node: Node, kernel: Kernel, given: Moments) -> Kernel:
    """The kernel beside the trained bias, corrected for this rounding alone: twice is the same as once."""
    value, bias = node.layer.weight("kernel"), node.layer.weight("bias")
    if value is None or bias is None:
        return kernel
    change = kernel.rounded().astype(np.float64) - value
    error = mean_product(node.layer, change, given.mean, node.inputs[0].shape)
    return replace(kernel, bias=(bias - error).astype(np.float32))


def moments_of(graph: Graph) -> dict[Value, Moments]:
    """Give what BatchNorms say of the channels of each value, where they say it.

    Args:
        graph: simplified.
    """
    known: dict[Value, Moments] = {}
    for node in graph.nodes:
        found = node.layer.moments or _passed_on(node, known)
        if found is not None:
            known[node.output] = found
    return known


def _passed_on(node: Node, known: Mapping[Value, Moments]) -> Moments | None:
    given = [known[value] for value in node.inputs if value in known]
    if not given or len(given) < len(node.inputs):
        return None
    kind, channels = node.layer.kind, node.output.shape[-1]
    if node.layer.config.get("data_format") == "channels_first":
        return None
    limit = relu_limit(node)
    if limit is not None:
        return given[0].clipped(0.0, limit)
    if kind == "Add":
        return _sum(given)
    if kind in AVERAGES:
        return Moments(given[0].mean, None)
    # Behind a Flatten the channels repeat for each position; another Reshape may mix them.
    same = kind == "Flatten" or channels == node.inputs[0].shape[-1]
    return given[0] if kind in KEEPS and same else None


def _sum(given: Sequence[Moments]) -> Moments | None:
    if len({moments.mean.shape for moments in given}) > 1:
        return None
    mean = np.sum([moments.mean for moments in given], axis=0)
    deviations = [moments.deviation for moments in given if moments.deviation is not None]
    if len(deviations) < len(given):
        return Moments(mean, None)
    return Moments(mean, np.sqrt(np.sum(np.square(deviations), axis=0)))
