"""Channels by the size of their weights (Li et al., 2017, "Pruning filters for efficient ConvNets").

The weights that make a channel count, and those that take it (Fang et al., 2023, "DepGraph", group norm); those of
each layer relative to its mean, so that layers can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.criteria import Asked, Criterion, added


def _relative(norm: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Criterion:
    def score(asked: Asked) -> NDArray[np.float64]:
        sizes, counts = [], []
        for use in asked.tracing.uses.values():
            array = use.layer.weights[use.weight][1]
            if use.role == "own" or array.ndim < 2:
                continue
            lines = np.moveaxis(array.astype(np.float64), use.axis, 0).reshape(array.shape[use.axis], -1)
            each = norm(lines)
            sizes.append((use, each / max(float(each.mean()), np.finfo(np.float64).tiny)))
            counts.append((use, np.ones(len(each))))
        totals, times = added(asked.tracing, sizes), added(asked.tracing, counts)
        return np.divide(totals, times, out=np.full_like(totals, np.inf), where=times > 0)

    return Criterion(score)


L1 = _relative(lambda lines: np.abs(lines).sum(axis=1))
L2 = _relative(lambda lines: np.sqrt(np.square(lines).sum(axis=1)))
