"""Bits for each layer: the fewest with which a net loses no more than it may.

The noise that a layer's rounding puts into the outputs adds up over layers to a good approximation, so the choices that
are worth trying lie on the lower convex hull of bits and noise (Shoham and Gersho, 1988, "Efficient bit allocation for
an arbitrary set of quantizers"). They are in one row from the narrowest to float, and what the net loses is measured
on a few of that row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from slimedge.compress.layer_bits import FLOAT, FLOAT_BITS
from slimedge.compress.sensitivity import Sensitivity

# Choices that are measured beyond those of the binary search, each with one layer narrowed again.
EXTRA_TRIES = 16

Choice = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Option:
    """One way to keep a layer.

    Attributes:
        bits: of its weights, or `float`.
        cost: bits of all its weights.
        noise: in the outputs, where this layer alone is rounded.
    """

    bits: int | str
    cost: int
    noise: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A choice that was measured.

    Attributes:
        bits: of each layer.
        drop: of the task's metric, as a share.
        mean_bits: of a weight.
    """

    bits: Mapping[str, int | str]
    drop: float
    mean_bits: float


@dataclass(frozen=True, slots=True)
class Found:
    """The narrowest choice that is within the budget.

    Attributes:
        bits: of each layer.
        drop: what it loses, as a share.
        mean_bits: of a weight.
        tried: what was measured on the way, in order.
        reasons: of each layer that is wider than it could be, why.
    """

    bits: Mapping[str, int | str]
    drop: float
    mean_bits: float
    tried: tuple[Tried, ...]
    reasons: Mapping[str, str]


def search(found: Sensitivity, measure: Callable[[Choice], float], largest_drop: float) -> Found:
    """Search for the fewest bits within a budget.

    Args:
        found: what each layer's rounding costs alone.
        measure: from a choice to what the net may lose with it, as a share.
        largest_drop: the budget, likewise.

    Returns:
        The choice; every layer is float in it where nothing else is within the budget.
    """
    options = options_of(found)
    sizes = {layer.layer: layer.weights for layer in found.layers}
    row = choices(options)
    tried: list[Tried] = []

    def fits(choice: Choice) -> bool:
        drop = measure(choice)
        tried.append(Tried(dict(choice), drop, mean_bits(choice, sizes)))
        return drop <= largest_drop

    low, high = 0, len(row) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(row[middle]):
            high = middle
        else:
            low = middle + 1
    best = row[low]
    refused: dict[str, float] = {}
    for narrower, layer in _narrowed(best, options)[:EXTRA_TRIES]:
        candidate = {**best, layer: narrower}
        if fits(candidate):
            best = candidate
        else:
            refused[layer] = tried[-1].drop
    if all(bits == FLOAT for bits in best.values()):
        drop = 0.0
    else:
        drop = next((one.drop for one in tried if one.bits == best), None) or measure(best)
    return Found(best, drop, mean_bits(best, sizes), tuple(tried), _reasons(best, found, refused))


def options_of(found: Sensitivity) -> dict[str, list[Option]]:
    """Give the ways to keep each layer, from the fewest bits to float."""
    return {
        layer.layer: [
            *(
                Option(bits, bits * layer.weights, effect.noise)
                for bits, effect in sorted(layer.alone.items())
            ),
            Option(FLOAT, FLOAT_BITS * layer.weights, 0.0),
        ]
        for layer in found.layers
    }


def choices(options: Mapping[str, Sequence[Option]]) -> list[Choice]:
    """Give the choices that are worth trying, from the narrowest to float.

    Each takes from the one before it the step that saves most noise for a bit.

    Args:
        options: of each layer, from the fewest bits.

    Example:
        >>> one = [Option(4, 400, 0.5), Option("float", 3200, 0.0)]
        >>> other = [Option(4, 4000, 0.1), Option("float", 32000, 0.0)]
        >>> [list(choice.values()) for choice in choices({"a": one, "b": other})]
        [[4, 4], ['float', 4], ['float', 'float']]
    """
    steps = []
    for layer, ways in options.items():
        hull = _hull(ways)
        for narrow, wide in pairwise(hull):
            gain = (narrow.noise - wide.noise) / (wide.cost - narrow.cost)
            steps.append((-gain, wide.cost, layer, wide.bits))
    current: Choice = {layer: ways[0].bits for layer, ways in options.items()}
    row = [dict(current)]
    for _, _, layer, bits in sorted(steps, key=lambda step: step[:2]):
        current[layer] = bits
        row.append(dict(current))
    return row


def mean_bits(choice: Mapping[str, int | str], sizes: Mapping[str, int]) -> float:
    """Give the mean bits of a weight.

    Args:
        choice: bits of each layer.
        sizes: its weights.
    """
    total = sum(_width(choice[layer]) * size for layer, size in sizes.items())
    return total / max(1, sum(sizes.values()))


def _hull(ways: Sequence[Option]) -> list[Option]:
    """The lower convex hull of cost and noise; the last way is always on it."""
    kept: list[Option] = []
    for way in ways:
        while kept and kept[-1].noise <= way.noise and way is not ways[-1]:
            break
        else:
            while len(kept) > 1 and _slope(kept[-2], kept[-1]) >= _slope(kept[-1], way):
                kept.pop()
            kept.append(way)
    return kept


def _slope(one: Option, other: Option) -> float:
    return (other.noise - one.noise) / (other.cost - one.cost)


def _narrowed(choice: Choice, options: Mapping[str, Sequence[Option]]) -> list[tuple[int | str, str]]:
    """The next narrower bits of each layer that has some, the largest saving first."""
    found = []
    for layer, ways in options.items():
        position = [way.bits for way in ways].index(choice[layer])
        if position:
            saved = ways[position].cost - ways[position - 1].cost
            found.append((-saved, ways[position - 1].bits, layer))
    return [(bits, layer) for _, bits, layer in sorted(found, key=lambda one: (one[0], one[2]))]


def _width(bits: int | str) -> int:
    return FLOAT_BITS if isinstance(bits, str) else bits


def _reasons(best: Choice, found: Sensitivity, refused: Mapping[str, float]) -> dict[str, str]:
    """Why each layer is wider than the narrowest."""
    reasons = {}
    for layer in found.layers:
        narrowest = min(layer.alone)
        if best[layer.layer] == narrowest:
            continue
        effect = layer.alone[narrowest]
        said = f"rounded alone to {narrowest} bits it leaves {effect.sqnr_db:.1f} dB of SQNR in the outputs"
        if effect.drop is not None:
            said += f" and loses {100 * max(0.0, effect.drop):.2f} points"
        if layer.layer in refused:
            said += f"; narrower, the whole may lose {100 * refused[layer.layer]:.2f} points"
        reasons[layer.layer] = said
    return reasons
