"""Masks on the weights of a model that trains: what is pruned is 0, has no gradient, and no optimizer remembers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting.keepers import Keeping
from slimedge.compress.sparsity.patterns import Pattern
from slimedge.compress.sparsity.ranking import masks
from slimedge.compress.sparsity.schedules import Schedule
from slimedge.compress.sparsity.weights import Prunable
from slimedge.errors import CheckError

if TYPE_CHECKING:
    import keras

# How often a growing sparsity grows, at most: finding the smallest weights takes longer than a step of a small model.
UPDATES = 100


class Masks:
    """Masks of weights, which only ever take more away.

    Weights that are 0 already stay 0, and count as pruned.

    Args:
        weights: of one model; each can have the pattern.
        pattern: where zeros may lie.
        ranking: one of `slimedge.compress.sparsity.ranking.RANKINGS`.
    """

    def __init__(self, weights: Sequence[Prunable], pattern: Pattern, ranking: str) -> None:
        import keras

        self._weights, self._pattern, self._ranking = tuple(weights), pattern, ranking
        self._kept = [np.asarray(weight.variable) != 0 for weight in weights]
        self._masks = [
            keras.Variable(kept.astype(weight.variable.dtype), trainable=False, name="mask")
            for kept, weight in zip(self._kept, weights, strict=True)
        ]
        self._by_variable = {
            id(weight.variable): mask for weight, mask in zip(weights, self._masks, strict=True)
        }
        self._slots: list[tuple[Any, Any]] = []
        self.sparsity = 0.0

    def watch(self, optimizer: Any, variables: Sequence[Any]) -> None:
        """Find what an optimizer remembers of each weight.

        Args:
            optimizer: built for these variables, in this order.
            variables: the model's trainable ones.
        """
        inner = getattr(optimizer, "inner_optimizer", optimizer)  # one that scales the loss has another in it
        self._slots = [
            (slot, self._by_variable[id(variable)])
            for slots in vars(inner).values()
            if isinstance(slots, list) and len(slots) == len(variables)
            for slot, variable in zip(slots, variables, strict=True)
            if id(variable) in self._by_variable
            and slot is not variable
            and tuple(getattr(slot, "shape", ())) == tuple(variable.shape)
        ]

    def grow(self, sparsity: float) -> None:
        """Take the smallest weights of now away, so that a share is 0 in all."""
        arrays = [
            np.asarray(weight.variable) * kept for weight, kept in zip(self._weights, self._kept, strict=True)
        ]
        axes = [weight.axes for weight in self._weights]
        found = masks(arrays, axes, self._pattern, sparsity, ranking=self._ranking)
        self._kept = [one & other for one, other in zip(self._kept, found, strict=True)]
        for mask, kept in zip(self._masks, self._kept, strict=True):
            mask.assign(kept.astype(mask.dtype))
        self.sparsity = sparsity
        self.apply()
        self.forget()

    def apply(self) -> None:
        """Set what is pruned to 0."""
        for weight, mask in zip(self._weights, self._masks, strict=True):
            weight.variable.assign(weight.variable.value * mask.value)

    def forget(self) -> None:
        """Set what the optimizer remembers of it to 0."""
        for slot, mask in self._slots:
            slot.assign(slot.value * mask.value)

    def masked(self, variable: Any, gradient: Any) -> Any:
        """Give a gradient with 0 for what is pruned."""
        mask = self._by_variable.get(id(variable))
        if mask is None:
            return gradient
        import tensorflow as tf

        return tf.convert_to_tensor(gradient) * mask.value  # that of an Embedding holds the rows in use only

    def check(self) -> None:
        """Look whether all that is pruned is 0.

        Raises:
            CheckError: something is not.
        """
        for weight, kept in zip(self._weights, self._kept, strict=True):
            lost = int(np.count_nonzero(np.asarray(weight.variable)[~kept]))
            if lost:
                raise CheckError(
                    f"{lost:,} pruned weights of '{weight.variable.path}' are not 0 any more, so nothing was kept; "
                    "leave that layer out with exclude, and report this."
                )

    def state(self) -> dict[str, NDArray[Any]]:
        """Give which weights are kept, and the sparsity."""
        kept = {f"kept_{index}": kept for index, kept in enumerate(self._kept)}
        return {"sparsity": np.asarray(self.sparsity), **kept}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take masks that `state` gave."""
        self.sparsity = float(state["sparsity"])
        self._kept = [state[f"kept_{index}"].astype(bool) for index in range(len(self._kept))]
        for mask, kept in zip(self._masks, self._kept, strict=True):
            mask.assign(kept.astype(mask.dtype))

    @property
    def weights(self) -> tuple[Prunable, ...]:
        """The weights that have a mask."""
        return self._weights


class Growth:
    """Masks that follow a schedule.

    Args:
        masks: to grow.
        schedule: of the sparsity.
        final: what it ends with.
        steps: of the whole training.
    """

    def __init__(self, masks: Masks, schedule: Schedule, final: float, steps: int) -> None:
        self._masks, self._schedule, self._final = masks, schedule, final
        self._every = max(steps // UPDATES, 1)
        self._begun = masks.sparsity == final

    def before(self, step: int) -> None:
        """Grow the masks in front of a step where it is time."""
        wanted = self._schedule.at(step)
        due = step % self._every == 0 or wanted == self._final
        if (wanted > self._masks.sparsity and due) or (wanted == self._final and not self._begun):
            self._begun = self._begun or wanted == self._final
            self._masks.grow(wanted)


class MaskKeeper(Keeping):
    """Prunes weights while a model trains.

    Args:
        masks_of: from the model that trains to its masks.
        schedule_of: from the number of steps to the schedule.
        final: the sparsity that it ends with.
    """

    def __init__(
        self, masks_of: Callable[[keras.Model], Masks], schedule_of: Callable[[int], Schedule], final: float
    ) -> None:
        self._masks_of, self._schedule_of, self._final = masks_of, schedule_of, final
        self._growth: Growth | None = None

    def start(self, model: keras.Model, /) -> None:
        """Make the masks, with what is 0 now."""
        self._variables = model.trainable_variables
        self.masks = self._masks_of(model)

    def optimizing(self, optimizer: Any, /) -> None:
        """Find what the optimizer remembers."""
        self.masks.watch(optimizer, self._variables)

    def before(self, step: int, steps: int, /) -> None:
        """Grow the masks where it is time."""
        if self._growth is None:
            self._growth = Growth(self.masks, self._schedule_of(steps), self._final, steps)
        self._growth.before(step)

    def gradient(self, variable: Any, gradient: Any, /) -> Any:
        """Leave no gradient to what is pruned."""
        return self.masks.masked(variable, gradient)

    def project(self) -> None:
        """Set what is pruned to 0."""
        self.masks.apply()

    def state(self) -> dict[str, NDArray[Any]]:
        """Give the masks."""
        return self.masks.state()

    def set_state(self, state: Mapping[str, NDArray[Any]], /) -> None:
        """Take masks that `state` gave."""
        self.masks.set_state(state)

    def check(self) -> None:
        """Look whether it is.

        Raises:
            CheckError: it is not, or the sparsity did not get where it should.
        """
        self.masks.check()
        if self.masks.sparsity != self._final:
            raise CheckError(
                f"training ended at a sparsity of {self.masks.sparsity:g}, before it was {self._final:g}, so nothing "
                "was kept; train for more steps, or with another schedule."
            )
