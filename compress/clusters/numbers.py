"""The numbers of a weight as k-means sees them: each value once, in order, with how often it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers whose order does not matter.

    Attributes:
        values: each once, ascending, shape (n,), float64.
        counts: how often each is there, shape (n,), int64.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, array: NDArray[Any]) -> Numbers:
        """Count the numbers of an array of any shape.

        Example:
            >>> Numbers.of(np.float32([[0.5, -1], [0.5, 0.5]]))
            Numbers(values=array([-1. ,  0.5]), counts=array([1, 3]))
        """
        values, counts = np.unique(np.asarray(array).reshape(-1), return_counts=True)
        return cls(values.astype(np.float64), counts.astype(np.int64))

    def __len__(self) -> int:
        return len(self.values)

    def without(self, fixed: NDArray[np.float64]) -> Numbers:
        """Give the numbers that are none of `fixed`."""
        kept = ~np.isin(self.values, fixed)
        return Numbers(self.values[kept], self.counts[kept])
