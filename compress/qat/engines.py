"""What a training engine is: who trains, and which settings it leaves no choice in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from slimedge.compress.qat.settings import Settings
from slimedge.errors import InputError

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data
    from slimedge.progress import Progress


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training gave.

    Attributes:
        model: the quantized model with other numbers.
        epoch_losses: the mean loss of each epoch.
        told: what else the lineage shall say of the training, as JSON values.
    """

    model: keras.Model
    epoch_losses: tuple[float, ...]
    told: Mapping[str, Any] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains a quantized model; the float model is None where it is not known, and the data is bound to both."""

    def __call__(
        self,
        teacher: keras.Model | None,
        quantized: keras.Model,
        data: Data,
        settings: Settings,
        progress: Progress,
        /,
    ) -> Outcome:
        """Give an ordinary quantized model with the inputs, outputs and names of `quantized`."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Who trains.

    Attributes:
        train: what does it.
        fixed: fields of `Settings` in which it leaves no choice, each with what it does.
    """

    train: Trainer
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def settled(self, settings: Settings, name: str) -> Settings:
        """Give the settings as this engine trains.

        Args:
            settings: as the user gave them.
            name: of the engine, for messages.

        Raises:
            InputError: one that is fixed was given another value than its default or what the engine does.
        """
        usual = Settings()
        for setting, value in self.fixed.items():
            given = getattr(settings, setting)
            if given not in (value, getattr(usual, setting)):
                raise InputError(
                    f"{setting}={given!r} cannot be had with engine='{name}', which always trains with {value!r}; "
                    "leave it out, or train with engine='keras'."
                )
        return replace(settings, **self.fixed)
