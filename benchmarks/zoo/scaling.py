"""Weights that let an untrained net behave as a trained one does: signals of unit variance in every layer.

With the weights that Keras draws, a deep net without normalization fades out or blows up, its output
hardly depends on its input, and BatchNorm's moving statistics are not those of the data. Rounding errors
measured on such a net say little about a trained one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import TensorSpec
from slimedge.benchmarks.zoo.calling import Call, call, replaced_call
from slimedge.benchmarks.zoo.inputs import OPEN_SIZE, examples
from slimedge.benchmarks.zoo.principal import turned
from slimedge.keras_file import input_specs

if TYPE_CHECKING:
    import keras

Fit = Callable[[Any, Call, Any], None]
"""Fits a layer, whose own call is given, to its first inputs."""

EMBEDDING_STD = 0.5
BIAS_STD = 0.05

RECTIFIED_MEAN = 1.0
"""The mean, in standard deviations, of what goes into a ReLU and the like.

About zero, each BatchNorm and ReLU raise small differences by 1.47 in variance, and dozens of them turn
rounding into noise that fills the output (Yang et al., 2019, "A Mean Field Theory of Batch Normalization").
Trained nets are not like that. About one, it is 1.12: Φ(1) over the variance of max(0, N(1, 1)).
"""

_TURNED = frozenset(
    {"Conv1D", "Conv2D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}
)
_RECTIFIERS = frozenset({"elu", "gelu", "hard_silu", "leaky_relu", "relu", "relu6", "silu"})

# So many input numbers are taken for the statistics, in 8 to 128 examples.
_ELEMENTS = 1_200_000
_NUMBERS_PER_ID = 256
# A kernel may not raise differences between examples more than this beyond what they share; otherwise gates
# that see nearly the same mean in every example (squeeze and excite) would turn rounding into noise.
_LARGEST_GAIN = 4.0


def well_scaled(model: keras.Model, seed: int = 0) -> keras.Model:
    """Scale the weights of a freshly built model so that every layer's signal has a variance of about one.

    One forward pass over smooth examples, in which each layer is fitted when it is first called: a
    BatchNorm takes the mean and variance that reach it; a kernel is turned towards the principal directions
    of its input (`slimedge.benchmarks.zoo.principal`) and scaled for unit variance, and its bias takes the
    channel means away (data-dependent initialization: Mishkin and Matas, 2016, "All you need is a good
    init"; Salimans and Kingma, 2016, "Weight Normalization", eq. 5). Before it, BatchNorm's gamma becomes
    U(0.5, 1.5) and its beta N(m, 0.2), LayerNorm's U(0.8, 1.2) and N(0, 0.1), and other biases get
    N(m, 0.05) added, where m is `RECTIFIED_MEAN` before a ReLU and the like, and 0 elsewhere.

    Args:
        model: built, with the kernels that Keras drew; changed in place. It may be nested, share layers,
            compute in float16, or be a subclass that was built by a call.
        seed: for the examples and the random weights.

    Returns:
        The same model.
    """
    import keras

    layers = _layers(model)
    generator = np.random.default_rng(seed)
    rectified = _before(layers, _rectifies) | {layer for layer in layers if _fused_rectifier(layer)}
    normalized = _before(layers, lambda layer: isinstance(layer, keras.layers.BatchNormalization))
    for layer in layers:
        _randomize(layer, generator, RECTIFIED_MEAN if layer in rectified - normalized else 0.0)
    count = int(np.clip(_ELEMENTS // max(_elements(spec) for spec in input_specs(model)), 8, 128))
    with ExitStack() as stack:
        for layer in layers:
            fit = _fit(layer)
            if fit is not None:
                stack.enter_context(replaced_call(layer, _fitted_at_first_call(layer, fit)))
        call(model, examples(model, count, seed))
    return model


def _elements(spec: TensorSpec) -> int:
    """Give about how many numbers there are in one example; an id becomes a vector."""
    numbers = math.prod(size or OPEN_SIZE for size in spec.shape[1:])
    return numbers * (_NUMBERS_PER_ID if "int" in spec.dtype else 1)


def _layers(model: Any) -> list[Any]:
    """Give all layers in all depths, once each, in a fixed order."""
    return list(dict.fromkeys(model._flatten_layers()))


def _before(layers: list[Any], wanted: Callable[[Any], bool]) -> set[Any]:
    """Give the layers whose output goes straight into a wanted layer."""
    nodes = [node for layer in layers if wanted(layer) for node in layer._inbound_nodes]
    return {tensor._keras_history.operation for node in nodes for tensor in node.input_tensors}


def _rectifies(layer: Any) -> bool:
    import keras

    kinds = (keras.layers.ReLU, keras.layers.LeakyReLU)
    return isinstance(layer, kinds) or (
        isinstance(layer, keras.layers.Activation) and _fused_rectifier(layer)
    )


def _fused_rectifier(layer: Any) -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", "") in _RECTIFIERS


def _own(layer: Any, *names: str) -> Any:
    """Give the first variable of a layer itself, not of layers in it, that has one of these names."""
    inner = {id(weight) for one in layer._flatten_layers(include_self=False) for weight in one.weights}
    mine = (weight for weight in layer.weights if weight.name in names and id(weight) not in inner)
    return next(mine, None)


def _randomize(layer: Any, generator: np.random.Generator, mean: float) -> None:
    """Give a layer its random weights; `mean` is that of what it hands on."""
    import keras

    gamma, beta, bias = (_own(layer, name) for name in ("gamma", "beta", "bias"))
    if isinstance(layer, keras.layers.BatchNormalization):
        low, high, spread = 0.5, 1.5, 0.2
    elif type(layer).__name__ == "LayerScale":  # ConvNeXt's starts at 1e-6, which cuts all its blocks off
        low, high, spread = 0.1, 0.5, 0.0
    else:
        low, high, spread = 0.8, 1.2, 0.1
    if gamma is not None:
        gamma.assign(generator.uniform(low, high, gamma.shape))
    if beta is not None:
        beta.assign(generator.normal(mean, spread, beta.shape))
    if bias is not None:
        bias.assign(np.asarray(bias) + generator.normal(mean, BIAS_STD, bias.shape))


def _fit(layer: Any) -> Fit | None:
    """Choose how a layer is fitted to what it is given, if it is."""
    import keras

    if isinstance(layer, keras.layers.BatchNormalization):
        return _fit_batchnorm
    if isinstance(layer, keras.layers.Embedding):
        return _fit_embedding
    if isinstance(layer, keras.layers.RNN):
        return _fit_recurrent if _own(layer.cell, "kernel") is not None else None
    if _own(layer, "kernel", "pointwise_kernel") is None or _own(layer, "recurrent_kernel") is not None:
        return None
    return _fit_kernel


def _fit_batchnorm(layer: Any, _: Call, inputs: Any) -> None:
    array = np.moveaxis(np.asarray(inputs, np.float32), layer.axis, -1).reshape(-1, inputs.shape[layer.axis])
    layer.moving_mean.assign(array.mean(0))
    layer.moving_variance.assign(array.var(0))


def _fit_embedding(layer: Any, _: Call, inputs: Any) -> None:
    del inputs
    table = np.asarray(layer.embeddings)
    layer.embeddings.assign(table * (EMBEDDING_STD / table.std()))


def _fit_recurrent(layer: Any, _: Call, inputs: Any) -> None:
    kernel = _own(layer.cell, "kernel")
    values = np.asarray(kernel)
    kernel.assign(values * _gain(np.asarray(inputs, np.float32) @ values)[0])


def _turn_kernels(layer: Any, _: Call, inputs: Any) -> None:
    """Turn a layer's kernels towards the principal directions of its inputs."""
    if type(layer).__name__ not in _TURNED or getattr(layer, "groups", 1) > 1:
        return
    array = np.asarray(inputs, np.float32)
    if getattr(layer, "data_format", None) == "channels_first":
        array = np.moveaxis(array, 1, -1)
    for name in ("kernel", "depthwise_kernel"):
        kernel = _own(layer, name)
        if kernel is not None:
            depthwise = name != "kernel" or type(layer).__name__.startswith("Depthwise")
            kernel.assign(turned(np.asarray(kernel), array, depthwise=depthwise))


def _fit_kernel(layer: Any, compute: Call, inputs: Any) -> None:
    _turn_kernels(layer, compute, inputs)
    kernel, bias = _own(layer, "kernel", "pointwise_kernel"), _own(layer, "bias")
    activation = getattr(layer, "activation", None)
    if activation is not None:
        layer.activation = _linear
    try:
        array = np.asarray(compute(inputs), np.float32)
    finally:
        if activation is not None:
            layer.activation = activation
    if getattr(layer, "data_format", None) == "channels_first":
        array = np.moveaxis(array, 1, -1)
    if bias is None:
        kernel.assign(np.asarray(kernel) * _gain(array)[0])
        return
    offsets = np.asarray(bias)
    gain, means = _gain(array - offsets, offsets.ndim)
    kernel.assign(np.asarray(kernel) * gain)
    if means.shape == offsets.shape:
        bias.assign(offsets - means * gain)


def _linear(x: Any) -> Any:
    return x


def _gain(array: NDArray[np.float32], channel_axes: int = 1) -> tuple[float, NDArray[np.float32]]:
    """Give what makes the variance within channels one (1 where nothing varies), and the channel means."""
    axes = tuple(range(array.ndim - channel_axes))
    means = array.mean(axes)
    deviation = float(np.sqrt(array.var(axes).mean()))
    shared = float(np.sqrt(np.square(array).mean()))
    divisor = max(deviation, shared / _LARGEST_GAIN)
    return (1 / divisor if divisor > 0 else 1.0), means


def _fitted_at_first_call(layer: Any, fit: Fit) -> Call:
    """Give a call that fits the layer when it is first called; a shared one keeps that for its other calls."""
    compute, waiting = layer.call, [fit]

    def fitted(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        while waiting:
            waiting.pop()(layer, compute, inputs)
        return compute(inputs, *args, **kwargs)

    return fitted
