"""Channels at random: what every other criterion has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.criteria import Asked, Criterion


def _score(asked: Asked) -> NDArray[np.float64]:
    return np.random.default_rng(asked.seed).random(asked.tracing.units.count)


RANDOM = Criterion(_score)
