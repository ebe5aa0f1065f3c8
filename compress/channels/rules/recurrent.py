"""LSTM, GRU and SimpleRNN: a unit has a column in each gate's kernel, and a row and columns in the recurrent one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slimedge.compress.channels.rules.passing import mixes_channels
from slimedge.compress.channels.tracing import Call, Kept, Rule, along
from slimedge.compress.channels.units import Ids
from slimedge.graph import Value

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def recurrent(call: Call) -> list[Ids] | None:
    """One recurrent layer, without a state from outside."""
    names = [name for name, _ in call.layer.weights][: 2 + bool(call.config.get("use_bias"))]
    if not _stateless(call) or names[:2] != ["kernel", "recurrent_kernel"]:
        return None
    if any(mixes_channels(call.config.get(name)) for name in ("activation", "recurrent_activation")):
        return None
    made = call.new(int(call.config["units"]))
    _use(call, 0, call.channels(), made, GATES[call.layer.kind], biased=len(names) > 2)
    call.count("units", made)
    return [along(made, value) for value in call.node.outputs]


def bidirectional(call: Call) -> list[Ids] | None:
    """Two recurrent layers side by side; what one loses the other loses, at the same place."""
    inner = call.config["layer"]
    gates = GATES.get(inner["class_name"])
    settings = inner["config"]
    biased = bool(settings.get("use_bias"))
    each = 2 + biased
    if gates is None or not _stateless(call) or len(call.layer.weights) != 2 * each:
        return None
    if not _alike(inner, call.config.get("backward_layer")) or len(call.node.outputs) != 1:
        return None
    if any(mixes_channels(settings.get(name)) for name in ("activation", "recurrent_activation")):
        return None
    given, made = call.channels(), call.new(int(settings["units"]))
    for place in (0, each):
        _use(call, place, given, made, gates, biased=biased)

    def change(kept: Kept) -> Mapping[str, Any]:
        units = int(kept(made).sum())
        sides = ("layer", "backward_layer")
        return {side: _with_units(call.config[side], units) for side in sides if call.config.get(side)}

    call.change(change)
    merged = np.concatenate([made, made]) if call.config.get("merge_mode") == "concat" else made
    return [along(merged, call.node.output)]


def _stateless(call: Call) -> bool:
    """Whether the first input is the sequence, and what else there may be a mask."""
    mask = call.node.kwargs.get("mask")
    if any(value is not mask for value in call.node.inputs[1:]):
        return False
    if isinstance(mask, Value):
        call.fix(call.ids(mask))
    return True


def _alike(forward: Mapping[str, Any], backward: Mapping[str, Any] | None) -> bool:
    """Whether both directions have the same units; the config has only one of them, or both."""
    if not backward:
        return True
    compared = ("units", "use_bias", "activation", "recurrent_activation")
    return forward["class_name"] == backward["class_name"] and all(
        forward["config"].get(name) == backward["config"].get(name) for name in compared
    )


def _with_units(inner: Mapping[str, Any], units: int) -> dict[str, Any]:
    """Give a wrapped layer with so many units, and without its build_config, which has the shape of the input."""
    kept = {name: part for name, part in inner.items() if name != "build_config"}
    return {**kept, "config": {**inner["config"], "units": units}}


def _use(call: Call, place: int, given: Ids, made: Ids, gates: int, *, biased: bool) -> None:
    """Say whose the weights of one recurrent layer are, of which the kernel is at a place."""
    columns = np.tile(made, gates)
    call.use(place, 0, given, "in")
    call.use(place, 1, columns, "out")
    call.use(place + 1, 0, made, "in")
    call.use(place + 1, 1, columns, "out")
    if biased:
        call.use(place + 2, -1, columns, "out")


RULES: Mapping[str, Rule] = {**dict.fromkeys(GATES, recurrent), "Bidirectional": bidirectional}
