"""What training must leave as it is: re-applied to each weight after each step, and checked at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Projection = Callable[[Any], Any]


class Constraint(Protocol):
    """Something about a weight of rank 2 or more that an earlier stage made and training keeps."""

    def projection(self, start: NDArray[np.float32]) -> Projection | None:
        """Give what puts a tensor that training moved back to what is allowed; None where all is."""

    def broken(self, start: NDArray[np.float32], end: NDArray[np.float32]) -> str | None:
        """Say in half a sentence what of `start` was lost in `end`; None where nothing was."""


@dataclass(frozen=True, slots=True)
class KeepZeros:
    """Weights that are 0 stay 0, as pruning made them (Zhu and Gupta, 2017)."""

    def projection(self, start: NDArray[np.float32]) -> Projection | None:
        """Multiply with 0 where a weight was 0."""
        if np.all(start):
            return None
        mask = (start != 0).astype(np.float32)
        return lambda weight: weight * mask

    def broken(self, start: NDArray[np.float32], end: NDArray[np.float32]) -> str | None:
        """Count the zeros that are none any more.

        Example:
            >>> KeepZeros().broken(np.float32([0, 1, 0]), np.float32([0, 2, 3]))
            '1 of its 2 zeros is not 0 any more'
        """
        zeros, lost = int(np.sum(start == 0)), int(np.sum((start == 0) & (end != 0)))
        verb = "is" if lost == 1 else "are"
        return f"{lost:,} of its {zeros:,} zeros {verb} not 0 any more" if lost else None
