"""BatchNorm that takes the statistics of the whole batch, also where each of several devices has a part of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from slimedge.compress.norm_statistics import NORM
from slimedge.graph import Graph, with_values


class CommonNorm(keras.layers.BatchNormalization):
    """BatchNorm with the mean over all devices, and the mean square of the distance from it.

    Both are means of the examples' own means, added up in double precision, and so the same however many devices share
    the examples. Sums of a hundred thousand floats in another order, as Keras takes them with `synchronized=True`,
    differ by 1e-5: that moves enough numbers over the kink of a ReLU to change gradients by 0.5 %.
    """

    def _moments(self, inputs: Any, mask: Any) -> Any:
        """Give mean and variance of each channel, of the inputs' type."""
        context = tf.distribute.get_replica_context()
        if mask is not None or context is None:
            return super()._moments(inputs, mask)

        def mean_of_all(numbers: Any) -> Any:
            each = tf.reduce_mean(numbers, [axis for axis in self._reduction_axes if axis], keepdims=True)
            found = tf.reduce_mean(tf.cast(each, tf.float64), axis=0, keepdims=True)
            return tf.cast(context.all_reduce(tf.distribute.ReduceOp.MEAN, found), tf.float32)

        exact = tf.cast(inputs, tf.float32)  # the halves are too coarse for statistics
        mean = mean_of_all(exact)
        variance = mean_of_all(tf.math.squared_difference(exact, tf.stop_gradient(mean)))
        return tuple(
            tf.cast(tf.squeeze(found, self._reduction_axes), inputs.dtype) for found in (mean, variance)
        )


def with_common_norms(graph: Graph) -> Graph:
    """Let each BatchNorm that trains take the statistics of the whole batch, not of the part that a device has.

    One within another layer (TimeDistributed), or behind a mask, takes those of its part.
    """
    common = {
        layer: replace(layer, type=CommonNorm)
        for layer in graph.calls()
        if layer.kind == NORM and layer.config.get("trainable", True)
    }
    return with_values(graph, {}, common)
