"""BatchNorm and other per-channel affine layers, folded into the convolution or dense layer beside them.

    BN(conv(x; w, b)) = conv(x; w · g, (b - mean) · g + beta),   g = gamma / sqrt(variance + epsilon)

(Jacob et al., 2018, section 3.2). What has no such neighbour becomes a 1×1 depthwise convolution
(`slimedge.compress.pointwise`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.graph import Graph, Layer, Node, Value
from slimedge.moments import Moments

# Where the output channels lie in the kernel, counted over the flattened axes named here.
OUTPUT_AXES: dict[str, tuple[int, ...]] = {
    "Conv1D": (2,),
    "Conv2D": (3,),
    "Conv3D": (4,),
    "Conv1DTranspose": (1,),
    "Conv2DTranspose": (2,),
    "Conv3DTranspose": (3,),
    "Dense": (1,),
    "DepthwiseConv1D": (1, 2),
    "DepthwiseConv2D": (2, 3),
}

AFFINE = frozenset({"BatchNormalization", "Rescaling", "Normalization"})

# Gain and offset.
Affine = tuple[NDArray[np.float64], NDArray[np.float64]]


def fold_affine(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Fold every per-channel affine layer that directly follows a convolution or dense layer of one use.

    Args:
        graph: with activations split off (`split_activations`), so that what follows is visible.

    Returns:
        The graph and the names of the layers that were folded away.
    """
    producers, consumers, calls = graph.producers(), graph.consumers(), graph.calls()
    folded: list[str] = []
    new_layers: dict[Node, Layer] = {}
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.layer.kind not in AFFINE or len(node.inputs) != 1:
            continue
        given = node.inputs[0]
        before = producers.get(replaced.get(given, given))
        if (
            before is None
            or before.layer.kind not in OUTPUT_AXES
            or consumers[given] != [node]
            or given in graph.outputs
            or calls[before.layer] > 1
            or before.layer.config.get("activation") not in (None, "linear")
            or not has_plain_weights(before.layer)
            or (affine := _affine_behind(before, node)) is None
        ):
            continue
        layer = scale_outputs(new_layers.get(before, before.layer), *affine)
        new_layers[before] = replace(layer, moments=normalized(node.layer) or layer.moments)
        replaced[node.output] = before.output
        folded.append(node.source)
    nodes = [replace(n, layer=new_layers[n]) if n in new_layers else n for n in graph.nodes]
    removed = set(replaced)
    return graph.with_nodes([n for n in nodes if n.output not in removed], replaced), tuple(folded)


def batchnorm_affine(layer: Layer) -> Affine:
    """Give gain and offset of a BatchNorm at inference, each of shape (channels,)."""
    mean, variance = _array(layer, "moving_mean"), _array(layer, "moving_variance")
    gain = 1.0 / np.sqrt(variance + float(layer.config["epsilon"]))
    if layer.config["scale"]:
        gain = gain * _array(layer, "gamma")
    offset = -mean * gain
    if layer.config["center"]:
        offset = offset + _array(layer, "beta")
    return gain, offset


def normalized(layer: Layer) -> Moments | None:
    """Give mean and deviation of a BatchNorm's output over the data it was trained on; None for another layer."""
    if layer.kind != "BatchNormalization":
        return None
    mean, variance = _array(layer, "moving_mean"), _array(layer, "moving_variance")
    return Moments(mean, np.sqrt(variance)).affine(*batchnorm_affine(layer))


def rescaling_affine(layer: Layer) -> Affine:
    """Give gain and offset of a `Rescaling`, each one number or an array of them."""
    import keras

    gain, offset = (
        np.asarray(keras.saving.deserialize_keras_object(layer.config[name]), np.float64)
        for name in ("scale", "offset")
    )
    return gain, offset


def has_plain_weights(layer: Layer) -> bool:
    """Whether a layer of a kind in `OUTPUT_AXES` has a float kernel, perhaps a bias, and no other weight."""
    arrays = dict(layer.weights)
    return "kernel" in arrays and arrays.keys() <= {"kernel", "bias"} and arrays["kernel"].dtype == np.float32


def scale_outputs(layer: Layer, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Layer:
    """Give `layer` with each output channel multiplied by `gain` and moved by `offset`.

    Args:
        layer: a kind in `OUTPUT_AXES`, without activation.
        gain: shape (output channels,).
        offset: shape (output channels,).
    """
    kernel = _array(layer, "kernel")
    axes = OUTPUT_AXES[layer.kind]
    shape = [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
    bias = _array(layer, "bias") if layer.config["use_bias"] else np.zeros_like(gain)
    weights = {
        "kernel": (kernel * gain.reshape(shape)).astype(np.float32),
        "bias": (bias * gain + offset).astype(np.float32),
    }
    return layer.changed(weights=weights, use_bias=True).with_affine(gain, offset)


def affine_of(node: Node) -> Affine | None:
    """Give gain and offset of an affine node over the last axis, or None where it is something else."""
    layer = node.layer
    if layer.kind not in AFFINE or len(node.inputs) != 1 or len(node.output.shape) < 2:
        return None
    rank, channels = len(node.output.shape), node.output.shape[-1]
    if channels is None or node.output.dtype != "float32" or node.inputs[0].dtype != "float32":
        return None
    if layer.kind == "BatchNormalization":
        return batchnorm_affine(layer) if layer.config["axis"] in (-1, rank - 1) else None
    if layer.kind == "Rescaling":
        gain, offset = rescaling_affine(layer)
    else:
        axes = layer.config["axis"]
        kept = {axis % rank for axis in ((axes,) if isinstance(axes, int) else axes or ())}
        if not kept <= {rank - 1}:
            return None
        mean, variance = _normalization_statistics(layer)
        spread = np.maximum(np.sqrt(variance), 1e-7)  # Keras' own floor (backend.epsilon)
        gain, offset = (spread, mean) if layer.config.get("invert") else (1 / spread, -mean / spread)
    vectors = []
    for array in (gain, offset):
        if array.size not in (1, channels) or (array.ndim and array.shape[-1] != array.size):
            return None  # not per channel
        vectors.append(np.broadcast_to(array.ravel(), (channels,)))
    return vectors[0], vectors[1]


def _normalization_statistics(layer: Layer) -> Affine:
    if layer.config.get("mean") is not None:
        return np.asarray(layer.config["mean"], float), np.asarray(layer.config["variance"], float)
    return _array(layer, "mean"), _array(layer, "variance")


def _affine_behind(before: Node, node: Node) -> Affine | None:
    """Gain and offset of an affine node over the channels of the layer before it; None where it has other axes."""
    if node.layer.kind == "BatchNormalization":
        return batchnorm_affine(node.layer) if _same_channels(before, node) else None
    if before.layer.config.get("data_format") == "channels_first" and before.layer.kind != "Dense":
        return None
    return affine_of(node)


def _same_channels(before: Node, batchnorm: Node) -> bool:
    rank = len(batchnorm.output.shape)
    first = before.layer.config.get("data_format") == "channels_first"
    channel_axis = 1 if first and before.layer.kind != "Dense" else rank - 1
    axis = batchnorm.layer.config["axis"]
    return bool(axis % rank == channel_axis)


def _array(layer: Layer, name: str) -> NDArray[np.float64]:
    found: Any = layer.weight(name)
    if found is None:
        raise KeyError(f"{layer.kind} '{layer.name}' has no weight '{name}'")
    return np.asarray(found, np.float64)
