"""Numbers for what can be removed: channels that must go together share one, and 0 is what must stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
FIXED = 0


class Units:
    """A union-find over the numbers of channels (Tarjan, 1975), for whole arrays of them at once."""

    def __init__(self) -> None:
        self._parent: Ids = np.zeros(1, np.int64)
        self._maker: Ids = np.zeros(1, np.int64)

    @property
    def count(self) -> int:
        """How many numbers there are, FIXED among them."""
        return len(self._parent)

    def new(self, count: int) -> Ids:
        """Give numbers that no channel has yet, shape (count,)."""
        start = len(self._parent)
        made = np.arange(start, start + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, made])
        self._maker = np.concatenate([self._maker, np.full(count, self._maker[-1] + 1)])
        return made

    def roots(self, ids: Ids) -> Ids:
        """Give the number that stands for each channel and all that it is tied to; FIXED for one that must stay."""
        roots = self._parent[ids]
        while True:
            further = self._parent[roots]
            if np.array_equal(further, roots):
                return np.asarray(roots)
            roots = further

    def tie(self, one: Ids, other: Ids) -> None:
        """Make the channels of two arrays go together, one by one; the arrays are broadcast against each other."""
        pairs = np.stack(np.broadcast_arrays(self.roots(one), self.roots(other)), axis=-1).reshape(-1, 2)
        for first, second in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0):
            low, high = sorted((self._root(int(first)), self._root(int(second))))
            self._parent[high] = low

    def fix(self, ids: Ids) -> None:
        """Make channels stay, with all that they are tied to."""
        self.tie(ids, np.asarray([FIXED]))

    def _root(self, one: int) -> int:
        while self._parent[one] != one:
            one = int(self._parent[one])
        return one

    def groups(self) -> list[Ids]:
        """Give the units that can go, with those together which come of the same layers.

        Returns:
            For each group the numbers that stand for its units, ascending.
        """
        ids = np.arange(len(self._parent))
        roots = self.roots(ids)
        makers = _Sets(int(self._maker[-1]) + 1)
        first: dict[int, int] = {}
        for root, maker in zip(roots[roots != FIXED], self._maker[roots != FIXED], strict=True):
            makers.join(first.setdefault(int(root), int(maker)), int(maker))
        found: dict[int, list[int]] = {}
        for root, maker in first.items():
            found.setdefault(makers.root(maker), []).append(root)
        return [np.asarray(sorted(group), np.int64) for _, group in sorted(found.items())]


class _Sets:
    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, one: int) -> int:
        while self._parent[one] != one:
            one = self._parent[one]
        return one

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low
