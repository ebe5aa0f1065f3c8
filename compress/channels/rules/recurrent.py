"""LSTM, GRU and SimpleRNN: a unit has a column in each gate's kernel, and a row and columns in the recurrent one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimedge.compress.channels.rules.passing import mixes_channels
from slimedge.compress.channels.tracing import Call, Rule, along
from slimedge.compress.channels.units import Ids

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def recurrent(call: Call) -> list[Ids] | None:
    """One recurrent layer, without a state from outside."""
    names = [name for name, _ in call.layer.weights][: 2 + bool(call.config.get("use_bias"))]
    if len(call.node.inputs) != 1 or names[:2] != ["kernel", "recurrent_kernel"]:
        return None
    if any(mixes_channels(call.config.get(name)) for name in ("activation", "recurrent_activation")):
        return None
    call.use(0, 0, call.channels(), "in")
    made = call.new(int(call.config["units"]))
    gates = np.tile(made, GATES[call.layer.kind])
    call.use(0, 1, gates, "out")
    call.use(1, 0, made, "in")
    call.use(1, 1, gates, "out")
    if len(names) > 2:
        call.use(2, -1, gates, "out")
    call.count("units", made)
    return [along(made, value) for value in call.node.outputs]


def bidirectional(call: Call) -> list[Ids] | None:
    """Two recurrent layers, whose inputs may lose channels."""
    kernels = [place for place, (name, _) in enumerate(call.layer.weights) if name == "kernel"]
    if len(call.node.inputs) != 1 or len(kernels) != 2:
        return None
    given = call.channels()
    for place in kernels:
        if call.layer.weights[place][1].shape[0] != len(given):
            return None
        call.use(place, 0, given, "in")
    return [np.zeros((1,) * (len(value.shape) - 1), np.int64) for value in call.node.outputs]


RULES: Mapping[str, Rule] = {**dict.fromkeys(GATES, recurrent), "Bidirectional": bidirectional}
