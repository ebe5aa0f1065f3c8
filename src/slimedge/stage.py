"""What every method is: a frozen dataclass that takes a model and data and gives a new model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data


class Stage(Protocol):
    """One method with its settings; composing stages gives a stage again."""

    def __call__(self, model: keras.Model, data: Data, /) -> keras.Model:
        """Give a new model; the one that was passed stays as it was."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stages in order; itself a Stage.

    Args:
        stages: the first one is applied first.
    """

    stages: tuple[Stage, ...]

    def __call__(self, model: keras.Model, data: Data, /) -> keras.Model:
        """Give the model that the last stage gives."""
        for stage in self.stages:
            model = stage(model, data)
        return model
