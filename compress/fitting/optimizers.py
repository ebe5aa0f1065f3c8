"""Who moves the weights: Keras' optimizers by name, or one of the user's with its own settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slimedge.registry import Registry

if TYPE_CHECKING:
    import keras

    from slimedge.compress.fitting.settings import FitSettings

# Each takes a learning rate or a schedule.
OPTIMIZERS = Registry(
    "optimizer",
    {
        "adam": "keras.optimizers:Adam",
        "adamw": "keras.optimizers:AdamW",
        "lion": "keras.optimizers:Lion",
        "rmsprop": "keras.optimizers:RMSprop",
        "sgd": "slimedge.compress.fitting.optimizers:nesterov",
    },
)


def nesterov(learning_rate: Any) -> keras.optimizers.Optimizer:
    """Give stochastic gradient descent with Nesterov's momentum of 0.9 (Sutskever et al., 2013)."""
    import keras

    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)


def optimizer_of(settings: FitSettings, steps: int) -> keras.optimizers.Optimizer:
    """Give a new optimizer.

    Args:
        settings: checked.
        steps: of all epochs together.

    Returns:
        With the learning rate and schedule of the settings, or with its own where it is one of the user's; its losses
        are scaled where layers compute in float16, whose smallest numbers are soon 0 (Micikevicius et al., 2018).
    """
    import keras

    from slimedge.compress.fitting.schedule import SCHEDULES
    from slimedge.compress.fitting.settings import precision_of

    given: Any = settings.optimizer
    if isinstance(given, str):
        schedule: Callable[..., Any] = SCHEDULES[settings.schedule]
        rate = schedule(keras.optimizers.schedules, settings.learning_rate, steps)
        made: keras.optimizers.Optimizer = OPTIMIZERS[given](rate)
    else:
        made = type(given).from_config(given.get_config())
    if precision_of(settings) == "mixed_float16" and not isinstance(
        made, keras.optimizers.LossScaleOptimizer
    ):
        made = keras.optimizers.LossScaleOptimizer(made)
    return made
