"""What the quantizer knows of each kind of layer: one row a kind.

The rules are those that the TFLite int8 specification sets (per-channel symmetric kernels, one scale
across pooling, concatenation and reshaping, fixed output ranges), which ONNX Runtime's QDQ kernels share.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Any

from slimedge.compress.folding import OUTPUT_AXES, has_plain_weights
from slimedge.graph import Node, Value


class Role(Enum):
    """How a layer behaves under quantization."""

    WEIGHTED = auto()
    """Has a kernel that is quantized per channel."""
    ARITHMETIC = auto()
    """Computes new values: its output has a range of its own."""
    SAME_SCALE = auto()
    """Moves or selects values: inputs and output share one range."""
    RELU = auto()
    """Clips at 0, and above at most where the range ends: fused into what precedes it."""
    FIXED = auto()
    """Its output range follows from its formula."""


# Kernel axes that keep a scale of their own.
KERNEL_AXES = {kind: axes for kind, axes in OUTPUT_AXES.items() if not kind.startswith("Conv3D")}

ARITHMETIC = frozenset(
    {"Add", "Subtract", "Multiply", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "LeakyReLU"}
)
SAME_SCALE = frozenset(
    {
        "AveragePooling1D",
        "AveragePooling2D",
        "Concatenate",
        "Cropping1D",
        "Cropping2D",
        "Flatten",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "MaxPooling1D",
        "MaxPooling2D",
        "Maximum",
        "Minimum",
        "Permute",
        "Reshape",
        "UpSampling1D",
        "UpSampling2D",
        "ZeroPadding1D",
        "ZeroPadding2D",
    }
)
# Kinds that take several tensors; the operations of keras.ops have the same names, and may be given constants.
MERGING = frozenset({"Add", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"})
# Layers into which both runtimes fuse a ReLU that follows.
FUSES_RELU = frozenset(
    {"Conv1D", "Conv2D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "Add", "Subtract", "Multiply"}
)
# scale 1/256 from 0 and scale 1/128 around 0: the TFLite specification's rows for these operators.
UNIT_RANGE = (0.0, 255 / 256)
FIXED_RANGES = {"softmax": UNIT_RANGE, "sigmoid": UNIT_RANGE, "tanh": (-1.0, 127 / 128)}
# With 16 bits all three have the scale 1/32768 around 0.
WIDE_FIXED_RANGE = (-1.0, 32767 / 32768)


def activation_of(node: Node) -> str | None:
    """Give the name of the function of an activation layer, or None for any other layer."""
    kind, config = node.layer.kind, node.layer.config
    if kind == "Activation":
        function = config.get("activation")
        return function if isinstance(function, str) else None
    if kind == "ReLU":
        plain = not config.get("negative_slope") and not config.get("threshold")
        return "relu" if plain else None
    if kind == "Softmax":
        return "softmax" if config.get("axis") in (-1, len(node.output.shape) - 1) else None
    return None


def relu_limit(node: Node) -> float | None:
    """Give where a ReLU clips, infinity where it does not; None for anything else."""
    function = activation_of(node)
    if function == "relu6":
        return 6.0
    if function != "relu":
        return None
    limit = node.layer.config.get("max_value")
    return math.inf if limit is None else float(limit)


def role_of(node: Node) -> Role | str:
    """Give the role of a call, or the reason why it stays float, as half a sentence."""
    kind = node.layer.kind
    reason = _not_plain(node)
    if reason:
        return reason
    if kind in KERNEL_AXES:
        return _weighted_role(node)
    function = activation_of(node)
    if function in {"relu", "relu6"}:
        return Role.RELU
    if function in FIXED_RANGES:
        return Role.FIXED
    if kind in ARITHMETIC:
        return Role.ARITHMETIC
    if kind in SAME_SCALE:
        return Role.SAME_SCALE
    if kind == "Activation":
        return f"activation '{function or 'of your own'}' has no int8 form in both formats"
    return f"{kind} has no int8 form in both formats"


def _not_plain(node: Node) -> str | None:
    values: tuple[Any, ...] = (*node.inputs, *node.outputs)
    other = next((value.dtype for value in values if value.dtype != "float32"), None)
    if other is not None:
        return f"it computes in {other}, only float32 is quantized"
    if len(node.outputs) != 1:
        return "it has several outputs"
    if node.layer.kind in MERGING and (len(node.inputs) < 2 or _has_constant(node)):
        return "one of its operands is a constant"
    return None


def _has_constant(node: Node) -> bool:
    import keras

    return any(
        hasattr(leaf, "shape") and not isinstance(leaf, Value) for leaf in keras.tree.flatten(node.args)
    )


def _weighted_role(node: Node) -> Role | str:
    if node.layer.config.get("activation") not in (None, "linear"):
        return "its activation could not be split off"
    if node.layer.config.get("data_format") == "channels_first":
        return "channels_first convolutions are not quantized; build the model channels_last"
    if node.layer.config.get("lora_rank") or not has_plain_weights(node.layer):
        return "its kernel is not a single plain weight"
    return Role.WEIGHTED
