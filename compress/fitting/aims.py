"""What training makes small, from what a model gives to one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting.goals import Goal
from slimedge.compress.fitting.teaching import Teach

if TYPE_CHECKING:
    from slimedge.data import Data

Labels = Mapping[str, NDArray[Any]]


class Aim(Protocol):
    """What a model is trained for."""

    @property
    def taught(self) -> bool:
        """Whether a teacher says what the targets are, or a part of them."""

    def labels(self, data: Data, /) -> Labels:
        """Give the labels (n, …) of data by the name of the output; empty where none are trained on."""

    def teach(self, feeds: list[Any], /) -> list[Any]:
        """Give what teachers say for a list of inputs, each (k, …); asked only where `taught`."""

    def loss(self, made: list[Any], taught: list[Any], labels: Mapping[str, Any], /) -> Any:
        """Give a scalar; within the compiled step."""

    def accuracy(self, made: list[Any], labels: Mapping[str, Any], /) -> Any | None:
        """Give the share of right classes as a scalar; None where there are no classes. Likewise compiled."""


@dataclass(frozen=True, slots=True)
class GoalsAim:
    """A goal for each output of the model.

    Attributes:
        goals: in the order of the outputs.
        teacher: gives the float model's outputs.
        labels_of: gives the labels of data by output name.
    """

    goals: Sequence[Goal]
    teacher: Teach
    labels_of: Callable[[Data], Labels]

    @property
    def taught(self) -> bool:
        """Whether a goal is a float model's output."""
        return any(goal.position is not None for goal in self.goals)

    def labels(self, data: Data) -> Labels:
        """Give the labels by output name."""
        return self.labels_of(data)

    def teach(self, feeds: list[Any]) -> list[Any]:
        """Give the float model's outputs."""
        return self.teacher(feeds)

    def loss(self, made: list[Any], taught: list[Any], labels: Mapping[str, Any]) -> Any:
        """Add up the losses of the goals."""
        import tensorflow as tf

        targets = [
            labels[str(goal.label)] if goal.position is None else taught[goal.position] for goal in self.goals
        ]
        losses = [
            goal.loss()(one, target) for goal, one, target in zip(self.goals, made, targets, strict=True)
        ]
        return tf.add_n(losses)

    def accuracy(self, made: list[Any], labels: Mapping[str, Any]) -> Any | None:
        """Compare the classes of the first output that has some."""
        return next(
            (
                right_share(one, labels[str(goal.label)])
                for goal, one in zip(self.goals, made, strict=True)
                if goal.label is not None and goal.classes and one.shape[-1] != 1
            ),
            None,
        )


def right_share(made: Any, classes: Any) -> Any:
    """Give the share of examples (or places) whose largest number is that of their class.

    Args:
        made: (k, …, classes).
        classes: (k, …) whole numbers.
    """
    import tensorflow as tf

    found = tf.cast(tf.argmax(made, axis=-1), tf.int64)
    return tf.reduce_mean(
        tf.cast(tf.equal(found, tf.reshape(tf.cast(classes, tf.int64), tf.shape(found))), np.float32)
    )
