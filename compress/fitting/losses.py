"""What training makes small: the distance from a float model's outputs, or from labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

Loss = Callable[[Any, Any], Any]

SMALLEST = 1e-7
# What makes a model's output of what a loss takes, by the function of its `Output`.
FINISH: dict[str, Callable[[Any], Any]] = {
    "softmax": tf.nn.softmax,
    "sigmoid": tf.nn.sigmoid,
    "identity": tf.identity,
}


def distillation(function: str) -> Loss:
    """Give the distance of an output from the float model's (Hinton et al., 2015, at temperature 1).

    Kullback-Leibler divergence where the output is a softmax's or sigmoid's probabilities; else the mean square of
    the difference over the mean square of the float output, which is the same for outputs of any size.

    Args:
        function: of `slimedge.compress.fitting.outputs.Output`.

    Returns:
        From (what the graph gives in front of the function, the float model's output) to a scalar.
    """
    return {"softmax": _softmax_divergence, "sigmoid": _sigmoid_divergence, "identity": _relative_square}[
        function
    ]


def supervision(function: str, *, classes: bool, probabilities: bool = False) -> Loss:
    """Give the loss of an output against its labels: cross-entropy, or the mean square for targets.

    Args:
        function: of the `Output`.
        classes: whether the labels are class numbers.
        probabilities: whether the output is the probability of each class without softmax or sigmoid being seen.

    Returns:
        From (what the graph gives, labels) to a scalar.
    """
    if classes:
        return _class_entropy if not probabilities else _class_entropy_of_probabilities
    if function == "identity":
        return lambda made, target: tf.reduce_mean(tf.square(made - tf.cast(target, made.dtype)))
    if function == "softmax":
        return lambda made, target: tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(labels=tf.cast(target, made.dtype), logits=made)
        )
    return lambda made, target: tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(target, made.dtype), logits=made)
    )


def of_your_own(function: str, loss: Callable[[Any, Any], Any]) -> Loss:
    """Give a Keras loss, of (labels, outputs), as one of (what the graph gives, labels)."""
    finish = FINISH[function]
    if inspect.isfunction(loss):  # with Python's own branches and loops over tensors, as in a model's compile
        loss = tf.function(loss)
    return lambda made, target: tf.reduce_mean(loss(target, finish(made)))


def mean_of_all(numbers: Any) -> Any:
    """Give the mean over the whole batch, also where each of several devices has a part of it."""
    context = tf.distribute.get_replica_context()
    found = tf.reduce_mean(numbers)
    if context is None or context.num_replicas_in_sync == 1:
        return found
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, found)


def _softmax_divergence(made: Any, exact: Any) -> Any:
    crossed = tf.nn.softmax_cross_entropy_with_logits(labels=exact, logits=made)
    return tf.reduce_mean(crossed + tf.reduce_sum(tf.math.xlogy(exact, exact), axis=-1))


def _sigmoid_divergence(made: Any, exact: Any) -> Any:
    crossed = tf.nn.sigmoid_cross_entropy_with_logits(labels=exact, logits=made)
    return tf.reduce_mean(crossed + tf.math.xlogy(exact, exact) + tf.math.xlogy(1 - exact, 1 - exact))


def _relative_square(made: Any, exact: Any) -> Any:
    return tf.reduce_mean(tf.square(made - exact)) / (mean_of_all(tf.square(exact)) + SMALLEST)


def _class_entropy(made: Any, classes: Any) -> Any:
    if made.shape[-1] == 1:
        labels = tf.reshape(tf.cast(classes, made.dtype), tf.shape(made))
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=made))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=made))


def _class_entropy_of_probabilities(made: Any, classes: Any) -> Any:
    made = tf.maximum(made, SMALLEST)
    if made.shape[-1] == 1:
        labels = tf.reshape(tf.cast(classes, made.dtype), tf.shape(made))
        return -tf.reduce_mean(
            labels * tf.math.log(made) + (1 - labels) * tf.math.log(tf.maximum(1 - made, SMALLEST))
        )
    chosen = tf.gather(made, classes, axis=-1, batch_dims=len(made.shape) - 1)
    return -tf.reduce_mean(tf.math.log(chosen))
