"""The error of a layer's output as a quadratic form of its kernel, so that integers are chosen on all the data at once.

With x the layer's input in the float model and x' in the quantized one, W the kernel and W + D the rounded one,

    E (x'(W + D) - x W)² = Dᵀ H D + 2 Dᵀ C + constant,   H = E x'ᵀx',   C = E x'ᵀ(x' - x) W

over all positions of all examples (Nagel et al., 2020, "Up or down? Adaptive rounding for post-training quantization",
eq. 13 and 21; there H alone, from samples of it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.patches import KINDS, as_kernel, as_matrix, patches
from slimedge.compress.planning import Kernel, Plan
from slimedge.compress.walking import Visit, walk
from slimedge.weight_rounding import largest_integer

if TYPE_CHECKING:
    from slimedge.data import Data

# H is this many squared numbers: 600 MB in all at the most.
LARGEST_INPUTS = 8192
# Positions whose windows are in memory at once.
POSITION_BYTES = 64 * 2**20
# Numbers that all rounds of a descent may look at.
DESCENT = 2e9


@dataclass(frozen=True, slots=True)
class Quadratic:
    """What is minimized.

    Attributes:
        hessian: H, float32, shape (groups, inputs, inputs).
        shift: C, float32, shape (groups, inputs, outputs).
        weights: W in units of its scale, float64, shape (groups, inputs, outputs).
        scale: float64, shape (groups, 1, outputs).
        limit: largest integer.
    """

    hessian: NDArray[np.float32]
    shift: NDArray[np.float32]
    weights: NDArray[np.float64]
    scale: NDArray[np.float64]
    limit: int

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Which weights may become any integer: those that are 0, as pruning left them, stay 0."""
        return np.asarray(self.weights != 0)

    def errors(self, integers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the expected squared error of each output without the constant, shape (groups, 1, outputs)."""
        change = (integers - self.weights) * self.scale
        return np.asarray(np.sum(change * (self.hessian @ change + 2 * self.shift), axis=1, keepdims=True))

    def nearest(self) -> NDArray[np.float64]:
        """Give the integers nearest to the weights."""
        return np.clip(np.rint(self.weights), -self.limit, self.limit)


def descended(quadratic: Quadratic, integers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move single integers of each output up or down by one, the one that gains most first, until none gains.

    Args:
        quadratic: of the layer.
        integers: where it starts, shape (groups, inputs, outputs).

    Returns:
        Integers of the same shape with an error that is never larger.
    """
    values = integers.copy()
    groups, inputs, outputs = values.shape
    hessian = quadratic.hessian.astype(np.float64)
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)[:, :, None]
    slope = hessian @ ((values - quadratic.weights) * quadratic.scale) + quadratic.shift
    rows, columns = np.meshgrid(np.arange(groups), np.arange(outputs), indexing="ij")
    for _ in range(min(inputs, int(DESCENT / values.size))):
        step = np.where(slope > 0, -1.0, 1.0)
        gain = 2 * step * quadratic.scale * slope + diagonal * quadratic.scale**2
        gain[(np.abs(values + step) > quadratic.limit) | ~quadratic.moving] = np.inf
        place = np.argmin(gain, axis=1)
        change = np.where(gain[rows, place, columns] < 0, step[rows, place, columns], 0.0)
        if not change.any():
            break
        values[rows, place, columns] += change
        moved = change * quadratic.scale[:, 0]
        slope += np.swapaxes(hessian[rows, place], 1, 2) * moved[:, None]
    return values


def reconstructed(plan: Plan, data: Data, rounded: Callable[[Quadratic], NDArray[np.float64]]) -> Plan:
    """Choose the integers of each convolution and dense layer of one use, in the order of the graph.

    Args:
        plan: what is rounded so far.
        data: calibration examples, bound to the model.
        rounded: gives the integers of a layer.
    """

    def choose(visit: Visit, output: Callable[[Kernel], Any]) -> Kernel:
        del output
        quadratic = quadratic_of(visit)
        return visit.kernel if quadratic is None else with_integers(visit, quadratic, rounded(quadratic))

    return walk(plan, data, choose)


def quadratic_of(visit: Visit) -> Quadratic | None:
    """Form the error of a layer; None where its products are not formed or too wide."""
    if visit.layer.kind not in KINDS:
        return None
    value = as_matrix(visit.layer, visit.kernel.value).astype(np.float64)
    if value.shape[1] > LARGEST_INPUTS:
        return None
    whole = np.broadcast_to(visit.kernel.scale, visit.kernel.value.shape)
    scale = as_matrix(visit.layer, whole)[:, :1].astype(np.float64)
    hessian, mixed = _moments(visit)
    shift = (hessian - mixed) @ value.astype(np.float32)
    return Quadratic(hessian, shift, value / scale, scale, largest_integer(visit.kernel.bits))


def with_integers(visit: Visit, quadratic: Quadratic, integers: NDArray[np.float64]) -> Kernel:
    """Give the visited kernel with these integers."""
    value = as_kernel(visit.layer, integers * quadratic.scale, visit.kernel.value.shape)
    kernel = visit.kernel
    return Kernel(np.ascontiguousarray(value, np.float32), kernel.scale, kernel.bits, kernel.bias)


def _moments(visit: Visit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """E x'ᵀx' and E x'ᵀx, over groups."""
    examples = len(visit.exact)
    one = patches(visit.layer, visit.exact[:1])
    step = max(1, POSITION_BYTES // max(one.nbytes, 1))
    hessian = np.zeros((one.shape[1], one.shape[2], one.shape[2]), np.float64)
    mixed = np.zeros_like(hessian)
    for start in range(0, examples, step):
        rows = slice(start, start + step)
        seen = np.swapaxes(patches(visit.layer, visit.rounded[rows]), 0, 1)
        exact = np.swapaxes(patches(visit.layer, visit.exact[rows]), 0, 1)
        turned = np.swapaxes(seen, 1, 2)
        hessian += turned @ seen
        mixed += turned @ exact
    total = examples * one.shape[0]
    return (hessian / total).astype(np.float32), (mixed / total).astype(np.float32)
