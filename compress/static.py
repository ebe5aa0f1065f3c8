"""Static int8: weights and activations rounded to calibrated grids, as a rewrite of the Keras graph."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Step
from slimedge.compress.calibration import Watch, calibrate, layer_batches, signal_to_noise
from slimedge.compress.equivalence import check_same
from slimedge.compress.folding import affine_to_depthwise, fold_batchnorm
from slimedge.compress.placement import Placement, place
from slimedge.compress.rules import Role, role_of
from slimedge.compress.settings import Settings
from slimedge.compress.simplifying import split_activations, split_separable, split_swish, strip_training_only
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer, Node, Value, with_arguments
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# For the SQNR of each layer; a model so large that few examples fit into a batch has many numbers in each.
SQNR_EXAMPLES = 64
SQNR_BATCHES = 4
# A bias is stored as int32 in units of input scale · kernel scale; two bits are kept as headroom.
LARGEST_BIAS = 2**29

Ranges = Mapping[int, tuple[float, float]]


def static_wi8_ai8(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Quantize to int8 weights (per channel) and int8 activations (per tensor); see `quantize`."""
    graph, folded, removed = simplify(from_model(model))
    check_same(model, graph, data)
    placement = place(graph, exclude=settings.exclude)
    if not placement.kernels:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(placement.left_float.items())[:3])
        raise InputError(
            f"no layer of model '{model.name}' can be quantized to static int8 ({reasons or 'it has no kernels'}); "
            "nothing was changed."
        )
    ranges = calibrate(
        graph,
        placement,
        data,
        observer=settings.observer,
        observers=settings.observers,
        progress=settings.progress,
    )
    quantized = to_model(insert(graph, placement, ranges))
    step = Step(
        "quantize",
        {
            "scheme": "static_wi8_ai8",
            "observer": settings.observer,
            **({"observers": dict(settings.observers)} if settings.observers else {}),
            "calibration_examples": len(data),
            "calibration_data": data.fingerprint,
            "folded": list(folded),
            "removed": list(removed),
            "float_layers": dict(placement.left_float),
            "layer_sqnr_db": layer_sqnr(graph, insert(graph, placement, ranges, trainable=False), data),
        },
    )
    return with_lineage(quantized, (*lineage_of(model), step))


def simplify(graph: Graph) -> tuple[Graph, tuple[str, ...], tuple[str, ...]]:
    """Make a graph ready for quantization; give it with the names of folded and of removed layers."""
    graph, removed = strip_training_only(graph)
    graph = split_swish(split_activations(split_separable(graph)))
    graph, folded = fold_batchnorm(graph)
    return affine_to_depthwise(graph), folded, removed


def insert(graph: Graph, placement: Placement, ranges: Ranges, *, trainable: bool = True) -> Graph:
    """Put the fake-quants of a placement into a graph.

    Args:
        graph: the one that was placed.
        placement: which values are rounded.
        ranges: lowest and highest real value by group.
        trainable: keep float weights under a layer that rounds them at each call; else write the rounded weights
            into plain layers, which compute the same, faster.
    """
    grids = {group: _grid(*bounds) for group, bounds in ranges.items()}
    wrapped = _rounded_kernels(graph, placement, grids, trainable=trainable)
    raw = {value: Value(value.shape, value.dtype) for value in placement.groups}
    names = {*(node.name for node in graph.nodes), *graph.input_names}
    nodes: list[Node] = []

    def rounding(
        source: str, before: Value, after: Value, group: int, name: str, *, again: bool = False
    ) -> Node:
        from slimedge.fake_quant import FakeQuant

        low, high, _ = grids[group]
        while name in names:
            name += "_"
        names.add(name)
        config = {"name": name, "low": low, "high": high, "requantizes": again, "dtype": "float32"}
        layer = Layer(FakeQuant, config, _range_weights(low, high))
        return Node(name, source, layer, (before,), {}, (after,))

    for value, name in zip(graph.inputs, graph.input_names, strict=True):
        if value in raw:
            # An input may be named as no TensorFlow scope can be.
            scope = re.sub(r"[^A-Za-z0-9_.]", "_", name)
            nodes.append(rounding(name, raw[value], value, placement.groups[value], f"{scope}_fq"))
    for node in graph.nodes:
        moved: dict[Value, Value] = {}
        for value in (value for taker, value in placement.requantized if taker is node):
            moved[value] = Value(value.shape, value.dtype)
            group = placement.groups[node.output]
            name = f"{node.name}_requantize"
            nodes.append(rounding(node.source, value, moved[value], group, name, again=True))
        new = replace(node, layer=wrapped.get(node.layer, node.layer))
        if moved:
            new = _with_inputs(new, moved)
        rounded = [value for value in node.outputs if value in raw]
        if rounded:
            highest = grids[placement.groups[rounded[0]]][1]
            outputs = tuple(raw.get(value, value) for value in node.outputs)
            new = replace(new, layer=_opened(new, highest), outputs=outputs)
        nodes.append(new)
        for value in rounded:
            group = placement.groups[value]
            nodes.append(rounding(node.source, raw[value], value, group, f"{node.name}_fq"))
    renamed = {value: raw[value] for value in graph.inputs if value in raw}
    return replace(
        graph,
        nodes=tuple(nodes),
        inputs=tuple(renamed.get(value, value) for value in graph.inputs),
        outputs=tuple(renamed.get(value, value) for value in graph.outputs),
        input_structure=with_arguments(graph.input_structure, renamed),
        output_structure=with_arguments(graph.output_structure, renamed),
    )


