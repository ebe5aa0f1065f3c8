"""Outputs of a teacher as soft targets (Hinton et al., 2015, "Distilling the Knowledge in a Neural Network")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from slimedge.compress.fitting.losses import FINISH, Loss, distillation

# Of logits: Keras' LogitsDistillation clips probabilities, which have no slope then where they are furthest off, and by
# default (3.15) takes logits for them.
ENTROPIES: dict[str, Callable[..., Any]] = {
    "softmax": tf.nn.softmax_cross_entropy_with_logits,
    "sigmoid": tf.nn.sigmoid_cross_entropy_with_logits,
}


def soft_targets(function: str, temperature: float) -> Loss:
    """Give the distance of an output from a teacher's.

    For a softmax with logits s of the student and t of the teacher, at the temperature T (equation 1 and section 2):

        T² · KL(softmax(t / T) ‖ softmax(s / T))

    For a sigmoid the same of each yes or no; else the mean square of the difference over that of the teacher's output.

    Args:
        function: of `slimedge.compress.fitting.outputs.Output`.
        temperature: above 0.

    Returns:
        From what both give in front of the function, (k, …) each, to a scalar.
    """
    if function not in ENTROPIES:
        return distillation(function)
    finish, entropy = FINISH[function], ENTROPIES[function]

    def divergence(made: Any, taught: Any) -> Any:
        target = finish(taught / temperature)
        crossed, least = (entropy(labels=target, logits=each / temperature) for each in (made, taught))
        return temperature**2 * tf.reduce_mean(crossed - least)

    return divergence
