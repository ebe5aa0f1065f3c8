"""Training that moves clusters: every number of one has the same gradient, and so they stay one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.clusters.groups import grouped, value_counts
from slimedge.compress.fitting.keepers import Keeping
from slimedge.errors import CheckError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """A variable whose numbers are clusters.

    Attributes:
        variable: of the model that trains.
        axes: whose places have values of their own; none where the whole weight shares them.
    """

    variable: Any
    axes: tuple[int, ...]


class ClusterKeeper(Keeping):
    """Trains the centroids of clusters, each with the mean of its numbers' gradients; zeros stay.

    Han et al. (2016), section 3.3, add the gradients of a cluster up. Adam divides a gradient by its usual size, so
    that sum and mean lead to the same steps; the mean keeps gradients of large and small clusters alike, for what looks
    at their size.

    Args:
        clusters: the most values that a weight or channel may have.
        weights: each with no more values than that.
    """

    def __init__(self, clusters: int, weights: Sequence[Clustered]) -> None:
        self._clusters = clusters
        self._weights = tuple(weights)
        self._held: dict[int, _Held] = {}

    def start(self, model: keras.Model, /) -> None:
        """Note which numbers of each weight share a value."""
        del model
        self._held = {id(each.variable): _Held(each, self._clusters) for each in self._weights}

    def gradient(self, variable: Any, gradient: Any, /) -> Any:
        """Give each number the mean gradient of its cluster, and none to zeros."""
        held = self._held.get(id(variable))
        return gradient if held is None else held.mean(gradient)

    def project(self) -> None:
        """Give each number the value of its cluster, to the last bit."""
        for held in self._held.values():
            held.align()

    def check(self) -> None:
        """Count the values of each weight, and look for zeros.

        Raises:
            CheckError: there are more values than clusters, or a zero is none any more.
        """
        for held in self._held.values():
            held.check(self._clusters)


class _Held:
    """The clusters of one variable, as tensors."""

    def __init__(self, given: Clustered, clusters: int) -> None:
        import tensorflow as tf

        self._variable, self._axes = given.variable, given.axes
        weight = np.asarray(given.variable)
        groups = grouped(weight, clusters, axes=given.axes)
        self._zeros = weight == 0
        members = groups.members.reshape(-1)
        self._members = tf.constant(members)
        self._count = len(groups.centroids)
        # One number stands for its cluster: the mean of equal numbers is not that number, in float32.
        self._first = tf.constant(np.unique(members, return_index=True)[1].astype(np.int32))
        self._moves = tf.constant((~groups.zeros).astype(np.float32))

    def mean(self, gradient: Any) -> Any:
        import tensorflow as tf

        flat = tf.reshape(tf.convert_to_tensor(gradient), [-1])
        means = tf.math.unsorted_segment_mean(flat, self._members, self._count) * self._moves
        return tf.reshape(tf.gather(means, self._members), self._variable.shape)

    def align(self) -> None:
        import tensorflow as tf

        flat = tf.reshape(self._variable.value, [-1])
        values = tf.gather(flat, self._first) * self._moves
        self._variable.assign(tf.reshape(tf.gather(values, self._members), self._variable.shape))

    def check(self, clusters: int) -> None:
        weight = np.asarray(self._variable)
        lost = int(np.count_nonzero(weight[self._zeros]))
        most = int(value_counts(weight, self._axes).max())
        if lost or most > clusters:
            what = (
                f"{lost:,} of its zeros are not 0" if lost else f"it has {most} values instead of {clusters}"
            )
            raise CheckError(
                f"training changed what it had to keep: of weight '{self._variable.path}' {what}; nothing was kept."
            )
