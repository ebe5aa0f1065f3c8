"""Which weights of a model can be pruned, and what their axes are for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from slimedge.compress.sparsity.axes import Axes
from slimedge.compress.weight_axes import einsum_terms
from slimedge.errors import InputError

if TYPE_CHECKING:
    import keras

# Weights that are pruned, by the class of the layer that owns them. What wraps such layers (Bidirectional,
# TimeDistributed, RNN, MultiHeadAttention, GroupedQueryAttention, nested models) is looked into.
_PRODUCT = {"kernel": Axes((-1,), (-2,))}
_TRANSPOSED = {"kernel": Axes((-2,), (-1,))}
_DEPTHWISE = Axes((-2, -1), ())
_RECURRENT = {"kernel": Axes((-1,), (-2,)), "recurrent_kernel": Axes((-1,), (-2,))}
_SEPARABLE = {"depthwise_kernel": _DEPTHWISE, "pointwise_kernel": Axes((-1,), (-2,))}
PRUNED: Mapping[str, Mapping[str, Axes]] = {
    "Dense": _PRODUCT,
    "Conv1D": _PRODUCT,
    "Conv2D": _PRODUCT,
    "Conv3D": _PRODUCT,
    "Conv1DTranspose": _TRANSPOSED,
    "Conv2DTranspose": _TRANSPOSED,
    "Conv3DTranspose": _TRANSPOSED,
    "DepthwiseConv1D": {"kernel": _DEPTHWISE},
    "DepthwiseConv2D": {"kernel": _DEPTHWISE},
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "Embedding": {"embeddings": Axes((-2,), (-1,))},
    "LSTMCell": _RECURRENT,
    "GRUCell": _RECURRENT,
    "SimpleRNNCell": _RECURRENT,
    "ConvLSTMCell": _RECURRENT,
}


@dataclass(frozen=True, slots=True, eq=False)
class Prunable:
    """One weight that can be pruned.

    Attributes:
        layer: name of the outermost layer that it is in, nested models aside.
        names: of all layers that it is in, outermost first.
        variable: the weight itself.
        axes: what its axes are for.
    """

    layer: str
    names: tuple[str, ...]
    variable: Any
    axes: Axes


def prunable(model: keras.Model) -> list[Prunable]:
    """Give the weights of a model that can be pruned, each once, in the order of the layers.

    Biases and what normalizes are left out, and so are layers whose weights are no plain floats (quantized by Keras, or
    with LoRA).

    Args:
        model: built.
    """
    found: dict[int, Prunable] = {}
    for layer, names, outermost in _layers(model, (), None):
        for weight, axes in _weights(layer):
            found.setdefault(id(weight), Prunable(outermost, names, weight, axes))
    return list(found.values())


def chosen(
    weights: Collection[Prunable],
    layers: Collection[str],
    exclude: Collection[str],
    model: str,
    *,
    done: str = "pruned",
) -> list[Prunable]:
    """Give the weights in layers of some names.

    Args:
        weights: to choose from.
        layers: patterns (`conv_*`) of the names of the layers that are meant; none stands for all.
        exclude: patterns of those that stay as they are.
        model: its name, for messages.
        done: what is done to them, likewise.

    Raises:
        InputError: there is nothing to choose from, a pattern fits none of it, or nothing is left.
    """
    if not weights:
        raise InputError(
            f"model '{model}' has no weight that can be {done}; there are kernels of Dense, EinsumDense, convolutions, "
            "recurrent layers, attention and Embedding."
        )
    for what, patterns in (("layers", layers), ("exclude", exclude)):
        for pattern in patterns:
            if not any(_fits(weight, [pattern]) for weight in weights):
                known = ", ".join(dict.fromkeys(weight.layer for weight in weights))
                raise InputError(
                    f"{what}: the pattern '{pattern}' fits no layer of model '{model}' that can be {done}; there are "
                    f"{known}."
                )
    kept = [
        weight for weight in weights if (not layers or _fits(weight, layers)) and not _fits(weight, exclude)
    ]
    if not kept:
        raise InputError(f"layers and exclude leave no layer of model '{model}' to be {done}; name others.")
    return kept


def _fits(weight: Prunable, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in weight.names)


def _layers(
    layer: Any, names: tuple[str, ...], outermost: str | None
) -> Iterator[tuple[Any, tuple[str, ...], str]]:
    """Give each layer within one, with the names of all that it is in, and the first of them that is no model's."""
    import keras

    for inner in layer._flatten_layers(include_self=False, recursive=False):
        within = (*names, inner.name)
        first = outermost or (None if isinstance(inner, keras.Model) else inner.name)
        yield inner, within, first or inner.name
        yield from _layers(inner, within, first)


def _weights(layer: Any) -> Iterator[tuple[Any, Axes]]:
    """Give the weights that a layer has itself and that can be pruned."""
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return
    kinds = [each.__name__ for each in type(layer).__mro__ if each.__module__.startswith("keras.")]
    by_name = next((PRUNED[kind] for kind in kinds if kind in PRUNED), {})
    if "EinsumDense" in kinds:
        by_name = {"kernel": _einsum_axes(layer.equation)}
    for variable in layer.weights:
        axes = by_name.get(variable.name)
        if axes is not None and "float" in str(variable.dtype):
            rank = len(variable.shape)
            yield (
                variable,
                Axes(*(tuple(axis % rank for axis in part) for part in (axes.output, axes.summed))),
            )


def _einsum_axes(equation: str) -> Axes:
    given, kernel, output = einsum_terms(equation)
    return Axes(
        tuple(axis for axis, letter in enumerate(kernel) if letter in output and letter not in given),
        tuple(axis for axis, letter in enumerate(kernel) if letter not in output),
    )
