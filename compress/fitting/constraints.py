"""What training must leave as it is: re-applied to each weight after each step, and checked at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Step
from slimedge.compress.fitting.keepers import Keeper, Keeping
from slimedge.errors import CheckError

if TYPE_CHECKING:
    import keras

# Of a weight that counts as clustered where no number is told.
MOST_VALUES = 256
# Axes of output channels: of all of a weight; of most kernels; of transposed convolutions; of depthwise ones, and of
# projections to heads.
CHANNELS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))

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


@dataclass(frozen=True, slots=True)
class KeepClusters:
    """Weights that share a value go on to share one, as clustering made them (Han et al., 2016, section 3).

    A weight counts as clustered where it has no more values than `most`. Each step gives all weights of one value the
    mean of where they went; zeros stay.

    Attributes:
        most: values of a weight.
        by_channel: whether each output channel has values of its own.
    """

    most: int
    by_channel: bool = False

    def projection(self, start: NDArray[np.float32]) -> Projection | None:
        """Give each cluster the mean of its weights."""
        members, count = self._members(start)
        if members is None:
            return None
        import tensorflow as tf

        ids, moves = tf.constant(members), (start != 0).astype(np.float32)
        one_of_each = tf.constant(np.unique(members, return_index=True)[1])

        def together(weight: Any) -> Any:
            flat = tf.reshape(weight, [-1])
            # Sums of many equal numbers are rounded; those of their differences from one of them are not.
            ones = tf.gather(flat, one_of_each)
            means = ones + tf.math.unsorted_segment_mean(flat - tf.gather(ones, ids), ids, count)
            return tf.reshape(tf.gather(means, ids), start.shape) * moves

        return together

    def broken(self, start: NDArray[np.float32], end: NDArray[np.float32]) -> str | None:
        """Count the values that came on top.

        Example:
            >>> KeepClusters(2).broken(np.float32([[1, 1, 2]]), np.float32([[1, 3, 2]]))
            'has 3 values and had 2'
        """
        axes = self._axes(start)
        if axes is None:
            return None
        before, after = (int(_counts(_rows(array, axes)).max()) for array in (start, end))
        return f"has {after} values and had {before}" if after > before else None

    def _axes(self, array: NDArray[np.float32]) -> tuple[int, ...] | None:
        """Give the axes whose places have values of their own, as few as will do; None where it is not clustered."""
        ways = [axes for axes in CHANNELS if len(axes) < array.ndim] if self.by_channel else [()]
        return next((axes for axes in ways if _counts(_rows(array, axes)).max() <= self.most), None)

    def _members(self, start: NDArray[np.float32]) -> tuple[NDArray[np.int32] | None, int]:
        """Give the cluster of each weight, flat, and how many there are; None where it is not clustered."""
        axes = self._axes(start)
        if axes is None:
            return None, 0
        rows = _rows(start, axes)
        order = np.argsort(rows, axis=1)
        new = np.diff(np.take_along_axis(rows, order, axis=1), axis=1, prepend=np.nan) != 0
        numbered = (np.cumsum(new.reshape(-1)) - 1).reshape(rows.shape)
        members = np.empty(rows.shape, np.int32)
        np.put_along_axis(members, order, numbered.astype(np.int32), axis=1)
        first = range(len(axes))
        whole = members.reshape(np.moveaxis(start, axes, first).shape)
        return np.moveaxis(whole, first, axes).reshape(-1), int(numbered[-1, -1]) + 1


def _rows(array: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
    """Give the numbers that share values, in a row for each place along axes."""
    moved = np.moveaxis(array, axes, range(len(axes)))
    return moved.reshape(math.prod(moved.shape[: len(axes)]), -1)


def _counts(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Give how many different numbers each row has."""
    counts: NDArray[np.int64] = 1 + np.sum(np.diff(np.sort(rows, axis=1), axis=1) != 0, axis=1)
    return counts


def kept_by_default(
    lineage: Sequence[Step], *, zeros: bool | None = None, clusters: bool | None = None
) -> tuple[Constraint, ...]:
    """Give what training keeps of earlier stages.

    Args:
        lineage: of the model.
        zeros: whether weights that are 0 stay so; None where the lineage says that it was pruned.
        clusters: whether weights that share a value go on to; None where the lineage says that it was clustered.
    """
    steps = {step.name: step.settings for step in lineage}
    told = steps.get("cluster", {})
    kept: list[Constraint] = []
    if zeros or (zeros is None and "prune" in steps):
        kept.append(KeepZeros())
    if clusters or (clusters is None and "cluster" in steps):
        kept.append(
            KeepClusters(
                int(told.get("clusters", MOST_VALUES)), by_channel=told.get("granularity") == "per_channel"
            )
        )
    return tuple(kept)


def keeper_of(kept: Sequence[Constraint]) -> tuple[Keeper, ...]:
    """Give what keeps constraints while a model trains; nothing where there are none."""
    return (ConstraintKeeper(kept),) if kept else ()


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
