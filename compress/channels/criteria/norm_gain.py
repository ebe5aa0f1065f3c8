"""Channels by the gain of their BatchNorm (Liu et al., 2017, "Learning efficient CNNs through network slimming")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.criteria import Asked, Criterion, added
from slimedge.errors import InputError


def _score(asked: Asked) -> NDArray[np.float64]:
    gains = [
        (use, np.abs(use.layer.weights[use.weight][1].astype(np.float64)))
        for use in asked.tracing.uses.values()
        if use.layer.kind == "BatchNormalization" and use.layer.weights[use.weight][0] == "gamma"
    ]
    if not gains:
        raise InputError(
            f"model '{asked.graph.name}' has no BatchNormalization with a gain on channels that can go; take another "
            "criterion than batchnorm, as hessian or l2."
        )
    totals = added(asked.tracing, gains)
    times = added(asked.tracing, [(use, np.ones(len(gain))) for use, gain in gains])
    return np.divide(totals, times, out=np.full_like(totals, np.inf), where=times > 0)


BATCHNORM = Criterion(_score)