def layer_sqnr(graph: Graph, rounded: Graph, data: Data) -> dict[str, float]:
    """Give the SQNR in dB of each user's layer in the quantized graph against the float one.

    Args:
        graph: float, simplified.
        rounded: what `insert` made of it (it keeps the graph's values).
        data: bound; the first examples are used.
    """
    last = {node.source: node.output for node in graph.nodes if node.output.dtype == "float32"}
    kept = {value for node in rounded.nodes for value in node.outputs}
    last = {name: value for name, value in last.items() if value in kept}
    exact, coarse = Watch(graph, list(last.values())), Watch(rounded, list(last.values()))
    limit = min(SQNR_EXAMPLES, SQNR_BATCHES * exact.batch_size)
    batches = layer_batches(data, exact.batch_size, limit)
    levels = signal_to_noise((exact.run(batch), coarse.run(batch)) for batch in batches)
    return {name: round(level, 2) for name, level in zip(last, levels, strict=True) if np.isfinite(level)}


def kernel_scale(
    kernel: NDArray[np.float32], axes: Collection[int], floor: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Give the symmetric int8 scale of each channel, max|w| / 127.

    Args:
        kernel: float32, any shape.
        axes: axes that keep a scale of their own.
        floor: smallest scale that the layer's int32 bias can bear, of the result's shape; a channel of zeros
            gets the largest scale of its layer.

    Returns:
        float32, the kernel's rank, size 1 on the other axes.
    """
    reduced = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    largest = np.max(np.abs(kernel), axis=reduced, keepdims=True).astype(np.float64) / 127
    top = float(largest.max()) or 1.0
    scale = np.where(largest > 0, largest, top)
    return np.asarray(scale if floor is None else np.maximum(scale, floor), np.float32)


def on_grid(weight: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round a weight to its symmetric int8 grid, as `FakeQuantWeights` does."""
    return np.asarray(np.clip(np.rint(weight / scale), -127, 127) * scale, np.float32)


def snapped_bias(
    bias: NDArray[np.float32], input_scale: float, kernel_scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Round a bias to what the runtimes' int32 bias can hold: multiples of input scale · kernel scale.

    Without it the Keras graph and the files differ at each rounding tie that the bias decides.

    Args:
        bias: float32, shape (channels,).
        input_scale: of the layer's input.
        kernel_scale: one per channel, any rank.
    """
    unit = np.float64(input_scale) * kernel_scale.astype(np.float64).reshape(-1)
    return np.asarray(np.rint(bias / unit) * unit, np.float32)


def _rounded_kernels(
    graph: Graph, placement: Placement, grids: Mapping[int, tuple[float, float, float]], *, trainable: bool
) -> dict[Layer, Layer]:
    import keras

    from slimedge.fake_quant import FakeQuantWeights

    input_scales: dict[Layer, list[float]] = {}
    for node in graph.nodes:
        if node.layer in placement.kernels:
            input_scales.setdefault(node.layer, []).append(grids[placement.groups[node.inputs[0]]][2])
    wrapped = {}
    for layer, axes in placement.kernels.items():
        inner = layer.type.from_config(dict(layer.config))  # type: ignore[attr-defined]
        scales: dict[str, NDArray[np.float32]] = {}
        weights = dict(layer.weights)
        for name, kept in axes.items():
            kernel = weights[name]
            floor = _bias_floor(kernel, kept, layer.weight("bias"), min(input_scales[layer]))
            scales[f"{name}_scale"] = kernel_scale(kernel, kept, floor)
        if "bias" in weights and len(input_scales[layer]) == 1:
            weights["bias"] = snapped_bias(weights["bias"], input_scales[layer][0], scales["kernel_scale"])
        if not trainable:
            rounded = {name: on_grid(weights[name], scales[f"{name}_scale"]) for name in axes}
            wrapped[layer] = layer.changed(weights={**weights, **rounded})
            continue
        config: dict[str, Any] = {
            "name": layer.name,
            "dtype": "float32",
            "layer": keras.saving.serialize_keras_object(inner),
            "axes": {name: list(kept) for name, kept in axes.items()},
        }
        wrapped[layer] = Layer(FakeQuantWeights, config, (*scales.items(), *weights.items()))
    return wrapped


def _bias_floor(
    kernel: NDArray[Any], axes: tuple[int, ...], bias: NDArray[Any] | None, input_scale: float
) -> NDArray[np.float64] | None:
    if bias is None:
        return None
    shape = [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
    return np.asarray(np.abs(bias).reshape(shape) / (input_scale * LARGEST_BIAS), np.float64)


def _grid(low: float, high: float) -> tuple[float, float, float]:
    """Widen a range so that it holds 0 on a grid point; give low, high and scale."""
    from slimedge.fake_quant import affine_grid

    if not low <= high:
        raise InputError(
            "calibration saw no finite value in one of the tensors; check the calibration data and the "
            "float model's outputs for NaN."
        )
    scale, zero_point = affine_grid(low, high)
    return -zero_point * scale, (255 - zero_point) * scale, scale


def _range_weights(low: float, high: float) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    return (("low", np.asarray(low, np.float32)), ("high", np.asarray(high, np.float32)))


def _opened(node: Node, highest: float) -> Layer:
    """A ReLU with an unusual upper end needs none where the fake-quant behind it ends at or below it."""
    limit = node.layer.config.get("max_value")
    if role_of(node) is Role.RELU and limit not in (None, 6.0) and highest <= float(limit) * (1 + 1e-6):
        return node.layer.changed(max_value=None)
    return node.layer


def _with_inputs(node: Node, moved: Mapping[Value, Value]) -> Node:
    return replace(
        node, args=with_arguments(node.args, moved), kwargs=with_arguments(dict(node.kwargs), moved)
    )
