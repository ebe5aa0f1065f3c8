"""Layers chosen by patterns of their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from slimedge.errors import InputError


def selected(
    names: Iterable[str], layers: Collection[str], exclude: Collection[str], *, model: str, what: str
) -> frozenset[str]:
    """Give the names that patterns choose.

    Args:
        names: of the layers that can be chosen.
        layers: patterns, as of `fnmatch`; a layer is taken where one fits, and every layer where there is none.
        exclude: likewise; a layer is left where one fits.
        model: its name, for messages.
        what: can be done to those layers, for messages: "can be pruned".

    Raises:
        InputError: a pattern fits no name, or nothing is left.

    Example:
        >>> sorted(selected(["conv_1", "conv_2", "dense"], ["conv*"], ["*_2"], model="net", what="can be pruned"))
        ['conv_1']
    """
    known = list(dict.fromkeys(names))
    for pattern in (*layers, *exclude):
        if not any(fnmatchcase(name, pattern) for name in known):
            shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise InputError(
                f"the pattern '{pattern}' fits no layer of model '{model}' that {what}; those are {shown or 'none'}."
            )
    found = frozenset(
        name
        for name in known
        if (not layers or any(fnmatchcase(name, pattern) for pattern in layers))
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    )
    if known and not found:
        raise InputError(
            f"every layer of model '{model}' that {what} is left out; give other patterns of layers."
        )
    return found
