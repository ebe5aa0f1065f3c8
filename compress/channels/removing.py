"""A graph without some of its channels, and the same graph with nothing in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.tracing import Kept, Tracing, Use
from slimedge.compress.channels.units import Ids
from slimedge.graph import Graph, Layer, Value, with_values


def without(graph: Graph, tracing: Tracing, removed: Collection[int]) -> Graph:
    """Take units out of a graph: weights get shorter, and so do the values between layers.

    Args:
        graph: what was traced.
        tracing: of it.
        removed: numbers that stand for units, of `Units.groups`; at least one of each group must be left.

    Returns:
        A graph with the same names, inputs and outputs.
    """
    kept = kept_of(tracing, removed)

    def cut(array: NDArray[Any], use: Use) -> NDArray[Any]:
        mask = kept(use.ids)
        return array if mask.all() else np.compress(mask, array, axis=use.axis)

    layers = _with_constants(tracing, _changed(tracing, cut), cut)
    for layer, change in tracing.changes.items():
        layers[layer] = layers.get(layer, layer).changed(**change(kept))
    values = {}
    for value, ids in tracing.ids.items():
        shape = _shape(value, ids, kept)
        if shape != value.shape:
            values[value] = Value(shape, value.dtype)
    return with_values(graph, values, layers)


def zeroed(graph: Graph, tracing: Tracing, removed: Collection[int]) -> Graph:
    """Give the graph with zeros in all weights of some units; it computes what the graph without them does.

    Args:
        graph: what was traced.
        tracing: of it.
        removed: as in `without`.
    """
    kept = kept_of(tracing, removed)

    def emptied(array: NDArray[Any], use: Use) -> NDArray[Any]:
        shape = [1] * array.ndim
        shape[use.axis] = -1
        return np.where(kept(use.ids).reshape(shape), array, np.zeros((), array.dtype))

    return with_values(graph, {}, _changed(tracing, emptied))


def kept_of(tracing: Tracing, removed: Collection[int]) -> Kept:
    """Give what tells which channels are kept."""
    gone = np.asarray(sorted(removed), np.int64)

    def kept(ids: Ids) -> NDArray[np.bool_]:
        return np.asarray(~np.isin(tracing.units.roots(ids), gone))

    return kept


def _changed(tracing: Tracing, change: Callable[[NDArray[Any], Use], NDArray[Any]]) -> dict[Layer, Layer]:
    arrays: dict[Layer, list[NDArray[Any]]] = {}
    for use in tracing.uses.values():
        own = arrays.setdefault(use.layer, [array for _, array in use.layer.weights])
        own[use.weight] = change(own[use.weight], use)
    # By place and not by name: some layers have two weights of one name.
    return {layer: layer.with_arrays(found) for layer, found in arrays.items()}


def _with_constants(
    tracing: Tracing, layers: dict[Layer, Layer], cut: Callable[[NDArray[Any], Use], NDArray[Any]]
) -> dict[Layer, Layer]:
    """Cut the arrays in initializers like the weights that start with them, as a table of known vectors."""
    import keras

    found = dict(layers)
    for use in tracing.uses.values():
        name, weight = use.layer.weights[use.weight]
        setting, layer = f"{name}_initializer", found[use.layer]
        given = layer.config.get(setting)
        if not isinstance(given, Mapping) or given.get("class_name") != "Constant":
            continue
        value = np.asarray(keras.initializers.get(given).value)
        # One axis may have been cut before.
        if value.ndim == weight.ndim and value.shape[use.axis] == weight.shape[use.axis]:
            less = keras.initializers.Constant(cut(value, use))
            found[use.layer] = layer.changed(**{setting: keras.initializers.serialize(less)})
    return found


def _shape(value: Value, ids: Ids, kept: Kept) -> tuple[int | None, ...]:
    shape = list(value.shape)
    for axis, size in enumerate(ids.shape):
        if size > 1:
            others = tuple(other for other in range(ids.ndim) if other != axis)
            shape[axis + 1] = int(kept(ids).all(axis=others).sum())
    return tuple(shape)
