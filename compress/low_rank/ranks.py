"""Ranks for a whole model: by what each layer has to keep, or by what the model may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from slimedge.compress.low_rank.options import Option

Key = TypeVar("Key")


def by_energy(frontiers: Mapping[Key, Sequence[Option]], energy: float) -> dict[Key, Option]:
    """Give each layer its cheapest option that keeps a share of the squared norm of its kernel.

    Args:
        frontiers: the options of each layer, the cheapest first and the layer as it is last.
        energy: the share, in 0…1.
    """
    return {
        key: next((one for one in options if one.kept >= energy), options[-1])
        for key, options in frontiers.items()
    }


def by_loss(frontiers: Mapping[Key, Sequence[Option]], what: str, budget: int) -> dict[Key, Option] | None:
    """Give the choice within a budget that is reached by the steps that lose least energy for what they save.

    The steps of each layer are those of the lower convex hull of its costs and losses (Shoham and Gersho, 1988).

    Args:
        frontiers: as of `by_energy`.
        what: `macs` or `parameters`.
        budget: of all these layers together.

    Returns:
        None where the cheapest options cost more.
    """
    choice = {key: options[-1] for key, options in frontiers.items()}
    cost = sum(option.cost(what) for option in choice.values())
    steps = []
    for number, (key, options) in enumerate(frontiers.items()):
        hull = _hull(options, what)
        for dear, cheap in zip(hull[:0:-1], hull[-2::-1], strict=True):
            saved = dear.cost(what) - cheap.cost(what)
            steps.append(((dear.kept - cheap.kept) / saved, number, -cheap.cost(what), key, cheap))
    for *_, key, cheap in sorted(steps, key=lambda step: step[:3]):
        if cost <= budget:
            break
        cost -= choice[key].cost(what) - cheap.cost(what)
        choice[key] = cheap
    return _filled(choice, frontiers, what, budget - cost) if cost <= budget else None


def _filled(
    choice: dict[Key, Option], frontiers: Mapping[Key, Sequence[Option]], what: str, left: int
) -> dict[Key, Option]:
    """The choice with what is left of a budget spent where it brings most; steps of a hull may be wide."""
    while True:
        gains = [
            (option.kept - choice[key].kept, number, key, option)
            for number, (key, options) in enumerate(frontiers.items())
            for option in options
            if 0 < option.cost(what) - choice[key].cost(what) <= left
        ]
        if not gains:
            return choice
        _, _, key, option = max(gains, key=lambda gain: gain[:2])
        left -= option.cost(what) - choice[key].cost(what)
        choice = {**choice, key: option}


def _hull(options: Sequence[Option], what: str) -> list[Option]:
    """The options of a frontier between which what is kept grows ever slower with the cost."""
    hull: list[Option] = []
    for option in options:
        while len(hull) > 1 and _slope(hull[-2], hull[-1], what) <= _slope(hull[-1], option, what):
            hull.pop()
        hull.append(option)
    return hull


def _slope(one: Option, other: Option, what: str) -> float:
    return (other.kept - one.kept) / (other.cost(what) - one.cost(what))
