"""MultiHeadAttention: whole heads can go, and channels of what it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimedge.compress.channels.tracing import Call, Kept, Rule, along
from slimedge.compress.channels.units import Ids
from slimedge.graph import Value

ARGUMENTS = ("query", "value", "key")


def multi_head(call: Call) -> list[Ids] | None:
    """A MultiHeadAttention over the axis of the sequence, that gives no scores."""
    given = {**dict(zip(ARGUMENTS, call.node.args, strict=False)), **call.node.kwargs}
    query, value = given.get("query"), given.get("value")
    key = given["key"] if given.get("key") is not None else value
    if not (isinstance(query, Value) and isinstance(value, Value) and isinstance(key, Value)):
        return None
    if len(call.node.outputs) != 1 or call.config.get("attention_axes") not in (None, (1,), [1], 1):
        return None
    if call.config.get("output_shape") is not None or any(len(one.shape) != 3 for one in (query, value, key)):
        return None
    for other in call.node.inputs:
        if other not in (query, value, key):
            call.fix(call.ids(other))  # a mask
    biased = bool(call.config.get("use_bias", True))
    step = 2 if biased else 1
    if len(call.layer.weights) != 4 * step:
        return None
    heads = call.new(int(call.config["num_heads"]))
    for place, source in enumerate((query, key, value)):
        call.use(place * step, 0, call.channels(source), "in")
        call.use(place * step, 1, heads, "out")
        if biased:
            call.use(place * step + 1, 0, heads, "out")
    call.use(3 * step, 0, heads, "in")
    made = _output(call, call.layer.weights[3 * step][1].shape[-1])
    call.use(3 * step, -1, made, "out")
    if biased:
        call.use(3 * step + 1, 0, made, "out")

    def change(kept: Kept) -> Mapping[str, Any]:
        return {"num_heads": int(kept(heads).sum()), "output_shape": (int(kept(made).sum()),)}

    call.change(change)
    return [along(made, call.node.output)]


def _output(call: Call, count: int) -> Ids:
    """The channels of the output, beside the heads, which the layer makes, too."""
    key = (call.layer, 3 * (2 if call.config.get("use_bias", True) else 1), 2)
    if key in call.tracing.uses:
        return call.tracing.uses[key].ids
    return call.tracing.units.new(count)


RULES: Mapping[str, Rule] = {"MultiHeadAttention": multi_head}
