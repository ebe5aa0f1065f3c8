"""What quantization-aware training keeps: constraints on weights, ranges that follow, and the moment when both stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting.keepers import Keeper, Keeping
from slimedge.compress.qat.constraints import Constraint, Projection
from slimedge.compress.qat.layers import TrainedNorm, TrainedRange
from slimedge.errors import CheckError

if TYPE_CHECKING:
    import keras

    from slimedge.compress.qat.settings import Settings


def keepers_of(settings: Settings) -> tuple[Keeper, ...]:
    """Give what keeps the constraints, lets ranges follow, and freezes, in the order in which it must happen."""
    return ConstraintKeeper(settings.constraints), RangeFollower(), Freezing(settings.freeze_after)


class ConstraintKeeper(Keeping):
    """Keeps constraints on all weights of rank 2 or more.

    Args:
        constraints: any number of them.
    """

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self._constraints = tuple(constraints)
        self._held: list[tuple[Any, NDArray[np.float32]]] = []
        self._projections: list[tuple[Any, Projection]] = []

    def start(self, model: keras.Model, /) -> None:
        """Note the weights."""
        for variable in model.trainable_variables if self._constraints else ():
            if len(variable.shape) < 2 or variable.name.endswith("_exponent"):
                continue
            start = variable.numpy().copy()
            self._held.append((variable, start))
            found = (constraint.projection(start) for constraint in self._constraints)
            self._projections += [(variable, project) for project in found if project is not None]

    def project(self) -> None:
        """Put each weight back to what is allowed."""
        for variable, project in self._projections:
            variable.assign(project(variable.value))

    def check(self) -> None:
        """Compare each weight with what it was at the start.

        Raises:
            CheckError: a constraint does not hold.
        """
        for variable, start in self._held:
            for constraint in self._constraints:
                lost = constraint.broken(start, variable.numpy())
                if lost:
                    raise CheckError(
                        f"training changed what it had to keep: of weight '{variable.path}' {lost}; nothing was kept."
                    )


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
