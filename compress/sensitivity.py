"""How much each layer's rounding costs: one layer rounded at a time, and all but one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimedge.compress.layer_bits import FLOAT
from slimedge.compress.rehearsal import Effect, Rehearsal

# What the weights of a layer may have, from the narrowest.
CANDIDATES = (4, 8)


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """What one layer's rounding costs.

    Attributes:
        layer: the user's name.
        weights: how many it has that are rounded.
        alone: by bits, the effect of rounding this layer and no other.
        spared: by bits of all others, the effect of rounding all layers but this one.
    """

    layer: str
    weights: int
    alone: dict[int, Effect]
    spared: dict[int, Effect]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What rounding costs, layer by layer.

    Attributes:
        layers: in the order of the graph.
        everything: by bits, the effect of rounding all layers.
        unrounded: the float net, whose drop is that of the measure itself.
    """

    layers: tuple[LayerSensitivity, ...]
    everything: dict[int, Effect]
    unrounded: Effect


def sensitivity(
    rehearsal: Rehearsal,
    *,
    candidates: Sequence[int] = CANDIDATES,
    both_ways: bool = True,
    limit: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Sensitivity:
    """Measure what each layer's rounding costs, leaving one out in both directions.

    A layer that is rounded alone has int8 activations around it; the nearest integers are taken.

    Args:
        rehearsal: of the net.
        candidates: bits of the weights.
        both_ways: also round all layers but one.
        limit: examples that are looked at; None for all of the rehearsal's.
        progress: told the share that is done.
    """
    sizes = rehearsal.weights()
    total = len(candidates) * (1 + len(rehearsal.layers) * (2 if both_ways else 1))
    done = 0

    def effect(bits: dict[str, int | str]) -> Effect:
        nonlocal done
        found = rehearsal.effect(bits, limit=limit)
        done += 1
        if progress is not None:
            progress(done / total)
        return found

    def without(layer: str, bits: int) -> dict[str, int | str]:
        return dict.fromkeys(rehearsal.layers, bits) | {layer: FLOAT}

    return Sensitivity(
        layers=tuple(
            LayerSensitivity(
                layer,
                sizes[layer],
                {bits: effect({layer: bits}) for bits in candidates},
                {bits: effect(without(layer, bits)) for bits in candidates} if both_ways else {},
            )
            for layer in rehearsal.layers
        ),
        everything={bits: effect(dict.fromkeys(rehearsal.layers, bits)) for bits in candidates},
        unrounded=rehearsal.effect({}, limit=limit),
    )
