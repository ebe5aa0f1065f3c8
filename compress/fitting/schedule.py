"""How the learning rate goes while a model trains."""

from __future__ import annotations

from typing import Any

from slimedge.registry import Registry

WARM_UP_SHARE = 0.05

# Each takes `keras.optimizers.schedules`, or that of tf-keras, the highest rate and the steps of all epochs together.
SCHEDULES = Registry(
    "schedule",
    {
        "cosine": "slimedge.compress.fitting.schedule:cosine",
        "linear": "slimedge.compress.fitting.schedule:linear",
        "constant": "slimedge.compress.fitting.schedule:constant",
    },
)


def cosine(schedules: Any, rate: float, steps: int) -> Any:
    """Give a short warm-up and then half a cosine to 0 (Loshchilov and Hutter, 2017).

    Args:
        schedules: `keras.optimizers.schedules`, or that of tf-keras.
        rate: the highest.
        steps: of all epochs together.
    """
    warm_up = int(WARM_UP_SHARE * steps)
    if not warm_up:
        return schedules.CosineDecay(rate, steps)
    return schedules.CosineDecay(0.0, steps - warm_up, warmup_target=rate, warmup_steps=warm_up)


def linear(schedules: Any, rate: float, steps: int) -> Any:
    """Give a rate that falls to 0 in a straight line; arguments as of `cosine`."""
    return schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0, power=1.0)


def constant(schedules: Any, rate: float, steps: int) -> Any:
    """Give a rate that stays; arguments as of `cosine`."""
    del schedules, steps
    return rate
