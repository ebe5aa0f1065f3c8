"""Layers that put elements into another shape or order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slimedge.compress.channels.tracing import Call, Kept, Rule, narrow, whole
from slimedge.compress.channels.units import Ids
from slimedge.graph import Value


def flatten(call: Call) -> list[Ids] | None:
    """A Flatten: the channels repeat for each place."""
    if call.config.get("data_format", "channels_last") not in ("channels_last", None):
        return None
    ids = whole(call.ids(call.node.inputs[0]), call.node.inputs[0])
    return None if ids is None else [ids.reshape(-1)]


def reshape(call: Call) -> list[Ids] | None:
    """A Reshape; a box stays a box, so what one part loses all lose, at the same place."""
    return _reshaped(call, "target_shape", ())


def reshape_op(call: Call) -> list[Ids] | None:
    """The operation, whose new shape has the batch in it."""
    shape = call.config.get("newshape")
    if shape is None or not shape or shape[0] not in (-1, None):
        return None
    return _reshaped(call, "newshape", (-1,))


def _reshaped(call: Call, setting: str, before: tuple[int, ...]) -> list[Ids] | None:
    value, output = call.node.inputs[0], call.node.output
    ids = whole(call.ids(value), value)
    if ids is None or any(size is None for size in output.shape[1:]):
        return None
    made = box(call, ids.reshape([size or 1 for size in output.shape[1:]]))
    earlier = call.tracing.outputs.setdefault(call.layer, made)
    call.tie(earlier, made)  # a shared layer has one shape

    def change(kept: Kept) -> Mapping[str, Any]:
        return {setting: (*before, *sizes(made, output, kept))}

    call.change(change)
    return [made]


def box(call: Call, ids: Ids) -> Ids:
    """Make numbers differ along one axis only, by tying those that differ along others."""
    ids = narrow(ids)
    axes = [axis for axis, size in enumerate(ids.shape) if size > 1]
    if len(axes) < 2:
        return ids
    first = ids
    for axis in axes[:-1]:
        first = first.take([0], axis)
    call.tie(first, ids)
    return first


def sizes(ids: Ids, value: Value, kept: Kept) -> tuple[int, ...]:
    """Give the shape of a value, without the batch, when channels are gone."""
    return tuple(
        (size or -1) if ids.shape[axis] == 1 else int(kept(ids).sum())
        for axis, size in enumerate(value.shape[1:])
    )


def permute(call: Call) -> list[Ids] | None:
    """A Permute, whose axes count from 1."""
    return [np.transpose(call.ids(call.node.inputs[0]), [axis - 1 for axis in call.config["dims"]])]


def transpose_op(call: Call) -> list[Ids] | None:
    """The operation, whose axes have the batch in them."""
    axes = call.config.get("axes")
    if not axes or axes[0] != 0:
        return None
    return [np.transpose(call.ids(call.node.inputs[0]), [axis - 1 for axis in axes[1:]])]


def repeat(call: Call) -> list[Ids] | None:
    """A RepeatVector."""
    return [call.ids(call.node.inputs[0])[np.newaxis]]


def picked(call: Call) -> list[Ids] | None:
    """Indexing with slices and numbers along axes that have no channels."""
    value, output = call.node.inputs[0], call.node.output
    if len(call.node.args) < 2 or len(call.node.inputs) != 1:
        return None
    index = call.node.args[1]
    index = tuple(index) if isinstance(index, (tuple, list)) else (index,)
    if not all(part is Ellipsis or isinstance(part, (int, slice)) for part in index):
        return None
    full = _spelled_out(index, len(value.shape))
    ids = call.ids(value)
    if full is None or full[0] != slice(None):
        return None
    if any(size > 1 and part != slice(None) for size, part in zip(ids.shape, full[1:], strict=True)):
        return None
    made = ids[tuple(0 if isinstance(part, int) else slice(None) for part in full[1:])]
    return [made] if made.ndim == len(output.shape) - 1 else None


def _spelled_out(index: Sequence[Any], rank: int) -> tuple[Any, ...] | None:
    given = [part for part in index if part is not Ellipsis]
    if len(given) > rank or len(index) - len(given) > 1:
        return None
    missing = [slice(None)] * (rank - len(given))
    place = next((at for at, part in enumerate(index) if part is Ellipsis), len(given))
    return (*given[:place], *missing, *given[place:])


def squeeze_or_expand(call: Call) -> list[Ids] | None:
    """The operations that add or take away axes of one element."""
    value, output = call.node.inputs[0], call.node.output
    ids = whole(call.ids(value), value)
    if ids is None or any(size is None for size in output.shape[1:]):
        return None
    return [narrow(ids.reshape([size or 1 for size in output.shape[1:]]))]


RULES: Mapping[str, Rule] = {
    "Flatten": flatten,
    "Reshape": reshape,
    "ops.Reshape": reshape_op,
    "Permute": permute,
    "ops.Transpose": transpose_op,
    "RepeatVector": repeat,
    "ops.GetItem": picked,
    "ops.ExpandDims": squeeze_or_expand,
    "ops.Squeeze": squeeze_or_expand,
}
