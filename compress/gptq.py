"""GPTQ: weights are rounded one input after the other, and those still to come make up for the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.methods import Method
from slimedge.compress.planning import Plan
from slimedge.compress.reconstruction import Quadratic, reconstructed

if TYPE_CHECKING:
    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class Gptq(Method):
    """GPTQ (Frantar et al., 2023, "GPTQ: accurate post-training quantization for GPT", algorithm 1).

    The inputs of most power go first, and convolutions are products of matrices.

    Args:
        damping: share of the mean diagonal of H that is added to it.
    """

    damping: float = 0.01

    def refine(self, plan: Plan, data: Data) -> Plan:
        """Choose the integers of each convolution and dense layer, in the order of the graph."""
        return reconstructed(plan, data, lambda quadratic: successively_rounded(quadratic, self.damping))


GPTQ = Gptq()


def successively_rounded(quadratic: Quadratic, damping: float = 0.01) -> NDArray[np.float64]:
    """Choose whole numbers for the weights, one input after the other.

    Args:
        quadratic: of the layer.
        damping: share of the mean diagonal of H that is added to it.

    Returns:
        float64, the shape of `quadratic.weights`, whole numbers; never with a larger error than those nearest to the
        weights.
    """
    chosen = quadratic.nearest()
    for group in range(len(chosen)):
        chosen[group] = _one_group(quadratic, group, damping)
    nearest = quadratic.nearest()
    better = quadratic.errors(chosen) <= quadratic.errors(nearest)
    return np.asarray(np.where(better, chosen, nearest))


def _one_group(quadratic: Quadratic, group: int, damping: float) -> NDArray[np.float64]:
    hessian = quadratic.hessian[group].astype(np.float64)
    size = len(hessian)
    diagonal = np.diagonal(hessian)
    hessian = hessian + np.eye(size) * (damping * (float(diagonal.mean()) or 1.0))
    # The weights that would make up for the error of the input as well as they can: they are rounded.
    target = (
        quadratic.weights[group] - np.linalg.solve(hessian, quadratic.shift[group]) / quadratic.scale[group]
    )
    order = np.argsort(-diagonal)
    upper = np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(order, order)])).T
    rest, moving = target[order], quadratic.moving[group][order]
    chosen = np.empty_like(rest)
    for index in range(size):
        chosen[index] = np.clip(np.rint(rest[index]), -quadratic.limit, quadratic.limit) * moving[index]
        error = (rest[index] - chosen[index]) / upper[index, index]
        rest[index + 1 :] -= np.outer(upper[index, index + 1 :], error)
    result = np.empty_like(chosen)
    result[order] = chosen
    return np.asarray(result, np.float64)
