"""Seeded example inputs for any model of the zoo: smooth pictures and signals, token ids, numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import TensorSpec
from slimedge.errors import InputError
from slimedge.keras_file import input_specs
from slimedge.preprocessing import starts_with_preprocessing

if TYPE_CHECKING:
    import keras

OPEN_SIZE = 16
"""What an axis of any size gets."""

_PIXELS_PER_KNOT = 4
_UNKNOWN_VOCABULARY = 10
_LARGEST_CHANNEL_COUNT = 4
# Layers and operations that hand integers on as they are.
_PASSING = frozenset({"Cast", "ExpandDims", "Flatten", "GetItem", "Identity", "Reshape", "Squeeze"})


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
    from_bytes, vocabularies = starts_with_preprocessing(model), _vocabularies(model)
    found: dict[str, NDArray[Any]] = {}
    for spec in specs(model):
        shape = (count, *(size or OPEN_SIZE for size in spec.shape[1:]))
        if "int" in spec.dtype:
            limit = vocabularies.get(spec.name, _UNKNOWN_VOCABULARY)
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


def specs(model: keras.Model) -> tuple[TensorSpec, ...]:
    """Give a model's inputs; those of a subclassed model as it was built."""
    try:
        return input_specs(model)
    except InputError:
        import inspect

        if not getattr(model, "_build_shapes_dict", None):
            raise
        shape = model.get_build_config()["input_shape"]
        name = next(iter(inspect.signature(model.call).parameters))
        return (TensorSpec(name, (None, *shape[1:]), model.input_dtype),)


def _between_knots(knots: int, size: int) -> NDArray[np.float32]:
    """Give the matrix (knots, size) of linear interpolation."""
    at = np.linspace(0, knots - 1, size, dtype=np.float32)
    distances = np.abs(at[None] - np.arange(knots, dtype=np.float32)[:, None])
    weights: NDArray[np.float32] = np.maximum(1 - distances, 0)
    return weights


def _vocabularies(model: Any) -> dict[str, int]:
    """Map each input that reaches an embedding to the number of ids which that knows."""
    if not getattr(model, "inputs", None):
        found = [_rows(model)] * len(specs(model))
    else:
        found = [_vocabulary(model, tensor) for tensor in model.inputs]
    return {spec.name: rows for spec, rows in zip(specs(model), found, strict=True) if rows is not None}


def _vocabulary(model: Any, tensor: Any) -> int | None:
    found = []
    for operation, node in _consumers(model, tensor):
        if getattr(operation, "inputs", None) and getattr(operation, "layers", None):
            pairs = zip(node.input_tensors, operation.inputs, strict=False)
            found += [_vocabulary(operation, mine) for given, mine in pairs if given is tensor]
        elif type(operation).__name__ in _PASSING:
            found += [_vocabulary(model, passed) for passed in node.output_tensors]
        else:
            found.append(_rows(operation))
    return min((rows for rows in found if rows is not None), default=None)


def _rows(layer: Any) -> int | None:
    """Give the rows of the smallest embedding in a layer, which all of its embeddings have."""
    import keras

    if not isinstance(layer, keras.layers.Layer):
        return None
    inner = [one for one in layer._flatten_layers() if isinstance(one, keras.layers.Embedding)]
    return min((int(one.input_dim) for one in inner), default=None)


def _consumers(model: Any, tensor: Any) -> Iterator[tuple[Any, Any]]:
    # Keras has no public way from a tensor to its consumers; a layer's nodes are the graph's edges.
    for operation in model.operations if hasattr(model, "operations") else model.layers:
        for node in getattr(operation, "_inbound_nodes", ()):
            if any(given is tensor for given in node.input_tensors):
                yield operation, node
