"""How a model is trained, checked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from slimedge.compress.fitting.optimizers import OPTIMIZERS
from slimedge.compress.fitting.schedule import SCHEDULES
from slimedge.compress.fitting.strategies import STRATEGIES
from slimedge.errors import CheckError, InputError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What every training is told.

    Attributes:
        epochs: passes over the data; each in another order.
        learning_rate: of the optimizer at its highest, after a short warm-up; the schedule takes it on from there.
        batch_size: examples a step, of all devices together.
        loss: None trains towards a float model's outputs; `labels` on the data's; a function of (labels, outputs); or
            such functions by the name of the output.
        seed: of the order of the examples, and of what is drawn.
        schedule: of the learning rate, a name in `slimedge.compress.fitting.schedule.SCHEDULES`.
        optimizer: a name in `slimedge.compress.fitting.optimizers.OPTIMIZERS`, or a Keras optimizer, whose settings
            are taken with the learning rate or schedule that it has.
        validation: share of the examples that is held out and looked at after each epoch; the weights of the epoch
            with the least loss there are kept.
        patience: epochs without a smaller loss on what is held out after which training ends; None for never.

    Raises:
        InputError: one is outside of what is allowed.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str | Callable[[Any, Any], Any] | Mapping[str, Callable[[Any, Any], Any]] | None = None
    seed: int = 0
    schedule: str = "cosine"
    optimizer: str | object = "adam"
    validation: float = 0.0
    patience: int | None = None

    def __post_init__(self) -> None:
        known = self.loss is None or self.loss == "labels" or callable(self.loss)
        if not known and not isinstance(self.loss, Mapping):
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
        SCHEDULES.check(self.schedule)
        if isinstance(self.optimizer, str):
            OPTIMIZERS.check(self.optimizer)
        if not 0 <= self.validation < 1:
            raise InputError(
                f"validation={self.validation!r} is not allowed; give the share of the examples that is held out, from "
                "0 to below 1."
            )
        if self.patience is not None and not (self.patience >= 1 and self.validation):
            raise InputError(
                f"patience={self.patience!r} with validation={self.validation!r} is not allowed; give a number of "
                "epochs, 1 or more, and a share of the examples to look at, as validation=0.1."
            )

    @property
    def loss_name(self) -> str:
        """What is trained for, in a word.

        Example:
            >>> FitSettings().loss_name, FitSettings(loss="labels").loss_name
            ('distillation', 'labels')
        """
        loss = self.loss or "distillation"
        if isinstance(loss, Mapping):
            return ", ".join(sorted({getattr(one, "__name__", type(one).__name__) for one in loss.values()}))
        return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)

    def told(self) -> dict[str, Any]:
        """Give these settings as a lineage names them."""
        names = ("epochs", "learning_rate", "batch_size", "seed")
        usual = {each.name: each.default for each in fields(FitSettings)}
        others = {
            name: getattr(self, name)
            for name in ("schedule", "validation", "patience")
            if getattr(self, name) != usual[name]
        }
        if not isinstance(self.optimizer, str):
            others["optimizer"] = type(self.optimizer).__name__
        elif self.optimizer != usual["optimizer"]:
            others["optimizer"] = self.optimizer
        return {**{name: getattr(self, name) for name in names}, "loss": self.loss_name, **others}

    def diverged(self, what: str) -> CheckError:
        """Give the error for training that led to numbers which are not finite."""
        return CheckError(
            f"{what}, so nothing was kept; train with a smaller learning_rate than {self.learning_rate:g}, or look for "
            "labels and values far from the rest."
        )


@dataclass(frozen=True, slots=True)
class DeviceSettings(FitSettings):
    """Settings of a training that may run in half precision, and on several devices.

    Attributes:
        precision: what layers compute in: `float32`, `mixed_bfloat16` or `mixed_float16`; weights stay float32.
        strategy: None, or a name in `slimedge.compress.fitting.strategies.STRATEGIES`: `mirrored` for all GPUs of this
            machine, `multi-worker` for the machines of TF_CONFIG.

    Raises:
        InputError: one is outside of what is allowed.
    """

    precision: str = "float32"
    strategy: str | None = None

    def __post_init__(self) -> None:
        FitSettings.__post_init__(self)  # slots make a new class, which super() does not know
        if self.precision not in PRECISIONS:
            raise InputError(f"precision={self.precision!r} is not allowed; give {', '.join(PRECISIONS)}.")
        if self.strategy is not None:
            STRATEGIES.check(self.strategy)

    def told(self) -> dict[str, Any]:
        """Give these settings as a lineage names them."""
        usual = {"precision": "float32", "strategy": None}
        others = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        return {**FitSettings.told(self), **others}


def precision_of(settings: FitSettings) -> str:
    """Give what layers compute in while they train."""
    return settings.precision if isinstance(settings, DeviceSettings) else "float32"


def strategy_name_of(settings: FitSettings) -> str | None:
    """Give the name of the strategy that a training runs on, None for one device."""
    return settings.strategy if isinstance(settings, DeviceSettings) else None
