"""What a channel is worth: a number for each unit, the smallest of which go first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.tracing import Tracing, Use
from slimedge.graph import Graph
from slimedge.registry import Registry

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

CRITERIA = Registry(
    "criterion",
    {
        "hessian": "slimedge.compress.channels.criteria.gates:HESSIAN",
        "taylor": "slimedge.compress.channels.criteria.gates:TAYLOR",
        "l1": "slimedge.compress.channels.criteria.magnitude:L1",
        "l2": "slimedge.compress.channels.criteria.magnitude:L2",
        "batchnorm": "slimedge.compress.channels.criteria.norm_gain:BATCHNORM",
        "random": "slimedge.compress.channels.criteria.chance:RANDOM",
    },
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a criterion may look at.

    Attributes:
        model: float.
        graph: read from it.
        tracing: of the graph.
        data: bound to the model's inputs.
        seed: of what is drawn.
    """

    model: keras.Model
    graph: Graph
    tracing: Tracing
    data: Data
    seed: int


@dataclass(frozen=True, slots=True)
class Criterion:
    """What channels are worth.

    Attributes:
        score: gives a number for each unit, shape (units made, FIXED among them), float64; infinite where it cannot
            tell. `Units.roots` says which of them counts for a channel.
        in_loss: whether it is what the loss grows by, which can be weighed against the work that is saved; otherwise
            only units of equal standing are compared.
    """

    score: Callable[[Asked], NDArray[np.float64]]
    in_loss: bool = False


def added(tracing: Tracing, parts: list[tuple[Use, NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Add up numbers for the positions of uses, by unit.

    Args:
        tracing: whose units they are.
        parts: uses, each with a number for each position along its axis.
    """
    totals = np.zeros(tracing.units.count)
    for use, numbers in parts:
        np.add.at(totals, tracing.units.roots(use.ids), numbers)
    return totals
