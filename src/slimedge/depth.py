"""Models of any depth: Keras walks a graph with one Python call per layer, and Python stops at 1,000."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Calls from Python to Python take no room on the machine's stack, so this is a guard and no limit.
DEEPEST = 50_000


@contextmanager
def any_depth() -> Iterator[None]:
    """Let Keras make, load or walk a model of thousands of layers one after the other."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
