"""How channels go through each kind of layer; a kind that has no rule here keeps all channels that it touches."""

from __future__ import annotations

from collections.abc import Mapping

from slimedge.compress.channels.rules import attention, kernels, merging, passing, recurrent, shapes
from slimedge.compress.channels.tracing import Rule

RULES: Mapping[str, Rule] = {
    **passing.RULES,
    **merging.RULES,
    **shapes.RULES,
    **kernels.RULES,
    **recurrent.RULES,
    **attention.RULES,
}
