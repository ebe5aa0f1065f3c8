"""Weights rounded to 4, 8 or 16 bits where they lie, for any layer; computing stays in float, or a runtime rounds more.

Integers lie on a symmetric grid for each channel, or for each block of the numbers that are summed up. Whoever reads
the weights finds the same grid again: an exporter writes exactly these integers, whatever the layer and wherever a
converter has moved them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Step
from slimedge.compress.equivalence import check_same
from slimedge.compress.folding import fold_affine
from slimedge.compress.kernels import kernel_scale, on_grid
from slimedge.compress.layer_sqnr import layer_sqnr
from slimedge.compress.settings import EXCLUDED, Settings
from slimedge.compress.simplifying import strip_training_only
from slimedge.compress.weight_axes import block_axis, is_large, kept_axes
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer, with_values
from slimedge.graph_making import layer_names, to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.weight_rounding import FOUR_BITS, HALF, in_blocks

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

LARGEST_HALF = float(np.finfo(np.float16).max)


def weight_only_wi8_afp32(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Round weights to int8 and compute in float; see `slimedge.compress.quantization.quantize`."""
    return _rounded_model(model, data, "weight_only_wi8_afp32", settings, bits=8)


def weight_only_wi4_afp32(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Round weights to 4 bits and compute in float; see `slimedge.compress.quantization.quantize`."""
    return _rounded_model(model, data, FOUR_BITS, settings, bits=4)


def dynamic_wi8_afp32(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Round weights to int8, and let runtimes round activations; see `slimedge.compress.quantization.quantize`."""
    return _rounded_model(model, data, "dynamic_wi8_afp32", settings, bits=8)


def fp16(model: keras.Model, data: Data, settings: Settings) -> keras.Model:
    """Round weights to float16 and compute in float32; see `slimedge.compress.quantization.quantize`.

    BatchNorm is folded first, since a converter would multiply it into the kernel, which is no float16 then.
    """
    return _rounded_model(model, data, HALF, settings, bits=16)


def to_half(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest float16, ties to even (IEEE 754-2019, binary16): subnormal below 6.1e-5, 0 below 3e-8.

    Example:
        >>> to_half(np.float32([0.1, 1e-7, 1e-9, 7e4])).tolist()
        [0.0999755859375, 1.1920928955078125e-07, 0.0, inf]
    """
    with np.errstate(over="ignore"):
        return np.asarray(weight.astype(np.float16), np.float32)


def in_integers(
    weight: NDArray[np.float32], axes: tuple[int, ...], *, bits: int, blocks: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Round a weight to a symmetric grid whose end is the largest number of each group.

    Args:
        weight: any shape.
        axes: that keep a scale of their own, where there are no blocks.
        bits: of the integers.
        blocks: an axis and a size that divides it: every so many numbers along it share a scale.

    Example:
        >>> in_integers(np.float32([[0.5, 14.0], [7.0, 3.2]]), (1,), bits=4).tolist()
        [[0.0, 14.0], [7.0, 4.0]]
    """
    if blocks is None:
        return on_grid(weight, kernel_scale(weight, axes, bits=bits), bits=bits)
    axis, size = blocks
    split = in_blocks(weight, axis, size).astype(np.float32)
    scale = kernel_scale(split, [other for other in range(split.ndim) if other != axis + 1], bits=bits)
    return on_grid(split, scale, bits=bits).reshape(weight.shape)


@dataclass(frozen=True, slots=True)
class _Rounded:
    """What became of a layer's weights: the arrays, or why it stays float; and why a weight of it has no blocks."""

    arrays: tuple[NDArray[Any], ...] = ()
    stays_float: str | None = None
    without_blocks: str | None = None
    any_blocks: bool = False


@dataclass(frozen=True, slots=True)
class _Layers:
    """What became of a graph's layers: new ones by the old, and reasons by the name in the user's model."""

    changed: dict[Layer, Layer] = field(default_factory=dict)
    left_float: dict[str, str] = field(default_factory=dict)
    without_blocks: dict[str, str] = field(default_factory=dict)
    with_blocks: set[str] = field(default_factory=set)


def _rounded_model(
    model: keras.Model, data: Data, scheme: str, settings: Settings, *, bits: int
) -> keras.Model:
    check_settings(settings, scheme, model.name)
    graph, removed = strip_training_only(from_model(model))
    more: dict[str, Any] = {}
    if scheme == HALF:
        graph, folded = fold_affine(graph)
        more["folded"] = list(folded)
    check_same(model, graph, data)
    layers = _rounded_layers(graph, settings, bits)
    _check_use(layers, model.name, bits, settings.block_size)
    if settings.block_size is not None:
        more |= {"block_size": settings.block_size, "layers_without_blocks": layers.without_blocks}
    rounded = with_values(graph, {}, layers.changed)
    step = Step(
        "quantize",
        {
            "scheme": scheme,
            **more,
            "rounded_layers": [source for layer, source in _sources(graph) if layer in layers.changed],
            "removed": list(removed),
            "float_layers": layers.left_float,
            "layer_sqnr_db": layer_sqnr(graph, rounded, data),
        },
    )
    return with_lineage(to_model(rounded), (*lineage_of(model), step))


def check_settings(settings: Settings, scheme: str, name: str) -> None:
    """Refuse settings that only static schemes have.

    Args:
        settings: of the quantization.
        scheme: the weight-only or dynamic one that was chosen.
        name: of the model.

    Raises:
        InputError: naming the first one.
    """
    given = [f"the method {method}" for method in settings.methods]
    given += ["a scale per tensor"] if settings.granularity != "per_channel" else []
    given += [f"bits of the layers '{pattern}'" for pattern in settings.bits]
    given += [f"the observer pattern '{pattern}'" for pattern in settings.observers]
    if given:
        raise InputError(
            f"{given[0]} is for static quantization only, and model '{name}' would be quantized by {scheme}, which "
            "calibrates no tensor; leave it out, or take scheme static_wi8_ai8."
        )


def _rounded_layers(graph: Graph, settings: Settings, bits: int) -> _Layers:
    made, names, done = to_model(graph), layer_names(graph), _Layers()
    for layer, source in _sources(graph):
        if not layer.weights:
            continue
        if source in settings.exclude:
            done.left_float[source] = EXCLUDED
            continue
        rounded = _rounded_weights(made.get_layer(names[layer]), bits, settings.block_size)
        if rounded.stays_float:
            done.left_float[source] = rounded.stays_float
            continue
        weights = tuple((name, array) for (name, _), array in zip(layer.weights, rounded.arrays, strict=True))
        done.changed[layer] = Layer(layer.type, layer.config, weights)
        if rounded.without_blocks:
            done.without_blocks[source] = rounded.without_blocks
        if rounded.any_blocks:
            done.with_blocks.add(source)
    return done


def _check_use(layers: _Layers, name: str, bits: int, block_size: int | None) -> None:
    """Refuse what leaves every weight as it is, and blocks that no weight has."""
    if not layers.changed:
        reasons = _first(layers.left_float) or "it has no weights"
        raise InputError(
            f"{bits} bits make no weight of model '{name}' smaller ({reasons}); nothing was changed."
        )
    if block_size is not None and not layers.with_blocks:
        raise InputError(
            f"no weight of model '{name}' has blocks of {block_size} ({_first(layers.without_blocks)}); give another "
            "block size, or none for a scale for each output channel."
        )


def _first(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:3])


def _sources(graph: Graph) -> Iterator[tuple[Layer, str]]:
    """Each layer once, with the name that it has in the user's model."""
    seen: set[Layer] = set()
    for node in graph.nodes:
        if node.layer not in seen:
            seen.add(node.layer)
            yield node.layer, node.source


def _rounded_weights(layer: Any, bits: int, block_size: int | None) -> _Rounded:
    """Round the large weights of a layer, inner layers' included; give them with the others, in order."""
    owners = {id(variable): inner for inner in layer._flatten_layers() for variable in _own(inner)}
    arrays: list[NDArray[Any]] = []
    without_blocks: list[str] = []
    count = blocked = 0
    for variable in layer.weights:
        array, owner, name = np.asarray(variable), owners[id(variable)], variable.name
        axes = kept_axes(owner, name, array.shape)
        large = is_large(name, array.shape, 2) if bits == 16 else axes is not None
        if array.dtype.kind != "f" or not large:
            arrays.append(array)
            continue
        count += 1
        if bits == 16:
            array = to_half(array)
            if not np.all(np.isfinite(array)):
                return _Rounded(
                    stays_float=f"its {name} has numbers that float16, which ends at {LARGEST_HALF:.0f}, cannot hold"
                )
        else:
            blocks, reason = _blocks(owner, name, array.shape, block_size)
            array = in_integers(array, axes or (), bits=bits, blocks=blocks)
            blocked += blocks is not None
            without_blocks += [reason] if reason else []
        arrays.append(array)
    if not count:
        few = "its weights are too few"
        return _Rounded(stays_float=few if bits == 16 else f"{few} for a scale each")
    return _Rounded(tuple(arrays), None, "; ".join(dict.fromkeys(without_blocks)) or None, blocked > 0)


def _blocks(
    layer: Any, name: str, shape: tuple[int, ...], block_size: int | None
) -> tuple[tuple[int, int] | None, str | None]:
    """The axis and size of a weight's blocks, or the reason why it has a scale for each output channel."""
    if block_size is None:
        return None, None
    axis = block_axis(layer, name, shape)
    if axis is None:
        return None, f"its {name} is no matrix"
    if shape[axis] % block_size:
        return None, f"its {name} has {shape[axis]} numbers in a line, no multiple of {block_size}"
    return (axis, block_size), None


def _own(layer: Any) -> list[Any]:
    """Variables of a layer that none of the layers in it has."""
    inner = {
        id(variable) for child in layer._flatten_layers(include_self=False) for variable in child.weights
    }
    return [variable for variable in layer.weights if id(variable) not in inner]
