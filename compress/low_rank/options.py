"""What a layer may become: ranks with what they cost and what they keep of its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MACS, PARAMETERS = "macs", "parameters"


@dataclass(frozen=True, slots=True)
class Option:
    """One way to keep a layer.

    Attributes:
        way: a name in `slimedge.compress.low_rank.ways.WAYS`, empty for the layer as it is.
        ranks: of that way.
        macs: multiply-accumulates of all calls of the layer, for one example.
        parameters: of its kernels.
        kept: share of the squared norm of its kernel.
    """

    way: str
    ranks: tuple[int, ...]
    macs: int
    parameters: int
    kept: float

    def cost(self, what: str) -> int:
        """Give `macs` or `parameters`."""
        return self.macs if what == MACS else self.parameters


@dataclass(frozen=True, slots=True)
class Table:
    """All options of one way.

    Attributes:
        way: its name.
        ranks: int64, (options, ranks of each).
        macs: int64, (options,).
        parameters: int64, (options,).
        kept: float64, (options,).
    """

    way: str
    ranks: NDArray[np.int64]
    macs: NDArray[np.int64]
    parameters: NDArray[np.int64]
    kept: NDArray[np.float64]

    def option(self, index: int) -> Option:
        """Give one of them."""
        return Option(
            self.way,
            tuple(int(rank) for rank in self.ranks[index]),
            int(self.macs[index]),
            int(self.parameters[index]),
            float(self.kept[index]),
        )


def allowed_ranks(full: int, multiple: int) -> NDArray[np.int64]:
    """Give the multiples below a full rank, and that.

    Example:
        >>> allowed_ranks(20, 8).tolist()
        [8, 16, 20]
    """
    return np.append(np.arange(multiple, full, multiple, dtype=np.int64), full)


def frontier(whole: Option, tables: Sequence[Table], what: str) -> tuple[Option, ...]:
    """Give the options of a layer that no other beats in both cost and what is kept, the cheapest first.

    Args:
        whole: the layer as it is, which is the last of them.
        tables: the others; those that do not save MACs, and parameters where these count, are left out.
        what: `macs` or `parameters`.
    """
    found: list[Option] = []
    for table in tables:
        cheaper = table.macs < whole.macs
        costs = table.macs if what == MACS else table.parameters
        rows = np.flatnonzero(cheaper & (costs < whole.cost(what)))
        rows = rows[np.lexsort((-table.kept[rows], costs[rows]))]
        best = np.maximum.accumulate(np.concatenate([[-1.0], table.kept[rows]]))[:-1]
        found.extend(table.option(row) for row in rows[table.kept[rows] > best])
    kept: list[Option] = []
    for option in sorted(found, key=lambda one: (one.cost(what), -one.kept)):
        if not kept or option.kept > kept[-1].kept:
            kept.append(option)
    return (*kept, whole)
