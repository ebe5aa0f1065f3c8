"""What machines that train one model tell each other beside gradients, and what happens when one of them is gone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.errors import RunError

if TYPE_CHECKING:
    import tensorflow as tf

# Of what one machine sends the others at a time.
PIECE_BYTES = 1 << 22


def are_several(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether a strategy trains on more than one machine."""
    resolver = None if strategy is None else strategy.cluster_resolver
    spec = {} if resolver is None else resolver.cluster_spec().as_dict()
    return sum(len(members) for members in spec.values()) > 1


def is_first(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether this machine is the one that writes: the only one, or the first of several."""
    if strategy is None or not are_several(strategy):
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if "chief" in resolver.cluster_spec().as_dict() else "worker"
    return bool(resolver.task_type == first and resolver.task_id == 0)


def agreed(strategy: tf.distribute.Strategy | None, number: float) -> float:
    """Give the mean of what the machines found, so that all go on alike; where there is one, what it found."""
    if strategy is None or not are_several(strategy):
        return number
    devices = strategy.num_replicas_in_sync
    return float(_sum(strategy, np.asarray([number / devices], np.float32))[0])


def of_first(
    strategy: tf.distribute.Strategy | None, state: Mapping[str, NDArray[Any]] | None
) -> Mapping[str, NDArray[Any]] | None:
    """Give all machines the arrays that the first one has, or None where it has none."""
    if strategy is None or not are_several(strategy):
        return state
    content = _packed(state) if state is not None and is_first(strategy) else b""
    size = int(_sent(strategy, len(content).to_bytes(8, "big"), 8).hex(), 16)
    return _unpacked(_sent(strategy, content, size)) if size else None


@contextmanager
def watched(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Say in one sentence that another machine is gone, which TensorFlow finds out in some ten seconds.

    Raises:
        RunError: it is.
    """
    if not are_several(strategy):
        yield
        return
    import tensorflow as tf

    errors = tf.errors
    gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.InternalError)
    try:
        yield
    except (*gone, errors.DeadlineExceededError, errors.FailedPreconditionError) as error:
        raise RunError(
            "another machine of the strategy multi-worker is gone, so nothing was kept; look at what it said last, and "
            "start the training again on all of them."
        ) from error


def _packed(state: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **state)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(content)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _sent(strategy: tf.distribute.Strategy, content: bytes, size: int) -> bytes:
    """Give all machines the bytes of the first one; the others need to know how many, and give any."""
    first, pieces = is_first(strategy), []
    for start in range(0, size, PIECE_BYTES):
        end = min(start + PIECE_BYTES, size)
        array = np.zeros(end - start, np.float32)  # which every kind of device can add up
        if first:
            array[:] = np.frombuffer(content[start:end], np.uint8)
        pieces.append(_sum(strategy, array, of_first=True).astype(np.uint8).tobytes())
    return b"".join(pieces)


def _sum(
    strategy: tf.distribute.Strategy, array: NDArray[np.float32], *, of_first: bool = False
) -> NDArray[np.float32]:
    """Add up what all devices have, or give what the first one has."""
    import tensorflow as tf

    def value(context: tf.distribute.experimental.ValueContext) -> Any:
        mine = not of_first or context.replica_id_in_sync_group == 0
        return tf.constant(array if mine else np.zeros_like(array))

    values = strategy.experimental_distribute_values_from_function(value)
    found: NDArray[np.float32] = np.asarray(strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None))
    return found
