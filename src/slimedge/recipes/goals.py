"""Whether the files that a recipe ends with are as accurate, fast and small as it asks for; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from slimedge.benchmarks.judging import GoalOutcome, accuracy_outcome, speedup_outcome
from slimedge.benchmarks.reporting import figures

if TYPE_CHECKING:
    from slimedge.comparison import Comparison
    from slimedge.recipes.recipe import Goals


def outcomes(
    goals: Goals,
    comparisons: Sequence[Comparison],
    *,
    file_bytes: Mapping[str, int],
    arena_bytes: Mapping[str, int],
) -> tuple[GoalOutcome, ...]:
    """Hold the last variant of each comparison, and each final file, against every goal.

    Args:
        goals: what is asked; None is not.
        comparisons: one a format, the last variant of each being the final file.
        file_bytes: of the final files, by name.
        arena_bytes: of the memory that TFLite Micro needs for the final TFLite file, by name.

    Returns:
        Outcomes in the order of the goals; empty where nothing was asked.
    """
    return tuple(_outcomes(goals, comparisons, file_bytes, arena_bytes))


def _outcomes(
    goals: Goals,
    comparisons: Sequence[Comparison],
    file_bytes: Mapping[str, int],
    arena_bytes: Mapping[str, int],
) -> Iterator[GoalOutcome]:
    last = [comparison.variants[-1] for comparison in comparisons]
    if goals.max_accuracy_drop is not None:
        for variant in last:
            found = accuracy_outcome(variant.name, variant.accuracy_delta, goals.max_accuracy_drop)
            yield replace(found, goal=f"max-accuracy-drop {goals.max_accuracy_drop:g}")
    if goals.min_speedup is not None:
        for variant in last:
            found = speedup_outcome(variant, goals.min_speedup)
            yield replace(found, goal=f"min-speedup {goals.min_speedup:g}")
    for name, limit, measured in (
        ("max-bytes", goals.max_bytes, file_bytes),
        ("max-arena-bytes", goals.max_arena_bytes, arena_bytes),
    ):
        if limit is not None:
            yield from (
                _size_outcome(f"{name} {figures.size(limit)}", file, count, limit)
                for file, count in measured.items()
            )


def _size_outcome(goal: str, file: str, count: int, limit: int) -> GoalOutcome:
    met = count <= limit
    asked = f"{limit:,} are allowed"
    sentence = f"{file}: {'met' if met else 'missed'}, {count:,} bytes where {asked}."
    return GoalOutcome(goal, file, met=met, sentence=sentence)
