"""How much a student learns from what, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimedge.errors import InputError

WEIGHTS = ("hint_weight", "attention_weight", "relation_weight")


@dataclass(frozen=True, slots=True)
class Shares:
    """Arguments of `slimedge.compress.distillation.distill`, which says what they mean.

    Raises:
        InputError: one is outside of what is allowed.
    """

    temperature: float = 4.0
    label_weight: float = 0.5
    teacher_weights: tuple[float, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)
    hint_weight: float = 1.0
    attention: Mapping[str, str] = field(default_factory=dict)
    attention_weight: float = 1.0
    relations: Mapping[str, str] = field(default_factory=dict)
    relation_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"temperature={self.temperature!r} is not allowed; give a number above 0, as 4.")
        if not 0 <= self.label_weight <= 1:
            raise InputError(
                f"label_weight={self.label_weight!r} is not allowed; give a share in 0...1: 0 learns from the teacher "
                "alone, 1 from labels alone."
            )
        for name in WEIGHTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)!r} is not allowed; give a number, 0 or more.")
        if any(not 0 <= weight < float("inf") for weight in self.teacher_weights) or (
            self.teacher_weights and not any(self.teacher_weights)
        ):
            raise InputError(
                f"teacher_weights={list(self.teacher_weights)!r} is not allowed; give a number, 0 or more, for each "
                "teacher, and one above 0."
            )

    def told(self) -> dict[str, Any]:
        """Give these settings as a lineage names them: those that are used."""
        found: dict[str, Any] = {"temperature": self.temperature, "label_weight": self.label_weight}
        for name, weight in (
            ("hints", "hint_weight"),
            ("attention", "attention_weight"),
            ("relations", "relation_weight"),
        ):
            pairs = getattr(self, name)
            if pairs:
                found |= {
                    name: [f"{one}: {other}" for one, other in pairs.items()],
                    weight: getattr(self, weight),
                }
        return found | ({"teacher_weights": list(self.teacher_weights)} if self.teacher_weights else {})
