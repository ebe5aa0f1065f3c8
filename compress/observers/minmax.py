"""The smallest and the largest value."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.observers import Setting


class MinMax:
    """The smallest and largest value ever seen: nothing is clipped.

    Args:
        bits: of the integers; the range is the same for all.

    Example:
        >>> observer = MinMax()
        >>> observer.update(np.float32([[-1, 0.5]]))
        >>> observer.range()
        (-1.0, 0.5)
    """

    setting: ClassVar[Setting | None] = None

    def __init__(self, bits: int = 8) -> None:
        del bits
        self._low, self._high = np.inf, -np.inf

    def update(self, batch: NDArray[Any]) -> None:
        """See one more batch."""
        self._low = min(self._low, float(batch.min()))
        self._high = max(self._high, float(batch.max()))

    def range(self) -> tuple[float, float]:
        """Give the range."""
        return self._low, self._high
