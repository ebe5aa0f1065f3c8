"""The two Keras layers of a quantized graph: one rounds activations, the other rounds weights.

Both are ordinary Keras 3 layers that train (straight-through gradients), save and load; both tell
an exporter the exact integer grid they stand for. Affine quantization as in Jacob et al., 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", eq. 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from slimedge.weight_rounding import NARROW_BITS, largest_integer

_LOWERING: ContextVar[bool] = ContextVar("slimedge_lowering", default=False)
_MERGING: ContextVar[bool] = ContextVar("slimedge_merging", default=False)


@contextmanager
def lowering(*, merging: bool = False) -> Iterator[None]:
    """Make `FakeQuantWeights` call its layer with the weights as they are.

    An exporter that feeds weights already on their grid (or integers with a DequantizeLinear) traces
    the model in here, so that the rounding is not in the graph a second time. A `FakeQuant` of more than 8 bits is
    traced as one of 8 bits, the most that the converters know; its range has to be `narrowed_range`.

    Args:
        merging: for the TFLite converter, which merges two `FakeQuant` in a row and computes on integers between any
            two. One that moves a tensor from one grid to another is left out, and put back by the converter where its
            operators need it; one that says so is kept apart from what is before it (`kept_apart`).
    """
    tokens = _LOWERING.set(True), _MERGING.set(merging)
    try:
        yield
    finally:
        _LOWERING.reset(tokens[0])
        _MERGING.reset(tokens[1])


def kept_apart(tensor: Any) -> Any:
    """Give the same float32 numbers by way of float64, which no converter computes on integers or merges."""
    return tf.cast(tf.cast(tensor, tf.float64), tf.float32)


def affine_grid(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    """Give scale and zero point of the grid that covers low…high and holds 0 exactly.

    scale = (high - low) / (2^bits - 1), zero point = round(-low / scale), in the unsigned range 0…2^bits - 1;
    the range is widened to hold 0 first.

    Args:
        low: smallest real value.
        high: largest real value.
        bits: of the integers.

    Returns:
        The scale (positive) and the unsigned zero point.

    Example:
        >>> affine_grid(-32.0, 31.75)
        (0.25, 128)
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    levels = 2**bits - 1
    scale = (high - low) / levels or 1.0
    return scale, int(np.clip(round(-low / scale), 0, levels))


def aligned_range(low: float, high: float, bits: int = 8) -> tuple[float, float, float]:
    """Give low, high and scale of the grid that covers a range, so that 0 and both ends are points of it.

    Up to 8 bits it is that of `affine_grid`. One of more bits lies around 0, from -2^(bits - 1) · scale to
    (2^(bits - 1) - 1) · scale, so that its signed zero point is 0, as the runtimes' int16 tensors have it.

    Example:
        >>> aligned_range(-32.125, 31.625)
        (-32.0, 31.75, 0.25)
        >>> aligned_range(0.0, 32767.0, 16)
        (-32768.0, 32767.0, 1.0)
    """
    if bits <= NARROW_BITS:
        scale, zero_point = affine_grid(low, high, bits)
        return -zero_point * scale, (2**bits - 1 - zero_point) * scale, scale
    limit = largest_integer(bits)
    scale = float(np.float32(max(-low / (limit + 1), high / limit, 0.0))) or 1.0
    return -(limit + 1) * scale, limit * scale, scale


def narrowed_range(scale: float) -> tuple[float, float]:
    """Give the range of 8 bits around 0 with the scale of a wider grid.

    Example:
        >>> narrowed_range(0.5)
        (-64.0, 63.5)
    """
    limit = largest_integer(NARROW_BITS)
    return -(limit + 1) * scale, limit * scale


