"""Names of inputs and outputs: each one once, in Keras order."""

from __future__ import annotations

from collections.abc import Sequence

from slimedge.artifact import TensorSpec


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Make names unique: the second `lstm` becomes `lstm_1`, or the next number that is free.

    Example:
        >>> unique(["lstm", "lstm", "lstm_1"])
        ('lstm', 'lstm_2', 'lstm_1')
    """
    given: list[str] = []
    for name in names:
        free, number = name, 0
        while free in given or (number and free in names):
            number += 1
            free = f"{name}_{number}"
        given.append(free)
    return tuple(given)


def in_order(specs: Sequence[TensorSpec], names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Put specs into the order of `names`, where these are the same names; else leave them as they are."""
    by_name = {spec.name: spec for spec in specs}
    if sorted(names) != sorted(spec.name for spec in specs):
        return tuple(specs)
    return tuple(by_name[name] for name in names)
