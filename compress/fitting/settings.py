"""How a model is trained, checked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slimedge.errors import CheckError, InputError


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What every training is told.

    Attributes:
        epochs: passes over the data; each in another order.
        learning_rate: of Adam at its highest, after a short warm-up; a cosine takes it to 0.
        batch_size: examples a step.
        loss: None trains towards a float model's outputs; `labels` on the data's; or a function of (labels, outputs).
        seed: of the order of the examples.

    Raises:
        InputError: one is outside of what is allowed.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str | Callable[[Any, Any], Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
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
        if self.seed < 0:
            raise InputError(f"seed={self.seed!r} is not allowed; give an integer from 0.")

    @property
    def loss_name(self) -> str:
        """What is trained for, in a word.

        Example:
            >>> FitSettings().loss_name, FitSettings(loss="labels").loss_name
            ('distillation', 'labels')
        """
        loss = self.loss or "distillation"
        return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)

    def told(self) -> dict[str, Any]:
        """Give these settings as a lineage names them."""
        names = ("epochs", "learning_rate", "batch_size", "seed")
        return {**{name: getattr(self, name) for name in names}, "loss": self.loss_name}

    def diverged(self, what: str) -> CheckError:
        """Give the error for training that led to numbers which are not finite."""
        return CheckError(
            f"{what}, so nothing was kept; train with a smaller learning_rate than {self.learning_rate:g}, or look for "
            "labels and values far from the rest."
        )
