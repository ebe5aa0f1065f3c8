"""How a quantized graph is trained, checked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slimedge.compress.layer_bits import WEIGHT_BITS
from slimedge.compress.qat.constraints import Constraint
from slimedge.errors import CheckError, InputError

CHOICES = {
    "ranges": ("learned", "moving_average"),
    "gradients": ("straight_through", "lsq"),
    "batchnorm": ("folded", "trained"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Arguments of `slimedge.compress.training.train`, which says what they mean.

    Raises:
        InputError: one is outside of what is allowed.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    ranges: str = "learned"
    gradients: str = "straight_through"
    batchnorm: str = "folded"
    freeze_after: float = 0.5
    loss: str | Callable[[Any, Any], Any] | None = None
    weight_bits: int | None = None
    constraints: tuple[Constraint, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name}={getattr(self, name)!r} is not allowed; give {' or '.join(map(repr, allowed))}."
                )
        if self.loss is not None and self.loss != "labels" and not callable(self.loss):
            raise InputError(
                f"loss={self.loss!r} is not allowed; give 'labels', a function of (labels, outputs), or None to train "
                "towards the float model's outputs."
            )
        for name in ("epochs", "batch_size"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise InputError(
                    f"{name}={getattr(self, name)!r} is not allowed; give a whole number, 1 or more."
                )
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(
                f"learning_rate={self.learning_rate!r} is not allowed; give a number above 0, as 1e-3."
            )
        if not 0 <= self.freeze_after <= 1:
            raise InputError(
                f"freeze_after={self.freeze_after!r} is not allowed; give a share of the steps in 0…1."
            )
        if self.weight_bits is not None and self.weight_bits not in WEIGHT_BITS:
            raise InputError(f"weight_bits={self.weight_bits!r} is not allowed; give 2 to 8.")
        if self.seed < 0:
            raise InputError(f"seed={self.seed!r} is not allowed; give an integer from 0.")

    def diverged(self, what: str) -> CheckError:
        """Give the error for training that led to numbers which are not finite."""
        return CheckError(
            f"{what}, so nothing was kept; train with a smaller learning_rate than {self.learning_rate:g}, or look for "
            "labels and values far from the rest."
        )
