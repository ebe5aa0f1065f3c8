"""Layers with a kernel: what sums over the channels of its input and makes channels of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimedge.compress.channels.rules.passing import mixes_channels
from slimedge.compress.channels.tracing import Call, Kept, Rule, along
from slimedge.compress.channels.units import Ids
from slimedge.compress.weight_axes import einsum_terms


def _channels_last(call: Call) -> bool:
    return call.config.get("data_format", "channels_last") in ("channels_last", None)


def _only(call: Call, *names: str) -> bool:
    """Whether a layer has weights of these names alone."""
    return {name for name, _ in call.layer.weights} <= set(names)


def _made(call: Call, ids: Ids, axis: int = -1) -> list[Ids]:
    """The numbers of the output; they stay where an activation computes with all channels."""
    if mixes_channels(call.config.get("activation")):
        call.fix(ids)
    return [along(ids, call.node.output, axis)]


def dense(call: Call) -> list[Ids] | None:
    """A Dense."""
    if not _only(call, "kernel", "bias"):
        return None
    call.use("kernel", 0, call.channels(), "in")
    made = call.new(int(call.config["units"]))
    call.use("kernel", 1, made, "out")
    call.use("bias", 0, made, "out")
    call.count("units", made)
    return _made(call, made)


def convolution(call: Call) -> list[Ids] | None:
    """A convolution, in groups or not."""
    if not _channels_last(call) or not _only(call, "kernel", "bias"):
        return None
    given, groups, filters = call.channels(), int(call.config.get("groups", 1)), int(call.config["filters"])
    inside = len(given) // groups
    if groups > 1 and inside == 1:
        return _channel_by_channel(call, given, filters // groups)
    # A kernel is a box: what one group loses all lose, at the same place.
    call.tie(given.reshape(groups, inside), given[:inside])
    call.use("kernel", -2, given[:inside], "in")
    made = call.new(filters)
    call.tie(made.reshape(groups, -1), made[: filters // groups])
    call.use("kernel", -1, made, "out")
    call.use("bias", 0, made, "out")
    call.count("filters", made)
    return _made(call, made)


def _channel_by_channel(call: Call, given: Ids, times: int) -> list[Ids]:
    """A convolution with a group for each channel: a channel goes with its group."""
    made = np.repeat(given, times)
    call.use("kernel", -1, made, "own")
    call.use("bias", 0, made, "own")

    def change(kept: Kept) -> Mapping[str, int]:
        return {"filters": int(kept(made).sum()), "groups": int(kept(given).sum())}

    call.change(change)
    return _made(call, made)


def transposed(call: Call) -> list[Ids] | None:
    """A transposed convolution, whose kernel has the output's channels before the input's."""
    if not _channels_last(call) or not _only(call, "kernel", "bias"):
        return None
    call.use("kernel", -1, call.channels(), "in")
    made = call.new(int(call.config["filters"]))
    call.use("kernel", -2, made, "out")
    call.use("bias", 0, made, "out")
    call.count("filters", made)
    return _made(call, made)


def depthwise(call: Call) -> list[Ids] | None:
    """A depthwise convolution: each channel makes `depth_multiplier` others, which go with it."""
    if not _channels_last(call) or not _only(call, "kernel", "bias"):
        return None
    given = call.channels()
    made = np.repeat(given, int(call.config["depth_multiplier"]))
    call.use("kernel", -2, given, "own")
    call.use("bias", 0, made, "own")
    return _made(call, made)


def separable(call: Call) -> list[Ids] | None:
    """A depthwise convolution and a pointwise one in one layer."""
    if not _channels_last(call) or not _only(call, "depthwise_kernel", "pointwise_kernel", "bias"):
        return None
    given = call.channels()
    call.use("depthwise_kernel", -2, given, "own")
    call.use("pointwise_kernel", -2, np.repeat(given, int(call.config["depth_multiplier"])), "in")
    made = call.new(int(call.config["filters"]))
    call.use("pointwise_kernel", -1, made, "out")
    call.use("bias", 0, made, "out")
    call.count("filters", made)
    return _made(call, made)


def einsum_dense(call: Call) -> list[Ids] | None:
    """An EinsumDense whose kernel makes one axis, or several of which the last can lose channels."""
    if not _only(call, "kernel", "bias"):
        return None
    value = call.node.inputs[0]
    given, kernel, made = (term.replace("...", "") for term in einsum_terms(str(call.config["equation"])))
    axes = {letter: place - len(given) for place, letter in enumerate(given)}
    fresh = [letter for letter in kernel if letter not in axes]
    if (
        not fresh
        or any(letter not in made for letter in fresh)
        or any(k in axes and k in made for k in kernel)
    ):
        return None
    varying = _varying(call, len(value.shape) - 1)
    if varying is not None and not any(axes[letter] == varying for letter in kernel if letter in axes):
        return None  # the channels pass beside the kernel
    for place, letter in enumerate(kernel):
        if letter in axes:
            call.use("kernel", place, _axis_ids(call, axes[letter]), "in")
    last = max(fresh, key=made.index)
    ids = call.new(call.layer.weights[0][1].shape[kernel.index(last)])
    call.use("kernel", kernel.index(last), ids, "out")
    axis = made.index(last) - len(made)
    bias = call.config.get("bias_axes") or ""
    if last in bias:
        call.use("bias", bias.index(last), ids, "out")
    if call.config.get("bias_axes") and last not in bias:
        return None
    shape = call.config["output_shape"]
    shape = list(shape) if isinstance(shape, (tuple, list)) else [shape]

    def change(kept: Kept) -> Mapping[str, object]:
        sizes = list(shape)
        sizes[axis] = int(kept(ids).sum())
        return {"output_shape": tuple(sizes)}

    call.change(change)
    return _made(call, ids, axis)


def _varying(call: Call, rank: int) -> int | None:
    """The axis, from the end, along which the numbers of the input differ."""
    ids = call.ids(call.node.inputs[0])
    axes = [axis - rank for axis, size in enumerate(ids.shape) if size > 1]
    return axes[0] if axes else None


def _axis_ids(call: Call, axis: int) -> Ids:
    """The numbers along one axis, where those of another axis may be what differs."""
    ids = call.ids(call.node.inputs[0])
    if ids.size > 1 and ids.size == ids.shape[axis]:
        return call.channels(axis=axis)
    size = call.node.inputs[0].shape[axis]
    return np.zeros(1 if size is None else size, np.int64)


def embedding(call: Call) -> list[Ids] | None:
    """A table with a row for each symbol."""
    if not _only(call, "embeddings"):
        return None
    made = call.new(int(call.config["output_dim"]))
    call.use("embeddings", 1, made, "out")
    call.count("output_dim", made)
    return _made(call, made)


RULES: Mapping[str, Rule] = {
    "Dense": dense,
    "Conv1D": convolution,
    "Conv2D": convolution,
    "Conv3D": convolution,
    "Conv1DTranspose": transposed,
    "Conv2DTranspose": transposed,
    "Conv3DTranspose": transposed,
    "DepthwiseConv1D": depthwise,
    "DepthwiseConv2D": depthwise,
    "SeparableConv1D": separable,
    "SeparableConv2D": separable,
    "EinsumDense": einsum_dense,
    "Embedding": embedding,
}
