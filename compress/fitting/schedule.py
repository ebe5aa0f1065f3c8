"""How the learning rate goes while a graph trains."""

from __future__ import annotations

from typing import Any

WARM_UP_SHARE = 0.05


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
