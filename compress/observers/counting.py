"""What observers that count their values have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from slimedge.compress.observers import Setting
from slimedge.compress.observers.histogram import Histogram


class Counting:
    """Counts all values in a `Histogram`, from which a range is found at the end.

    Args:
        bits: of the integers.
    """

    setting: ClassVar[Setting | None] = None

    def __init__(self, bits: int = 8) -> None:
        self.bits = bits
        self._histogram = Histogram()

    def update(self, batch: NDArray[Any]) -> None:
        """See one more batch."""
        self._histogram.update(batch)
