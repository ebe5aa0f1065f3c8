"""Distillation: a model trained towards the outputs of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimedge.compress.fitting.settings import FitSettings

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class Distill:
    """A model trained towards the outputs of others.

    Args:
        teachers: whose outputs are trained towards: `parent`, the model that the recipe began with, or a path.
        temperature: that logits are divided by.
        loss: None trains towards the teachers only; `labels` trains on the data's labels, too.
        label_weight: share of the loss on labels.
        epochs: passes over the data.
        learning_rate: of Adam at its highest.
        batch_size: examples a step.
        seed: of the order of the examples.
    """

    teachers: tuple[str, ...] = ("parent",)
    temperature: float = 4.0
    loss: str | None = "labels"
    label_weight: float = 0.5
    epochs: int = 5
    learning_rate: float = 2e-3
    batch_size: int = 128
    seed: int = 0

    def __call__(self, model: keras.Model, data: Data, /) -> keras.Model:
        """Give the model; another branch has the training."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse settings that no model can be trained with."""
        FitSettings(self.epochs, self.learning_rate, self.batch_size, self.loss, self.seed)
