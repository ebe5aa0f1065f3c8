"""Which stages cannot follow which, and why; pure, on names and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slimedge.recipes.problems import Problem

# Any other stage.
ANY = "*"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two stages of which the second cannot come after the first.

    Attributes:
        earlier: name of a stage.
        later: name of one that cannot follow, at once or further down; `ANY` for all of them.
        reason: why, and what to do, as half a sentence.
        only_if: settings of the later one without which it can, by field.
    """

    earlier: str
    later: str
    reason: str
    only_if: Mapping[str, Any] = field(default_factory=dict)


_ZEROS = "its training gives the weights that {earlier} set to 0 other values; put it before {earlier}"
_VALUES = "it gives each weight a value of its own again, where {earlier} left a few; put it before {earlier}"
_ONCE = "it is there twice, and one does all of it; leave one of them out"
_GRID = "{earlier} has put the weights on a grid of integers, which {later} cannot change; put {earlier} last"

# The first that fits a pair of stages is told.
CONFLICTS: tuple[Conflict, ...] = (
    Conflict(
        "quantize",
        "train",
        "train quantizes the float model itself and then trains it with its rounding; leave quantize out, or train out "
        "to quantize after training only",
    ),
    Conflict("train", "quantize", "the model is quantized by train already; leave quantize out"),
    Conflict("quantize", "quantize", "the model is quantized already; leave one of them out"),
    *(
        Conflict(first, second, "the model is quantized by {earlier} already; leave one of them out")
        for first, second in (
            ("quantize-for", "quantize"),
            ("quantize-for", "train"),
            ("quantize-for", "quantize-for"),
            ("quantize", "quantize-for"),
            ("train", "quantize-for"),
        )
    ),
    Conflict(
        "train", "train", "one training with rounding is enough; give it more epochs, and leave one out"
    ),
    Conflict("quantize", ANY, _GRID),
    Conflict("train", ANY, _GRID),
    Conflict("quantize-for", ANY, _GRID),
    Conflict(
        ANY,
        "student",
        "it makes a new model of the one that it gets, and what {earlier} did to the weights is lost; put it first",
    ),
    Conflict("prune", "prune", f"{_ONCE} (a schedule takes the weights step by step)"),
    Conflict("cluster", "cluster", _ONCE),
    Conflict("factorize", "factorize", _ONCE),
    Conflict("prune", "prune-channels", _ZEROS),
    Conflict(
        "prune", "factorize", "it makes new kernels without the zeros of {earlier}; put it before {earlier}"
    ),
    Conflict("cluster", "prune-channels", _VALUES),
    Conflict("cluster", "factorize", _VALUES),
    Conflict(
        "cluster",
        "prune",
        "it trains each weight by itself, where {earlier} left a few values; put it before {earlier}, which keeps "
        "zeros",
    ),
    *(
        Conflict(
            first,
            second,
            "it would give up what {earlier} made; leave "
            + setting.replace("_", "-")
            + " out, or the stage {earlier}",
            only_if={setting: False},
        )
        for first, setting in (("prune", "keep_zeros"), ("cluster", "keep_clusters"))
        for second in ("distill", "train")
    ),
)


def order_problems(stages: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Problem]:
    """Find stages that cannot stand where they do.

    Args:
        stages: names with their settings by field, in their order.

    Yields:
        The first conflict of each stage, with its place in the list.

    Example:
        >>> [problem.place for problem in order_problems([("train", {}), ("prune", {})])]
        [('stages', 1, 'prune')]
    """
    for index, (later, settings) in enumerate(stages):
        for earlier, _ in stages[:index]:
            conflict = _between(earlier, later, settings)
            if conflict is not None:
                reason = conflict.reason.format(earlier=earlier, later=later)
                sentence = f"{later} cannot come after {earlier}: {reason}."
                yield Problem(("stages", index, later), sentence)
                break


def _between(earlier: str, later: str, settings: Mapping[str, Any]) -> Conflict | None:
    for conflict in CONFLICTS:
        fits = conflict.earlier in {earlier, ANY} and conflict.later in {later, ANY}
        if fits and conflict.only_if.items() <= settings.items():
            return conflict
    return None
