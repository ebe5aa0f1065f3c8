"""Outputs of a teacher as soft targets (Hinton et al., 2015, "Distilling the Knowledge in a Neural Network")."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from slimedge.compress.fitting.losses import Loss, distillation


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
    if function == "softmax":
        # Named by its text, the loss would be taken of logits: Keras 3.15 looks for an instance of the class.
        keras_loss = keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())
        return lambda made, taught: keras_loss.compute_loss(taught, made)
    if function == "sigmoid":
        return lambda made, taught: _yes_or_no(made, taught, temperature)
    return distillation(function)


def _yes_or_no(made: Any, taught: Any, temperature: float) -> Any:
    target = tf.nn.sigmoid(taught / temperature)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=taught / temperature)
    crossed = tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=made / temperature)
    return temperature**2 * tf.reduce_mean(crossed - entropy)
