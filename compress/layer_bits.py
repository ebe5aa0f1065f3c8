"""Bits of single layers, chosen by pattern of their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from slimedge.compress.placement import Placement
from slimedge.errors import InputError
from slimedge.graph import Graph

# What the integers of weights may have.
WEIGHT_BITS = range(2, 9)
# Said of a layer: weights of 8 bits between activations of 16.
WIDE = 16
# Said of a layer instead of a number of bits.
FLOAT = "float"
# What the float weights of a layer take, in sums over layers.
FLOAT_BITS = 32

LayerBits = Mapping[str, int | str]


def check_layer_bits(patterns: LayerBits) -> None:
    """Refuse what cannot be the bits of a layer's weights.

    Raises:
        InputError: not a number of bits that a layer can have, nor `float`.
    """
    for pattern, bits in patterns.items():
        if bits not in (*WEIGHT_BITS, WIDE, FLOAT):
            raise InputError(
                f"layers '{pattern}' were given {bits} bits; weights can have {WEIGHT_BITS[0]} to {WEIGHT_BITS[-1]}, "
                f"{WIDE} stands for activations of 16 bits around weights of 8, or the layer can be {FLOAT}."
            )


def assigned_bits(graph: Graph, names: Iterable[str], patterns: LayerBits) -> dict[str, int | str]:
    """Give the layers whose bits are not the scheme's.

    Args:
        graph: for messages.
        names: of the layers whose weights can be rounded.
        patterns: 2 to 8 bits, 16, or `float`, by pattern, as of `fnmatch`; the first one that fits a name counts.

    Raises:
        InputError: a pattern that fits no layer whose weights can be rounded.
    """
    names = list(dict.fromkeys(names))
    found: dict[str, int | str] = {}
    for name in names:
        fitting = [bits for pattern, bits in patterns.items() if fnmatchcase(name, pattern)]
        if fitting:
            found[name] = fitting[0]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise InputError(
                f"the pattern '{pattern}' for bits fits no layer of model '{graph.name}' whose weights can be rounded; "
                f"those are {shown}."
            )
    return found


def activation_bits(graph: Graph, placement: Placement, layer_bits: LayerBits) -> dict[int, int]:
    """Give the groups of activations that have 16 bits: those that a layer of 16 bits takes and gives.

    Args:
        graph: the one that was placed.
        placement: of it.
        layer_bits: by the user's names.
    """
    consumers = graph.consumers()
    found: dict[int, int] = {}
    for node in graph.nodes:
        if node.layer not in placement.kernels or layer_bits.get(node.source) != WIDE:
            continue
        # What the layer gives is rounded behind the ReLU that it takes in.
        given = node.output if node.output in placement.groups else consumers[node.output][0].output
        found |= dict.fromkeys((placement.groups[node.inputs[0]], placement.groups[given]), WIDE)
    return found
