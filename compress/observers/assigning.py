"""Which observer each tensor gets: one for all, and others by pattern of names."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from slimedge.compress.placement import Placement
from slimedge.errors import InputError
from slimedge.graph import Graph


def assigned(graph: Graph, placement: Placement, default: str, patterns: Mapping[str, str]) -> dict[int, str]:
    """Give the name of the observer of each group that has no fixed range.

    A tensor goes by the name of the user's layer that makes it, or of the model input that it is. Where a ReLU is
    fused into the layer before it, the tensor is the ReLU's. Of a group, the first pattern that fits any of its
    tensors counts.

    Args:
        graph: the one that was placed.
        placement: which values are observed.
        default: the observer of the groups that no pattern fits.
        patterns: observer by pattern, as of `fnmatch`, first one first.

    Returns:
        Names with their settings, by group.

    Raises:
        InputError: a pattern that no observed tensor fits.
    """
    named = dict(zip(graph.inputs, graph.input_names, strict=True))
    named.update((value, node.source) for node in graph.nodes for value in node.outputs)
    names: dict[int, list[str]] = {}
    for value, group in placement.groups.items():
        if group not in placement.fixed:
            names.setdefault(group, []).append(named[value])
    every = list(dict.fromkeys(name for group in names.values() for name in group))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in every):
            shown = ", ".join(every[:8]) + (", …" if len(every) > 8 else "")
            raise InputError(
                f"the observer pattern '{pattern}' fits no tensor of model '{graph.name}' whose range is calibrated; "
                f"those go by {shown} (a layer that a ReLU follows goes by the ReLU)."
            )
    return {
        group: next(
            (
                observer
                for pattern, observer in patterns.items()
                if any(fnmatchcase(name, pattern) for name in members)
            ),
            default,
        )
        for group, members in names.items()
    }
