"""Runs a zoo model eagerly, layer by layer, so that each layer's inputs can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.keras_file import input_structure

if TYPE_CHECKING:
    import keras

Call = Callable[..., Any]
"""A layer's `call`, or what stands in for it."""


def call(model: keras.Model, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Run a model as for inference.

    TensorFlow's CPU kernels have no convolution with channels before height and width. Such layers compute
    with their channels last here, which gives the same numbers.

    Args:
        model: built.
        arrays: inputs by name, in the model's order.

    Returns:
        The outputs, flat and in order.
    """
    import keras

    structure = input_structure(model) if getattr(model, "inputs", None) else 0
    given = keras.tree.pack_sequence_as(structure, list(arrays.values()))
    with ExitStack() as stack:
        for layer in model._flatten_layers():
            if hasattr(layer, "kernel_size") and layer.data_format == "channels_first":
                stack.enter_context(replaced_call(layer, _channels_last(layer)))
        return [np.asarray(tensor) for tensor in keras.tree.flatten(model(given, training=False))]


@contextmanager
def replaced_call(layer: Any, replacement: Call) -> Iterator[None]:
    """Let a layer compute something else in this block."""
    before = vars(layer).get("call")
    layer.call = replacement
    try:
        yield
    finally:
        del layer.call
        if before is not None:
            layer.call = before


def _channels_last(layer: Any) -> Call:
    from keras import ops

    compute = layer.call

    def transposed(inputs: Any) -> Any:
        axes = range(1, len(inputs.shape))
        layer.data_format = "channels_last"
        try:
            outputs = compute(ops.transpose(inputs, (0, *axes[1:], 1)))
        finally:
            layer.data_format = "channels_first"
        return ops.transpose(outputs, (0, axes[-1], *axes[:-1]))

    return transposed
