"""What to prune, checked once, and the masks that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimedge.compress.sparsity.masks import Masks
from slimedge.compress.sparsity.patterns import Pattern, pattern_of
from slimedge.compress.sparsity.ranking import RANKINGS
from slimedge.compress.sparsity.schedules import Schedule, check_schedule, schedule_of
from slimedge.compress.sparsity.weights import Prunable, chosen, prunable
from slimedge.errors import InputError

if TYPE_CHECKING:
    import keras

SPARSITY = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What to prune; `slimedge.compress.pruning.prune` says what its arguments mean.

    Raises:
        InputError: one is outside of what is allowed.
    """

    sparsity: float = SPARSITY
    pattern: str = "unstructured"
    ranking: str = "layer"
    schedule: str = "polynomial"
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise InputError(
                f"sparsity={self.sparsity!r} is not allowed; give the share of the weights that shall be 0, from 0 to "
                "below 1."
            )
        fixed = pattern_of(self.pattern).sparsity
        if fixed is not None and self.sparsity not in (SPARSITY, fixed):
            raise InputError(
                f"sparsity={self.sparsity!r} cannot be had with pattern={self.pattern!r}, which sets {fixed:g} of the "
                "weights to 0; leave it out, or give another pattern."
            )
        if self.ranking not in RANKINGS:
            raise InputError(
                f"ranking={self.ranking!r} is not allowed; give {' or '.join(map(repr, RANKINGS))}."
            )
        if fixed is not None and self.ranking != "layer":
            raise InputError(
                f"ranking={self.ranking!r} cannot be had with pattern={self.pattern!r}, which sets the same share of "
                "every group to 0; give 'layer'."
            )
        check_schedule(self.schedule)

    @property
    def form(self) -> Pattern:
        """The pattern."""
        return pattern_of(self.pattern)

    @property
    def final(self) -> float:
        """The sparsity at the end: of groups what the pattern fixes."""
        fixed = self.form.sparsity
        return self.sparsity if fixed is None else fixed

    def weights(self, model: keras.Model) -> tuple[list[Prunable], dict[str, str]]:
        """Give the weights of a model that are pruned, and the reasons why others of them cannot have the pattern.

        Args:
            model: built.

        Returns:
            The weights; and by the path of each that stays dense though it was chosen, the reason.

        Raises:
            InputError: no weight can be pruned so.
        """
        found = chosen(prunable(model), self.layers, self.exclude, model.name)
        misfits = {
            weight.variable.path: reason
            for weight in found
            if (reason := self.form.misfit(tuple(weight.variable.shape), weight.axes)) is not None
        }
        fitting = [weight for weight in found if weight.variable.path not in misfits]
        if not fitting:
            path, reason = next(iter(misfits.items()))
            raise InputError(
                f"pattern={self.pattern!r} fits no weight of model '{model.name}' that shall be pruned ('{path}': "
                f"{reason}); give another pattern."
            )
        return fitting, misfits

    def masks(self, weights: Sequence[Prunable]) -> Masks:
        """Give the masks of weights that can have the pattern, all dense but for what is 0 already."""
        return Masks(weights, self.form, self.ranking)

    def schedule_for(self, steps: int) -> Schedule:
        """Give the schedule of a training of so many steps."""
        return schedule_of(self.schedule, self.final, steps)

    def told(self) -> dict[str, Any]:
        """Give these settings as a lineage names them."""
        return {
            "sparsity": self.final,
            "pattern": self.pattern,
            "ranking": self.ranking,
            "schedule": self.schedule,
            "layers": list(self.layers),
            "exclude": list(self.exclude),
        }
