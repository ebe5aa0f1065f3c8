"""Layers that act on each channel alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimedge.compress.channels.tracing import Call, Rule, along
from slimedge.compress.channels.units import Ids
from slimedge.compress.simplifying import TRAINING_ONLY


def mixes_channels(activation: Any) -> bool:
    """Whether an activation, as a config has it, computes with all channels together, or may."""
    if activation is None:
        return False
    name = activation if isinstance(activation, str) else None
    if isinstance(activation, Mapping):
        name = str(activation.get("class_name", ""))
        return name not in {"ReLU", "LeakyReLU", "ELU"}
    return name is None or name in {"softmax", "log_softmax", "sparsemax", "glu", "sparse_plus"}


def elementwise(call: Call) -> list[Ids] | None:
    """One function for each element."""
    if call.layer.weights or len(call.node.inputs) != 1 or len(call.node.outputs) != 1:
        return None
    if call.node.output.shape != call.node.inputs[0].shape:
        return None
    return [call.ids(call.node.inputs[0])]


def activation(call: Call) -> list[Ids] | None:
    """An Activation; softmax computes with all channels."""
    return None if mixes_channels(call.config.get("activation")) else elementwise(call)


def scaling(call: Call) -> list[Ids] | None:
    """A Rescaling by one number."""
    plain = all(isinstance(call.config.get(name), (int, float)) for name in ("scale", "offset"))
    return elementwise(call) if plain else None


def pooling(call: Call) -> list[Ids] | None:
    """What works within the places of a picture or sequence: pooling, padding, cropping, upsampling."""
    if call.config.get("data_format", "channels_last") not in ("channels_last", None):
        return None
    return [along(call.channels(), call.node.output)]


def norm(call: Call) -> list[Ids] | None:
    """A BatchNormalization over the last axis."""
    last = len(call.node.output.shape) - 1
    axis = call.config.get("axis")
    if axis not in (-1, last, [-1], [last]):
        return None
    return _per_channel(call, ("gamma", "beta", "moving_mean", "moving_variance"))


def layer_scale(call: Call) -> list[Ids] | None:
    """ConvNeXt's factor for each channel."""
    made = _per_channel(call, ("gamma",))
    if made is not None:
        call.count("projection_dim", made[0].reshape(-1))
    return made


def _per_channel(call: Call, names: tuple[str, ...]) -> list[Ids] | None:
    if not {name for name, _ in call.layer.weights} <= set(names):
        return None
    ids = call.channels()
    for name in names:
        call.use(name, 0, ids, "own")
    return [along(ids, call.node.output)]


def prelu(call: Call) -> list[Ids] | None:
    """A PReLU: its slopes may differ between places, too."""
    ids = call.channels()
    alpha = call.layer.weight("alpha")
    if alpha is None or len(call.layer.weights) > 1:
        return None
    if alpha.shape[-1] == len(ids):
        call.use("alpha", -1, ids, "own")
    return [along(ids, call.node.output)]


def group_norm(call: Call) -> list[Ids] | None:
    """A GroupNormalization with a group for each channel; others mix channels."""
    ids = call.channels()
    if call.config.get("groups") != len(ids) or call.config.get("axis") not in (
        -1,
        len(call.node.output.shape) - 1,
    ):
        return None
    made = _per_channel(call, ("gamma", "beta"))
    call.count("groups", ids)
    return made


def reduction(call: Call) -> list[Ids] | None:
    """A mean, sum or maximum over places, by an operation."""
    config, value = call.config, call.node.inputs[0]
    axes = config.get("axis")
    if len(call.node.inputs) != 1 or axes is None:
        return None
    rank = len(value.shape)
    reduced = {axis % rank for axis in ([axes] if isinstance(axes, int) else axes)}
    if rank - 1 in reduced or 0 in reduced:
        return None
    return [along(call.channels(), call.node.output)]


ELEMENTWISE_OPS = (
    "Abs",
    "Celu",
    "Clip",
    "Elu",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSilu",
    "HardSwish",
    "HardTanh",
    "LeakyRelu",
    "LogSigmoid",
    "Negative",
    "Relu",
    "Relu6",
    "Selu",
    "Sigmoid",
    "Silu",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Square",
    "Tanh",
)
POOLINGS = tuple(
    f"{kind}{dimensions}D"
    for dimensions in (1, 2, 3)
    for kind in (
        "AveragePooling",
        "Cropping",
        "GlobalAveragePooling",
        "GlobalMaxPooling",
        "MaxPooling",
        "UpSampling",
        "ZeroPadding",
    )
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys((*TRAINING_ONLY, "ELU", "LeakyReLU", "ReLU", "StochasticDepth", "Masking"), elementwise),
    **{f"ops.{name}": elementwise for name in ELEMENTWISE_OPS},
    **dict.fromkeys(POOLINGS, pooling),
    **{f"ops.{name}": reduction for name in ("Max", "Mean", "Min", "Sum")},
    "Activation": activation,
    "BatchNormalization": norm,
    "GroupNormalization": group_norm,
    "LayerScale": layer_scale,
    "PReLU": prelu,
    "Rescaling": scaling,
}
