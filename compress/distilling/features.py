"""Features of a student's layer against those of a teacher's: hints, attention, relations."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from slimedge.compress.fitting.losses import mean_of_all

SMALLEST = 1e-12
# Angles are those of triplets: of more examples than this, the first ones are taken.
MOST_EXAMPLES = 64


def hint(made: Any, taught: Any) -> Any:
    """Give the mean square of the difference over that of the teacher's features.

    Romero et al. (2015), "FitNets", equation 3, of the teacher's size, so that its weight means the same for any layer.

    Args:
        made: (k, …, channels) of the student, behind an adaptor that gives the teacher's channels.
        taught: (k, …, channels).
    """
    taught = as_large(taught, made)
    squared = keras.distillation.FeatureDistillation(loss="mse").compute_loss(taught, made)
    return squared / (mean_of_all(tf.square(taught)) + SMALLEST)


def attention(made: Any, taught: Any) -> Any:
    """Give the mean square of the distance between maps of where both are strong.

    Zagoruyko and Komodakis (2017), "Paying More Attention to Attention", equation 2 with p = 2: a map is the sum over
    channels of the squared features, divided by its length.

    Args:
        made: (k, …, channels) of the student.
        taught: (k, …, channels) of the teacher, of any number of channels.
    """
    one, other = (tf.reduce_sum(tf.square(features), axis=-1, keepdims=True) for features in (made, taught))
    other = as_large(other, one)
    maps = [tf.math.l2_normalize(tf.reshape(each, (tf.shape(each)[0], -1)), axis=-1) for each in (one, other)]
    return tf.reduce_mean(tf.reduce_sum(tf.square(maps[0] - maps[1]), axis=-1))


def relations(made: Any, taught: Any) -> Any:
    """Give how far distances and angles between examples are from the teacher's.

    Park et al. (2019), "Relational Knowledge Distillation", equations 4 to 9: the Huber loss of distances over their
    mean, and twice that of the cosines of angles. Where several devices have a part of the batch each, examples are
    compared within such a part.

    Args:
        made: (k, …) of the student; flattened.
        taught: (k, …) of the teacher, likewise.
    """
    one, other = (
        tf.reshape(features, (tf.shape(features)[0], -1))[:MOST_EXAMPLES] for features in (made, taught)
    )
    distances = huber(_distances(one), _distances(other))
    return distances + 2 * huber(_angles(one), _angles(other))


def huber(made: Any, taught: Any) -> Any:
    """Give the mean Huber loss with a turn at 1."""
    off = tf.abs(made - taught)
    return tf.reduce_mean(tf.where(off <= 1, 0.5 * tf.square(off), off - 0.5))


def as_large(taught: Any, made: Any) -> Any:
    """Give a teacher's maps in the height and width of the student's, by the mean of what falls on a place."""
    if len(made.shape) != 4 or made.shape[1:3] == taught.shape[1:3]:
        return taught
    return tf.image.resize(taught, tf.shape(made)[1:3], method="area")


def _distances(features: Any) -> Any:
    """Euclidean distances of all pairs over their mean, (k, k)."""
    squares = tf.reduce_sum(tf.square(features), axis=1)
    squared = squares[:, None] + squares[None, :] - 2 * tf.matmul(features, features, transpose_b=True)
    count = tf.shape(features)[0]
    apart = 1 - tf.eye(count)
    found = tf.sqrt(tf.maximum(squared, SMALLEST)) * apart
    return found / (tf.reduce_sum(found) / tf.maximum(tf.reduce_sum(apart), 1) + SMALLEST)


def _angles(features: Any) -> Any:
    """Cosines of the angle at j between i and k, (j, i, k)."""
    directions = tf.math.l2_normalize(features[None, :, :] - features[:, None, :], axis=-1)
    return tf.matmul(directions, directions, transpose_b=True)
