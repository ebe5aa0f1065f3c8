"""AdaRound: each weight is rounded up or down so that the layer's output changes least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.methods import Method
from slimedge.compress.planning import Plan
from slimedge.compress.reconstruction import Quadratic, descended, reconstructed

if TYPE_CHECKING:
    from slimedge.data import Data

# Of the stretched sigmoid: Louizos et al., 2018, as Nagel et al. take them.
STRETCH, SHIFT = 1.2, -0.1
# Multiplications that the steps of one layer may take in all; a wide layer makes fewer.
OPERATIONS = 5e11


@dataclass(frozen=True, slots=True)
class AdaRound(Method):
    """Adaptive rounding (Nagel et al., 2020, eq. 21 to 25), on the quadratic form of each layer's error.

    Args:
        steps: of Adam on each layer; fewer for wide ones.
        learning_rate: of Adam.
        regularization: weight of the term that drives each weight to a whole number.
        warm_up: share of the steps without that term.
    """

    steps: int = 3_000
    learning_rate: float = 0.02
    regularization: float = 0.01
    warm_up: float = 0.2

    def refine(self, plan: Plan, data: Data) -> Plan:
        """Choose the integers of each convolution and dense layer, in the order of the graph."""
        return reconstructed(plan, data, lambda quadratic: adaptively_rounded(quadratic, self))


ADAROUND = AdaRound()


def adaptively_rounded(quadratic: Quadratic, settings: AdaRound = ADAROUND) -> NDArray[np.float64]:
    """Choose whole numbers next to the weights that make the error small, then move single ones while that helps.

    Args:
        quadratic: of the layer.
        settings: of the optimization.

    Returns:
        float64, the shape of `quadratic.weights`, whole numbers; never with a larger error than those nearest to the
        weights.
    """
    limit = quadratic.limit
    clipped = np.clip(quadratic.weights, -limit, limit)
    floor = np.minimum(np.floor(clipped), limit - 1)
    # In units of the error that one rounded weight makes: s² times the mean square of the input.
    power = float(np.mean(np.diagonal(quadratic.hessian, axis1=1, axis2=2))) or 1.0
    hessian = quadratic.hessian / np.float32(power)
    gain = quadratic.shift / (power * quadratic.scale)
    weights, moving = quadratic.weights, quadratic.moving
    rest = np.clip(clipped - floor, 0.01, 0.99)
    logits = -np.log(STRETCH / (rest - SHIFT) - 1)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    steps = int(np.clip(OPERATIONS / (hessian.size * weights.shape[-1]), 200, settings.steps))
    for step in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-logits))
        share = np.clip(sigmoid * STRETCH + SHIFT, 0, 1) * moving
        change = (floor + share - weights).astype(np.float32)
        gradient = 2 * (hessian @ change + gain)
        progress = (step / steps - settings.warm_up) / (1 - settings.warm_up)
        if progress > 0:
            sharpness = 2 + 9 * (1 + np.cos(np.pi * progress))  # 20 to 2
            away = 2 * share - 1
            gradient = gradient - settings.regularization * 2 * sharpness * np.sign(away) * np.abs(away) ** (
                sharpness - 1
            )
        gradient = gradient * np.where((share > 0) & (share < 1), STRETCH * sigmoid * (1 - sigmoid), 0)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        logits -= (
            settings.learning_rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        )
    chosen = descended(quadratic, floor + ((logits > 0) & moving))
    nearest = quadratic.nearest()
    return np.where(quadratic.errors(chosen) <= quadratic.errors(nearest), chosen, nearest)
