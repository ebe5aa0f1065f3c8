"""How a quantized graph is trained, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from slimedge.compress.fitting.constraints import Constraint
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.layer_bits import WEIGHT_BITS
from slimedge.errors import InputError

CHOICES = {
    "ranges": ("learned", "moving_average"),
    "gradients": ("straight_through", "lsq"),
    "batchnorm": ("folded", "trained"),
}


@dataclass(frozen=True, slots=True)
class Settings(FitSettings):
    """Arguments of `slimedge.compress.training.train`, which says what they mean.

    Raises:
        InputError: one is outside of what is allowed.
    """

    ranges: str = "learned"
    gradients: str = "straight_through"
    batchnorm: str = "folded"
    freeze_after: float = 0.5
    weight_bits: int | None = None
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is not allowed; give {' or '.join(map(repr, allowed))}."
                )
        FitSettings.__post_init__(self)  # slots make a new class, which super() does not know
        if not 0 <= self.freeze_after <= 1:
            raise InputError(
                f"freeze_after={self.freeze_after!r} is not allowed; give a share of the steps in 0…1."
            )
        if self.weight_bits is not None and self.weight_bits not in WEIGHT_BITS:
            raise InputError(f"weight_bits={self.weight_bits!r} is not allowed; give 2 to 8.")
