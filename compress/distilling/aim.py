"""What a student is trained for: labels, teachers' outputs, and features, each with its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from slimedge.compress.distilling.logits import soft_targets
from slimedge.compress.distilling.networks import Teacher
from slimedge.compress.distilling.pairs import Pair
from slimedge.compress.distilling.settings import Shares
from slimedge.compress.fitting.aims import Labels, right_share
from slimedge.compress.fitting.goals import Goal

if TYPE_CHECKING:
    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class DistillationAim:
    """What a student is trained for.

    Attributes:
        functions: of each of its outputs, as in `slimedge.compress.fitting.outputs.Output`, or `softmax` where labels
            tell that the numbers are logits.
        goals: of labels, for the outputs that have some; by the place of the output.
        teachers: the student's, each giving outputs and features.
        weights: of the teachers, adding up to 1.
        shares: how much of what.
        pairs: layers within that are compared; what the student gives of them follows its outputs, in this order.
        labels_of: gives the labels of data by output name.
    """

    functions: Sequence[str]
    goals: Mapping[int, Goal]
    teachers: Sequence[Teacher]
    weights: Sequence[float]
    shares: Shares
    pairs: Sequence[Pair]
    labels_of: Callable[[Data], Labels]

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.teachers)

    def labels(self, data: Data) -> Labels:
        """Give the labels by output name, where they are trained on."""
        return self.labels_of(data) if self.goals else {}

    def teach(self, feeds: list[Any]) -> list[Any]:
        """Give what all teachers say, one after the other."""
        return [one for teacher in self.teachers for one in teacher(feeds)]

    def loss(self, made: list[Any], taught: list[Any], labels: Mapping[str, Any]) -> Any:
        """Weigh labels, outputs and features."""
        by_teacher = self._parted(taught)
        supervised = [goal.loss()(made[place], labels[str(goal.label)]) for place, goal in self.goals.items()]
        soft = [
            weight * soft_targets(function, self.shares.temperature)(made[place], said[place])
            for weight, said in zip(self.weights, by_teacher, strict=True)
            if weight
            for place, function in enumerate(self.functions)
        ]
        share = self.shares.label_weight if supervised else 0.0
        parts = [share * one for one in supervised if share] + [
            (1 - share) * one for one in soft if share < 1
        ]
        count = len(self.functions)
        parts += [
            pair.weight * pair.loss(own, by_teacher[pair.teacher][count + pair.place])
            for pair, own in zip(self.pairs, made[count:], strict=True)
        ]
        return tf.add_n(parts)

    def accuracy(self, made: list[Any], labels: Mapping[str, Any]) -> Any | None:
        """Compare the classes of the first output that has some."""
        return next(
            (
                right_share(made[place], labels[str(goal.label)])
                for place, goal in self.goals.items()
                if goal.classes and made[place].shape[-1] != 1
            ),
            None,
        )

    def _parted(self, taught: list[Any]) -> list[list[Any]]:
        parted, start = [], 0
        for teacher in self.teachers:
            end = start + len(self.functions) + len(teacher.features)
            parted.append(taught[start:end])
            start = end
        return parted
