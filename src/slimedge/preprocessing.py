"""Whether a model scales its pixels itself; read off the graph by class names, without importing Keras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

_PASSING = frozenset({
    "CenterCrop",
    "GetItem",
    "Identity",
    "Permute",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "Reshape",
    "Resizing",
    "Stack",
    "ZeroPadding2D",
})  # fmt: skip
"""Layers and operations that leave the range of the values as it is."""

_BYTE_SIZED = 32.0
"""A divisor or an offset above this is meant for pixels in 0…255: 127.5, 255, a mean of 103.9, …"""


def starts_with_preprocessing(model: keras.Model) -> frozenset[str]:
    """Tell which inputs of a model are meant for raw pixels in 0…255, because the model scales them itself.

    Looked for right after the input, or after augmentation, resizing and the like, in nested models
    too: Rescaling by a small factor, Normalization whose mean is of that size, and a division,
    multiplication, addition or subtraction of a constant. Rescaling(2, -1), for pixels in 0…1, does not
    count.

    Args:
        model: a built Functional or Sequential model; for another kind nothing is known.

    Returns:
        Names of those inputs; empty (false) when there are none.
    """
    inputs = getattr(model, "inputs", None) or ()
    return frozenset(_name(tensor) for tensor in inputs if _is_scaled(model, tensor))


def _name(tensor: Any) -> str:
    # The input layer's name: the tensors of a Sequential model are all called "keras_tensor".
    return str(tensor._keras_history.operation.name)


def _is_scaled(model: Any, tensor: Any) -> bool:
    """Tell whether any consumer of a tensor scales it from bytes."""
    return any(_scales(model, operation, node, tensor) for operation, node in _consumers(model, tensor))


def _consumers(model: Any, tensor: Any) -> Iterator[tuple[Any, Any]]:
    # Keras has no public way from a tensor to its consumers; a layer's nodes are the graph's edges.
    for operation in model.operations if hasattr(model, "operations") else model.layers:
        for node in getattr(operation, "_inbound_nodes", ()):
            if any(given is tensor for given in node.input_tensors):
                yield operation, node


def _scales(model: Any, operation: Any, node: Any, tensor: Any) -> bool:
    kind = type(operation).__name__
    if getattr(operation, "inputs", None) and getattr(operation, "layers", None):
        inner = [
            mine for given, mine in zip(node.input_tensors, operation.inputs, strict=False) if given is tensor
        ]
        return any(_is_scaled(operation, mine) for mine in inner)
    if kind == "Rescaling":
        return float(np.max(np.abs(operation.scale))) < 1 / _BYTE_SIZED
    if kind == "Normalization":
        mean = getattr(operation, "mean", None)
        return mean is not None and float(np.max(np.abs(np.asarray(mean)))) > _BYTE_SIZED
    if kind in {"Add", "Divide", "Subtract", "TrueDivide"}:
        return _constant(node) > _BYTE_SIZED
    if kind == "Multiply":
        return 0 < _constant(node) < 1 / _BYTE_SIZED
    return kind in _PASSING and any(_is_scaled(model, passed) for passed in node.output_tensors)


def _constant(node: Any) -> float:
    """Give the size of the largest number that an operation takes beside its tensor, 0 without one."""
    sizes = [0.0]
    for value in node.arguments.args:
        number = value.numpy() if hasattr(value, "numpy") else value
        if isinstance(number, int | float | np.ndarray):
            sizes.append(float(np.max(np.abs(number))))
    return max(sizes)
