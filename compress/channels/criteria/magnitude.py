"""Channels by the size of their weights (Li et al., 2017, "Pruning filters for efficient ConvNets").

The weights that make a channel count, and those that take it (Fang et al., 2023, "DepGraph", group norm); those of
each layer relative to its mean, so that layers can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.criteria import Criterion, added
from slimedge.compress.channels.tracing import Tracing


def relative_sizes(
    tracing: Tracing, norm: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Give the mean size of the weights that make and take each unit, relative to those of their layers.

    Args:
        tracing: whose units they are.
        norm: from weights, shape (positions, weights of each), to their sizes, shape (positions,).

    Returns:
        As `Criterion.score`.
    """
    sizes, counts = [], []
    for use in tracing.uses.values():
        array = use.layer.weights[use.weight][1]
        if use.role == "own" or array.ndim < 2:
            continue
        lines = np.moveaxis(array.astype(np.float64), use.axis, 0).reshape(array.shape[use.axis], -1)
        each = norm(lines)
        sizes.append((use, each / max(float(each.mean()), np.finfo(np.float64).tiny)))
        counts.append((use, np.ones(len(each))))
    totals, times = added(tracing, sizes), added(tracing, counts)
    return np.divide(totals, times, out=np.full_like(totals, np.inf), where=times > 0)


def l1(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the sum of magnitudes of each line."""
    return np.asarray(np.abs(lines).sum(axis=1))


def l2(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the Euclidean norm of each line."""
    return np.asarray(np.sqrt(np.square(lines).sum(axis=1)))


L1 = Criterion(lambda asked: relative_sizes(asked.tracing, l1))
L2 = Criterion(lambda asked: relative_sizes(asked.tracing, l2))