@keras.saving.register_keras_serializable(package="slimedge")
class FakeQuant(keras.layers.Layer):
    """Round an activation to 2^bits levels between `low` and `high`, per tensor.

    y = (round(clip(x, low, high) / scale) ) * scale on the grid that holds 0 exactly; the gradient passes
    where x lies inside the range (`tf.quantization.fake_quant_with_min_max_vars`).

    Args:
        low: smallest value of the range, at most 0.
        high: largest value of the range, at least 0.
        bits: of the integers, 2 to 16.
        requantizes: its input is on another grid already.
        apart: a converter may neither merge it with another one before it nor compute what is before it on integers.
    """

    def __init__(
        self,
        low: float = -1.0,
        high: float = 1.0,
        bits: int = 8,
        *,
        requantizes: bool = False,
        apart: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.requantizes, self.apart = requantizes, apart
        self.initial_low, self.initial_high, self.bits = float(low), float(high), bits
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make the two range variables (scalar, float32, not trainable)."""
        del input_shape
        constant = keras.initializers.Constant
        self.low = self.add_weight(
            shape=(), initializer=constant(self.initial_low), trainable=False, name="low", dtype="float32"
        )
        self.high = self.add_weight(
            shape=(), initializer=constant(self.initial_high), trainable=False, name="high", dtype="float32"
        )

    def call(self, inputs: Any) -> Any:
        """Round `inputs` (any shape, float32)."""
        if _MERGING.get() and self.apart:
            inputs = kept_apart(inputs)
        elif _MERGING.get() and self.requantizes:
            return inputs
        bits = min(self.bits, NARROW_BITS) if _LOWERING.get() else self.bits
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs, ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high), num_bits=bits
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def grid(self) -> tuple[float, int]:
        """Give scale and unsigned zero point."""
        return affine_grid(float(self.low.numpy()), float(self.high.numpy()), self.bits)

    def get_config(self) -> dict[str, Any]:
        """Settings; the range is that of now."""
        low = float(self.low.numpy()) if self.built else self.initial_low
        high = float(self.high.numpy()) if self.built else self.initial_high
        return {
            **super().get_config(),
            "low": low,
            "high": high,
            "bits": self.bits,
            "requantizes": self.requantizes,
            "apart": self.apart,
        }


@keras.saving.register_keras_serializable(package="slimedge")
class FakeQuantWeights(keras.layers.Wrapper):
    """Call a layer with some of its weights rounded to a symmetric signed grid.

    w' = clip(round(w / scale), -q, q) · scale with q = 2^(bits - 1) - 1 and one scale per channel; the gradient
    of w' is passed on to w (straight-through, Bengio et al., 2013).

    Args:
        layer: what is called; it keeps its float weights.
        axes: name of each rounded weight to the axes that keep a scale of their own.
        bits: of the integers, 2 to 8.
    """

    def __init__(
        self, layer: keras.layers.Layer, axes: Mapping[str, Any], bits: int = 8, **kwargs: Any
    ) -> None:
        super().__init__(layer, **kwargs)
        self.axes = {name: tuple(kept) for name, kept in axes.items()}
        self.bits = bits

    def build(self, input_shape: Any = None) -> None:
        """Build the layer and one scale variable per rounded weight (float32, sizes 1 but on kept axes)."""
        super().build(input_shape)
        self.scales = {}
        for name, kept in self.axes.items():
            shape = [size if axis in kept else 1 for axis, size in enumerate(self._variable(name).shape)]
            self.scales[name] = self.add_weight(
                shape=shape, initializer="ones", trainable=False, name=f"{name}_scale", dtype="float32"
            )

    def _variable(self, name: str) -> Any:
        return next(variable for variable in self.layer.weights if variable.name == name)

    @property
    def limit(self) -> int:
        """Largest integer of the grid, q."""
        return largest_integer(self.bits)

    def rounded(self, value: Any, scale: Any) -> Any:
        """Put a weight on its grid, with a straight-through gradient."""
        on_grid = ops.clip(ops.round(value / scale), -self.limit, self.limit) * scale
        return value + ops.stop_gradient(on_grid - value)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer with rounded weights."""
        if _LOWERING.get():
            return self.layer(inputs, *args, **kwargs)
        chosen = {id(self._variable(name)): scale for name, scale in self.scales.items()}
        # An outer scope may hold other values for these variables; reading `.value` here keeps them.
        mapping = [
            (variable, self.rounded(variable.value, chosen[id(variable)].value))
            if id(variable) in chosen
            else (variable, variable.value)
            for variable in self.layer.weights
        ]
        with keras.StatelessScope(mapping):
            return self.layer(inputs, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def integers(self) -> dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]]:
        """Give each rounded weight as int8 with its scale (sizes 1 but on kept axes)."""
        found = {}
        for name, variable in self.scales.items():
            scale = np.asarray(variable.numpy(), np.float32)
            grid = np.round(np.asarray(self._variable(name).numpy()) / scale)
            found[name] = (np.clip(grid, -self.limit, self.limit).astype(np.int8), scale)
        return found

    def get_config(self) -> dict[str, Any]:
        """Settings, the layer among them."""
        return {
            **super().get_config(),
            "axes": {name: list(kept) for name, kept in self.axes.items()},
            "bits": self.bits,
        }
