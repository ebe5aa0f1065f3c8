"""Weights rounded to 8 bits where they lie, for any layer; computing stays in float, or is rounded by the runtime.

Each channel has the symmetric grid whose end is its largest weight, so whoever reads the weights finds the same grid
again: an exporter writes exactly these integers, whatever the layer and wherever a converter has moved them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Step
from slimedge.compress.equivalence import check_same
from slimedge.compress.folding import OUTPUT_AXES
from slimedge.compress.kernels import kernel_scale, on_grid
from slimedge.compress.layer_sqnr import layer_sqnr
from slimedge.compress.settings import Settings
from slimedge.compress.simplifying import strip_training_only
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer
from slimedge.graph_making import layer_names, to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# What a scale for each channel and the operator that applies it take in a file, beside 3 bytes saved a weight.
OPERATOR_BYTES = 200
# Weights that are no kernels or tables: they stay float whatever their shape.
FLOAT_WEIGHTS = frozenset(
    {"bias", "gamma", "beta", "moving_mean", "moving_variance", "mean", "variance", "alpha"}
)


def weight_only_wi8_afp32(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Round weights to int8 and compute in float; see `slimedge.compress.quantization.quantize`."""
    return _rounded_model(model, data, "weight_only_wi8_afp32", settings)


def dynamic_wi8_afp32(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Round weights to int8, and let runtimes round activations; see `slimedge.compress.quantization.quantize`."""
    return _rounded_model(model, data, "dynamic_wi8_afp32", settings)


def kept_axes(layer: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Give the axes of a weight that keep a scale of their own, or None for a weight that stays float.

    Args:
        layer: the Keras layer that owns it.
        name: the weight's own name (`kernel`).
        shape: the weight's.

    Returns:
        The output channels of kernels, the features of an Embedding, the last axis of any other weight.
    """
    if len(shape) < 2 or name in FLOAT_WEIGHTS:
        return None
    kind = type(layer).__name__
    axes = OUTPUT_AXES.get(kind, (len(shape) - 1,)) if "pointwise" not in name else (len(shape) - 1,)
    if kind in {"SeparableConv1D", "SeparableConv2D"} and name == "depthwise_kernel":
        axes = (len(shape) - 2, len(shape) - 1)
    if kind == "EinsumDense":
        axes = _einsum_axes(layer.equation)
    channels = int(np.prod([shape[axis] for axis in axes]))
    saved = 3 * int(np.prod(shape)) - 4 * channels
    return axes if saved > OPERATOR_BYTES else None


def _einsum_axes(equation: str) -> tuple[int, ...]:
    """Axes of the kernel that the output has and the input has not."""
    left, _, output = equation.replace(" ", "").partition("->")
    given, _, kernel = left.partition(",")
    return tuple(axis for axis, letter in enumerate(kernel) if letter in output and letter not in given)


def _rounded_model(model: keras.Model, data: Data, scheme: str, settings: Settings) -> keras.Model:
    if settings.methods or settings.granularity != "per_channel":
        given = f"the method {settings.methods[0]}" if settings.methods else "scales per tensor"
        raise InputError(
            f"{given} is of static quantization only, and model '{model.name}' would be quantized by {scheme}; leave "
            "it away, or choose a static scheme."
        )
    graph, removed = strip_training_only(from_model(model))
    check_same(model, graph, data)
    made = to_model(graph)
    names = layer_names(graph)
    changed: dict[Layer, Layer] = {}
    left_float: dict[str, str] = {}
    for layer, source in _sources(graph):
        if not layer.weights:
            continue
        if source in settings.exclude:
            left_float[source] = "you excluded it"
            continue
        arrays = _rounded_weights(made.get_layer(names[layer]))
        if arrays is None:
            left_float[source] = "its weights are too few for a scale each"
        else:
            rounded = tuple((name, array) for (name, _), array in zip(layer.weights, arrays, strict=True))
            changed[layer] = Layer(layer.type, layer.config, rounded)
    if not changed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left_float.items())[:3])
        raise InputError(
            f"8 bits make no weight of model '{model.name}' smaller ({reasons or 'it has no weights'}); nothing was "
            "changed."
        )
    rounded_graph = replace(
        graph,
        nodes=tuple(replace(node, layer=changed.get(node.layer, node.layer)) for node in graph.nodes),
    )
    step = Step(
        "quantize",
        {
            "scheme": scheme,
            "rounded_layers": [source for layer, source in _sources(graph) if layer in changed],
            "removed": list(removed),
            "float_layers": left_float,
            "layer_sqnr_db": layer_sqnr(graph, rounded_graph, data),
        },
    )
    return with_lineage(to_model(rounded_graph), (*lineage_of(model), step))


def _sources(graph: Graph) -> Iterator[tuple[Layer, str]]:
    """Each layer once, with the name that it has in the user's model."""
    seen: set[Layer] = set()
    for node in graph.nodes:
        if node.layer not in seen:
            seen.add(node.layer)
            yield node.layer, node.source


def _rounded_weights(layer: Any) -> list[NDArray[Any]] | None:
    """The arrays of a layer's weights, inner layers' included, with the large ones rounded; None where none is."""
    owners = {id(variable): inner for inner in layer._flatten_layers() for variable in _own(inner)}
    arrays, any_rounded = [], False
    for variable in layer.weights:
        array = np.asarray(variable)
        axes = (
            kept_axes(owners[id(variable)], variable.name, array.shape) if array.dtype.kind == "f" else None
        )
        if axes is not None:
            array, any_rounded = on_grid(array, kernel_scale(array, axes)), True
        arrays.append(array)
    return arrays if any_rounded else None


def _own(layer: Any) -> list[Any]:
    """Variables of a layer that none of the layers in it has."""
    inner = {
        id(variable) for child in layer._flatten_layers(include_self=False) for variable in child.weights
    }
    return [variable for variable in layer.weights if id(variable) not in inner]
