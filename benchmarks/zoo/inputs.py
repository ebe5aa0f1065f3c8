"""Seeded example inputs for any model of the zoo: smooth pictures and signals, token ids, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.keras_file import input_specs
from slimedge.preprocessing import starts_with_preprocessing
from slimedge.vocabulary import vocabularies

if TYPE_CHECKING:
    import keras

OPEN_SIZE = 16
"""What an axis of any size gets."""

_PIXELS_PER_KNOT = 4
_UNKNOWN_VOCABULARY = 10
_LARGEST_CHANNEL_COUNT = 4


def examples(model: keras.Model, count: int, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Give seeded inputs for a model.

    Floats with axes beside batch and channels are smooth in 0…1, or in 0…255 where the model scales
    pixels itself. Other floats are standard normal. Integers are 0…n-1 for an embedding of n rows, and 0…9
    where none is found.

    Args:
        model: built; a subclassed one was built by a call on one tensor.
        count: size of the batch.
        seed: the same seed gives the same inputs.

    Returns:
        Arrays of `count` examples by input name; open sizes are 16.
    """
    generator = np.random.default_rng(seed)
    from_bytes, known = starts_with_preprocessing(model), vocabularies(model)
    found: dict[str, NDArray[Any]] = {}
    for spec in input_specs(model):
        shape = (count, *(size or OPEN_SIZE for size in spec.shape[1:]))
        if "int" in spec.dtype:
            limit = known.get(spec.name, _UNKNOWN_VOCABULARY)
            array: NDArray[Any] = generator.integers(0, limit, shape)
        elif len(shape) > 2:
            array = smooth(generator, shape) * (255 if spec.name in from_bytes else 1)
        else:
            array = generator.standard_normal(shape)
        found[spec.name] = array.astype(spec.dtype)
    return found


def smooth(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw pictures or signals: random knots four steps apart, joined linearly, each with its own contrast.

    Args:
        generator: what to draw from.
        shape: (count, sizes…, channels), or (count, channels, sizes…) for at most four channels that are
            fewer than the last size.

    Returns:
        float32 in 0…1.
    """
    channels = 1 if len(shape) > 3 and shape[1] <= _LARGEST_CHANNEL_COUNT < shape[-1] else len(shape) - 1
    spatial = [axis for axis in range(1, len(shape)) if axis != channels]
    coarse = [
        size if axis not in spatial else 2 + size // _PIXELS_PER_KNOT for axis, size in enumerate(shape)
    ]
    array = generator.random(coarse, np.float32)
    for axis in spatial:
        array = np.moveaxis(
            np.moveaxis(array, axis, -1) @ _between_knots(coarse[axis], shape[axis]), -1, axis
        )
    each = (shape[0],) + (1,) * (len(shape) - 1)
    contrast = generator.uniform(0.4, 1, each)
    brightness = generator.uniform(0, 1, each) * (1 - contrast)
    return (array * contrast + brightness).astype(np.float32)


def _between_knots(knots: int, size: int) -> NDArray[np.float32]:
    """Give the matrix (knots, size) of linear interpolation."""
    at = np.linspace(0, knots - 1, size, dtype=np.float32)
    distances = np.abs(at[None] - np.arange(knots, dtype=np.float32)[:, None])
    weights: NDArray[np.float32] = np.maximum(1 - distances, 0)
    return weights
