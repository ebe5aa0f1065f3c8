"""Layers that take several values: sums and products tie their channels, a concatenation puts them in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slimedge.compress.channels.tracing import Call, Rule, fixed
from slimedge.compress.channels.units import Ids
from slimedge.graph import Value


def elementwise(call: Call) -> list[Ids] | None:
    """A function of the elements at one place of each value, with broadcasting."""
    if call.layer.weights or len(call.node.outputs) != 1 or _has_array(call):
        return None
    output = call.node.output
    if any(len(value.shape) != len(output.shape) for value in call.node.inputs):
        return None
    return [_tied(call, call.node.inputs, output)]


def _tied(call: Call, values: Sequence[Value], output: Value) -> Ids:
    varying = {axis for value in values for axis, size in enumerate(call.ids(value).shape) if size > 1}
    result: Ids | None = None
    for value in values:
        ids = call.ids(value)
        spread = [axis for axis in varying if value.shape[axis + 1] == 1 and output.shape[axis + 1] != 1]
        if spread:
            call.fix(ids)  # one channel for all of the others
            continue
        if result is None:
            result = ids
        else:
            call.tie(result, ids)
            result = result if result.size >= ids.size else ids
    return fixed(output) if result is None else result


def _has_array(call: Call) -> bool:
    """Whether a constant with more than one number is among the arguments."""
    import keras

    leaves = keras.tree.flatten((call.node.args, dict(call.node.kwargs)))
    return any(not isinstance(leaf, Value) and np.ndim(leaf) > 0 for leaf in leaves)


def concatenation(call: Call) -> list[Ids] | None:
    """A Concatenate along any axis."""
    values, output = call.node.inputs, call.node.output
    rank = len(output.shape)
    axis = int(call.config.get("axis", -1)) % rank
    sizes = [value.shape[axis] or 0 for value in values]
    if axis == 0 or not all(sizes):
        return None
    place = axis - 1
    along_it, beside = [], []
    for value in values:
        shape = call.ids(value).shape
        along_it.append(shape[place] > 1)
        beside.append(any(size > 1 for other, size in enumerate(shape) if other != place))
    if not any(beside):
        parts = []
        for value, size in zip(values, sizes, strict=True):
            ids = call.ids(value)
            parts.append(np.repeat(ids, size, place) if ids.shape[place] == 1 else ids)
        return [np.concatenate(parts, axis=place)]
    if any(along_it):
        return None
    first = max((call.ids(value) for value in values), key=np.size)
    for value in values:
        call.tie(first, call.ids(value))
    return [first]


MERGES = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")

RULES: Mapping[str, Rule] = {
    **dict.fromkeys((*MERGES, "CustomScaleLayer"), elementwise),
    **{f"ops.{name}": elementwise for name in (*MERGES, "Divide", "TrueDivide")},
    "Concatenate": concatenation,
    "ops.Concatenate": concatenation,
}
