"""Say once what is the same of several models."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

Shown = TypeVar("Shown", bound=Hashable)


def shared(pairs: Iterable[tuple[str, Shown]]) -> list[tuple[str, Shown]]:
    """Join the names of what is equal, as of files that were exported from one graph.

    Example:
        >>> shared([("a.onnx", 1), ("b.onnx", 2), ("a.tflite", 1)])
        [('a.onnx, a.tflite', 1), ('b.onnx', 2)]
    """
    names: dict[Shown, list[str]] = {}
    for name, shown in pairs:
        names.setdefault(shown, []).append(name)
    return [(", ".join(sharing), shown) for shown, sharing in names.items()]
