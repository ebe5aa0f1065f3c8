"""What became of a model since an earlier report: the words that its accuracy, size and latency are judged in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slimedge.comparison import Comparison, Variant


class Axis(StrEnum):
    """What is looked at."""

    MODEL = "model"  # is it still there
    ACCURACY = "accuracy"
    SIZE = "size"
    LATENCY = "latency"
    GOAL = "goal"


class Change(StrEnum):
    """Where something lies against the earlier report, beyond what noise explains."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    REFUSED = "refused"  # the two cannot be compared; the sentence says why


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What is let pass.

    Attributes:
        max_accuracy_drop: percentage points that may be lost.
        latency_margin: per cent by which the time may grow.
        require_latency: whether a latency that cannot be compared fails.
    """

    max_accuracy_drop: float = 0.0
    latency_margin: float = 5.0
    require_latency: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One axis of one model.

    Attributes:
        variant: name of the model.
        axis: that was looked at.
        change: what was found.
        failed: whether the check fails for it.
        sentence: with the figures, their intervals and what decided; without the model's name.
    """

    variant: str
    axis: Axis
    change: Change
    failed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A model, and the comparison that it was measured in."""

    variant: Variant
    comparison: Comparison

    @property
    def is_baseline(self) -> bool:
        """Whether the other models of its comparison are measured against it."""
        return self.variant is self.comparison.baseline


def outcome(
    model: Placed, axis: Axis, change: Change, sentence: str, *, failed: bool | None = None
) -> Outcome:
    """Give an outcome, which fails where the change is for the worse and nothing else is said."""
    fails = change is Change.WORSE if failed is None else failed
    return Outcome(model.variant.name, axis, change, fails, sentence)
