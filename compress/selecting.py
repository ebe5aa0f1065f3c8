"""Layers chosen by patterns of their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase

from slimedge.errors import InputError

# From a pattern to all that it stands for.
Meaning = Callable[[str], Collection[str]]


def as_written(pattern: str) -> Collection[str]:
    """Let a pattern stand for itself."""
    return (pattern,)


def selected(
    names: Iterable[str],
    layers: Collection[str],
    exclude: Collection[str],
    *,
    model: str,
    what: str,
    meaning: Meaning = as_written,
) -> frozenset[str]:
    """Give the names that patterns choose.

    Args:
        names: of the layers that can be chosen.
        layers: patterns, as of `fnmatch`; a layer is taken where one fits, and every layer where there is none.
        exclude: likewise; a layer is left where one fits.
        model: its name, for messages.
        what: can be done to those layers, for messages: "can be pruned".
        meaning: what else a pattern stands for, as the name of a nested model for those of its layers.

    Raises:
        InputError: a pattern fits no name, or nothing is left.

    Example:
        >>> sorted(selected(["conv_1", "conv_2", "dense"], ["conv*"], ["*_2"], model="net", what="can be pruned"))
        ['conv_1']
    """
    known = list(dict.fromkeys(names))

    def fitting(pattern: str) -> set[str]:
        return {name for name in known if any(fnmatchcase(name, one) for one in meaning(pattern))}

    for pattern in (*layers, *exclude):
        if not fitting(pattern):
            shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise InputError(
                f"the pattern '{pattern}' fits no layer of model '{model}' that {what}; those are {shown or 'none'}."
            )
    wanted = set[str]().union(*map(fitting, layers)) if layers else set(known)
    found = frozenset(wanted.difference(*map(fitting, exclude)))
    if known and not found:
        raise InputError(f"every layer of model '{model}' that {what} is excluded; exclude fewer.")
    return found
