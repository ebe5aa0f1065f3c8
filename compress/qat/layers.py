"""The layers that stand in for `FakeQuant` and `FakeQuantWeights` while a graph trains; no saved model has them."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from slimedge.compress.folding import OUTPUT_AXES
from slimedge.compress.qat.gradients import largest_scale, rounded_activation, rounded_weight
from slimedge.fake_quant import FakeQuantWeights

# Share of the old range that a step keeps.
MOMENTUM = 0.99
# A gain under this is taken for it where an output is divided by it.
SMALLEST_GAIN = 1e-3


class TrainedRange(keras.layers.Layer):
    """Round an activation to a range that trains, or follows what it sees; called once for each tensor of its group.

    A learned range is low · exp(a), high · exp(b): a step of an adaptive optimizer then moves a small range as far,
    relatively, as a large one (as Jain et al., 2019, section 3.4, for thresholds), and no end crosses 0.

    Args:
        low: lowest value at the start, at most 0.
        high: highest value at the start, at least 0.
        bits: of the grid.
        mode: `learned`, `moving_average` or `fixed`.
        cap: the range ends here at most; None where nothing limits it.
    """

    def __init__(
        self, low: float, high: float, bits: int, mode: str, cap: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.start, self.bits, self.mode, self.cap = (float(low), float(high)), bits, mode, cap
        self.frozen = mode == "fixed"
        self.seen: list[tuple[Any, Any]] = []
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make the two variables of the range: exponents where it is learned, else its ends."""
        del input_shape
        learned = self.mode == "learned"
        self.ends = [
            self.add_weight(
                shape=(),
                initializer="zeros" if learned else keras.initializers.Constant(end),
                trainable=learned,
                name=name,
                dtype="float32",
            )
            for name, end in zip(("low", "high"), self.start, strict=True)
        ]

    def range(self) -> tuple[Any, Any]:
        """Give low and high of now."""
        low, high = (ops.convert_to_tensor(end) for end in self.ends)
        if self.mode == "learned":
            low, high = self.start[0] * tf.exp(low), self.start[1] * tf.exp(high)
        return low, high if self.cap is None else tf.minimum(high, self.cap)

    def call(self, inputs: Any) -> Any:
        """Round `inputs`, and note the range that they have."""
        low, high = self.range()
        if self.mode == "learned" and not self.frozen:
            return rounded_activation(inputs, low, high, self.bits)
        if self.mode == "moving_average" and not self.frozen:
            plain = tf.stop_gradient(inputs)
            self.seen.append((tf.reduce_min(plain), tf.reduce_max(plain)))
        low, high = tf.stop_gradient(low), tf.stop_gradient(high)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=self.bits)

    def follow(self) -> None:
        """Move the range to what the calls since the last time saw, all of them together (Jacob et al., 2018)."""
        if not self.seen:
            return
        lowest = tf.minimum(tf.reduce_min([low for low, _ in self.seen]), 0.0)
        highest = tf.maximum(tf.reduce_max([high for _, high in self.seen]), 0.0)
        self.seen.clear()
        for end, found in zip(self.ends, (lowest, highest), strict=True):
            end.assign(MOMENTUM * end + (1 - MOMENTUM) * found)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape


class Trained(NamedTuple):
    """What a layer with rounded weights became.

    Attributes:
        weights: of the inner layer by name, BatchNorm folded into them.
        scales: of the rounded ones, by the weight's name.
    """

    weights: dict[str, NDArray[np.float32]]
    scales: dict[str, NDArray[np.float32]]


