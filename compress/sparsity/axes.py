"""What the axes of a weight are for: which hold the outputs of its product, and over which it sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes of a weight by their use; those in neither are positions of a window.

    Attributes:
        output: that number the outputs, slowest first.
        summed: over which a product sums, likewise; for a table, the features of a row.
    """

    output: tuple[int, ...]
    summed: tuple[int, ...]

    def arranged(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Give a weight as (positions, outputs, inputs).

        Example:
            >>> Axes((3,), (2,)).arranged(np.zeros((3, 3, 16, 8))).shape
            (9, 8, 16)
        """
        sizes = weight.shape
        outputs, inputs = (
            int(np.prod([sizes[axis] for axis in axes])) for axes in (self.output, self.summed)
        )
        return weight.transpose(self._order(weight.ndim)).reshape(-1, outputs, inputs)

    def restored(self, arranged: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Give what `arranged` gave in the weight's own shape again."""
        order = self._order(len(shape))
        moved = arranged.reshape([shape[axis] for axis in order])
        return np.ascontiguousarray(moved.transpose(np.argsort(order)))

    def _order(self, rank: int) -> list[int]:
        used = (*self.output, *self.summed)
        return [*(axis for axis in range(rank) if axis not in used), *used]
