"""All that lies behind the figures of one model."""

from __future__ import annotations

from dataclasses import dataclass

from slimedge.benchmarks.details.classes import ClassChanges
from slimedge.benchmarks.details.distribution import Distribution
from slimedge.benchmarks.details.flips import Flips
from slimedge.benchmarks.profiles.times import LayerTime


@dataclass(frozen=True, slots=True)
class Details:
    """What lies behind the figures of one model; what was not looked at, or does not exist, is None or empty.

    Attributes:
        latency: how its samples lie, on the axis of its comparison.
        classes: that it answers better or worse than the baseline; None for the baseline and without labels.
        flips: examples that it answers otherwise than the baseline; None for the baseline and without classes.
        layer_times: of an ONNX or TFLite file, in the order in which they run.
        notes: what could not be had and why, one sentence each.
    """

    latency: Distribution | None = None
    classes: ClassChanges | None = None
    flips: Flips | None = None
    layer_times: tuple[LayerTime, ...] = ()
    notes: tuple[str, ...] = ()
