"""Pictures and models' inputs that data are checked against, and the sentence that refuses them."""

from __future__ import annotations

import numpy as np
from pictures import pictures
from refusals import refusal_of

from slimedge.artifact import TensorSpec
from slimedge.data import Data

IMAGES = pictures(20)
UNIT = IMAGES[..., np.newaxis].astype(np.float32) / 255
RANDOM = np.random.default_rng(0)
ESCAPE = 'pass --no-range-checks (checks="types" in Python) if it is meant so.'


def model(*shape: int | None, dtype: str = "float32", name: str = "image") -> list[TensorSpec]:
    return [TensorSpec(name, (None, *shape), dtype)]


IMAGE = model(28, 28, 1)


def refusal(given, specs=IMAGE, *, scale=None, **bound) -> str:
    return refusal_of(lambda: Data.load(given, scale=scale).bind(specs, **bound))
