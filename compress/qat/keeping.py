"""What quantization-aware training keeps: constraints on weights, ranges that follow, and when these stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slimedge.compress.fitting.constraints import ConstraintKeeper
from slimedge.compress.fitting.keepers import Keeper, Keeping
from slimedge.compress.qat.layers import TrainedNorm, TrainedRange

if TYPE_CHECKING:
    import keras

    from slimedge.compress.qat.settings import Settings


def keepers_of(settings: Settings) -> tuple[Keeper, ...]:
    """Give what keeps the constraints, lets ranges follow, and freezes, in the order in which it must happen."""
    return ConstraintKeeper(settings.constraints), RangeFollower(), Freezing(settings.freeze_after)


class RangeFollower(Keeping):
    """Moves ranges that are no weights to what each step saw."""

    def start(self, model: keras.Model, /) -> None:
        """Find them."""
        self._following = [layer for layer in model.layers if isinstance(layer, TrainedRange)]

    def project(self) -> None:
        """Move them."""
        for layer in self._following:
            layer.follow()


class Freezing(Keeping):
    """Lets ranges and BatchNorm's statistics stay from some step on.

    Args:
        share: of the steps that are before it, 0…1.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def start(self, model: keras.Model, /) -> None:
        """Find them."""
        self._freezing = [layer for layer in model.layers if isinstance(layer, TrainedRange | TrainedNorm)]

    def before(self, step: int, steps: int, /) -> None:
        """Freeze them where it is time."""
        if self.training and step >= math.ceil(self._share * steps):
            for layer in self._freezing:
                layer.frozen = True
            self.training = False