class TrainedWeights(FakeQuantWeights):
    """Call a layer with weights rounded to scales that train, or to the largest weight of each channel.

    A learned scale is the one at the start times exp(a), for the same reason as in `TrainedRange`.

    Args:
        learned: whether the scales train.
    """

    def __init__(self, *args: Any, learned: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.learned = learned

    def build(self, input_shape: Any = None) -> None:
        """Build the layer, its scales, and an exponent for each where they train."""
        super().build(input_shape)
        self.exponents = {
            name: self.add_weight(
                shape=scale.shape,
                initializer="zeros",
                trainable=True,
                name=f"{name}_exponent",
                dtype="float32",
            )
            for name, scale in (self.scales.items() if self.learned else ())
        }

    def scale_of(self, name: str, weight: Any) -> Any:
        """Give the scale that a weight has now."""
        if self.learned:
            return self.scales[name].value * tf.exp(self.exponents[name].value)
        return largest_scale(weight, self.axes[name], self.limit)

    def rounded_now(self, name: str, weight: Any) -> Any:
        """Give a weight on its grid."""
        scale = self.scale_of(name, weight)
        # Nothing lies outside of a grid that reaches to the largest weight, so the plain estimator is the whole one.
        return rounded_weight(weight, scale, self.limit) if self.learned else self.rounded(weight, scale)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer with rounded weights."""
        mapping = [
            (variable, self.rounded_now(variable.name, variable.value))
            if variable.name in self.axes
            else (variable, variable.value)
            for variable in self.layer.weights
        ]
        with keras.StatelessScope(mapping):
            return self.layer(inputs, *args, **kwargs)

    def trained(self) -> Trained:
        """Give the weights and scales of now."""
        weights = {variable.name: np.asarray(variable.value) for variable in self.layer.weights}
        scales = {name: np.asarray(self.scale_of(name, weights[name])) for name in self.axes}
        return Trained(weights, scales)


class TrainedNorm(TrainedWeights):
    """Call a convolution or dense layer and the BatchNorm behind it, with the folded kernel rounded.

    With g = gamma / sqrt(moving variance + epsilon), the kernel w · g is rounded, and while BatchNorm takes the
    statistics of each batch, the output is divided by g in front of it, so that one convolution gives both the
    statistics and the output; frozen, it computes what the folded layer computes.

    Args:
        norm: the BatchNorm.

    Reference: Krishnamoorthi, 2018, "Quantizing deep convolutional networks for efficient inference", section 3.2.2.
    """

    def __init__(self, *args: Any, norm: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.norm = keras.saving.deserialize_keras_object(norm) if isinstance(norm, dict) else norm
        self.frozen = False

    def build(self, input_shape: Any = None) -> None:
        """Build both layers."""
        super().build(input_shape)
        self.norm.build(self.layer.compute_output_shape(input_shape))

    def gain(self) -> Any:
        """Give g, of shape (channels,)."""
        gain = tf.math.rsqrt(tf.stop_gradient(self.norm.moving_variance.value) + self.norm.epsilon)
        return gain * self.norm.gamma.value if self.norm.scale else gain

    def _along_kernel(self, gain: Any) -> Any:
        kept = OUTPUT_AXES[type(self.layer).__name__]
        shape = [size if axis in kept else 1 for axis, size in enumerate(self.layer.kernel.shape)]
        return tf.reshape(gain, shape)

    def offset(self, gain: Any) -> Any:
        """Give the bias of the folded layer."""
        bias = self.layer.bias.value if self.layer.use_bias else 0.0
        offset = (bias - self.norm.moving_mean.value) * gain
        return offset + self.norm.beta.value if self.norm.center else offset

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Give the normalized output."""
        gain = self.gain()
        batchwise = bool(training) and not self.frozen
        if batchwise:
            gain = tf.where(tf.abs(gain) < SMALLEST_GAIN, SMALLEST_GAIN, gain)
        kernel = self.rounded_now("kernel", self.layer.kernel.value * self._along_kernel(gain))
        mapping = [(self.layer.kernel, kernel)]
        if self.layer.use_bias:
            mapping.append((self.layer.bias, tf.zeros_like(self.layer.bias.value)))
        with keras.StatelessScope(mapping):
            made = self.layer(inputs)
        if not batchwise:
            return made + self.offset(gain)
        plain = made / gain
        return self.norm(plain + self.layer.bias.value if self.layer.use_bias else plain, training=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def trained(self) -> Trained:
        """Give kernel, bias and scale of the folded layer."""
        gain = self.gain()
        kernel = self.layer.kernel.value * self._along_kernel(gain)
        weights = {"kernel": np.asarray(kernel), "bias": np.asarray(self.offset(gain))}
        return Trained(weights, {"kernel": np.asarray(self.scale_of("kernel", kernel))})
