"""The moving average of the ends."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.observers import Setting

# Examples whose smallest and largest value are one term of the average, however many come in a batch.
TERM_EXAMPLES = 64


class MovingAverage:
    """Exponential moving average of the ends of 64 examples at a time (Jacob et al., 2018, section 3.1).

    Args:
        bits: of the integers; the range is the same for all.
        momentum: share of the old value that is kept at each term, over 0 and at most 1.

    Example:
        >>> observer = MovingAverage(momentum=0.5)
        >>> observer.update(np.repeat(np.float32([[-1, 4], [-3, 8]]), 64, axis=0))
        >>> observer.range()
        (-2.0, 6.0)
    """

    setting: ClassVar[Setting | None] = Setting("the share of the old value that is kept", 0, 1, 0.9)

    def __init__(self, bits: int = 8, momentum: float = 0.9) -> None:
        del bits
        self.momentum = momentum
        self._average: tuple[float, float] | None = None
        self._term = (np.inf, -np.inf)
        self._examples = 0

    def update(self, batch: NDArray[Any]) -> None:
        """See one more batch."""
        start = 0
        while start < len(batch):
            part = batch[start : start + TERM_EXAMPLES - self._examples]
            self._term = min(self._term[0], float(part.min())), max(self._term[1], float(part.max()))
            self._examples += len(part)
            start += len(part)
            if self._examples == TERM_EXAMPLES:
                self._average = self._with_term()
                self._term, self._examples = (np.inf, -np.inf), 0

    def _with_term(self) -> tuple[float, float]:
        """The average, with the examples since its last term as one more."""
        if self._average is None:
            return self._term
        kept, new = self.momentum, 1 - self.momentum
        return (
            kept * self._average[0] + new * self._term[0],
            kept * self._average[1] + new * self._term[1],
        )

    def range(self) -> tuple[float, float]:
        """Give the range."""
        return self._with_term() if self._examples else self._average or (np.inf, -np.inf)
